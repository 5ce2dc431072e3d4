"""An Address as the kernel writes it."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from .address cimport Address

cdef extern from "<netinet/in.h>" nogil:
    ctypedef unsigned int socklen_t

    struct sockaddr:
        unsigned short sa_family

    struct sockaddr_storage:
        unsigned short ss_family

    struct in_addr:
        uint32_t s_addr

    struct sockaddr_in:
        unsigned short sin_family
        uint16_t sin_port
        in_addr sin_addr

    struct in6_addr:
        uint8_t s6_addr[16]

    struct sockaddr_in6:
        unsigned short sin6_family
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id

    int AF_INET, AF_INET6
    uint16_t htons(uint16_t value)
    uint16_t ntohs(uint16_t value)


cdef void address_of(const sockaddr* name, Address* out) noexcept nogil
cdef socklen_t name_of(const Address* address, sockaddr* out) noexcept nogil
