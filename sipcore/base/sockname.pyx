"""Addresses between the fixed form and the kernel's. A name has room for a sockaddr_in6 at least."""
from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memcpy, memset
from .address cimport Address, TRANSPORT_UDP


cdef void address_of(const sockaddr* name, Address* out) noexcept nogil:
    """The address that the kernel gave with a datagram; IPv4-mapped IPv6 becomes IPv4."""
    cdef const sockaddr_in* v4
    cdef const sockaddr_in6* v6
    memset(out, 0, sizeof(Address))
    out.transport = TRANSPORT_UDP
    if name.sa_family == AF_INET:
        v4 = <const sockaddr_in*>name
        out.family = 4
        out.port = ntohs(v4.sin_port)
        memcpy(out.ip, &v4.sin_addr, 4)
    elif name.sa_family == AF_INET6:
        v6 = <const sockaddr_in6*>name
        out.port = ntohs(v6.sin6_port)
        if memcmp(v6.sin6_addr.s6_addr, b"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0:
            out.family = 4
            memcpy(out.ip, <const uint8_t*>v6.sin6_addr.s6_addr + 12, 4)
        else:
            out.family = 6
            memcpy(out.ip, v6.sin6_addr.s6_addr, 16)
            out.scope = v6.sin6_scope_id


cdef socklen_t name_of(const Address* address, sockaddr* out) noexcept nogil:
    """The kernel's form of an address; returns its length."""
    cdef sockaddr_in* v4
    cdef sockaddr_in6* v6
    if address.family == 4:
        v4 = <sockaddr_in*>out
        memset(v4, 0, sizeof(sockaddr_in))
        v4.sin_family = <unsigned short>AF_INET
        v4.sin_port = htons(address.port)
        memcpy(&v4.sin_addr, address.ip, 4)
        return sizeof(sockaddr_in)
    v6 = <sockaddr_in6*>out
    memset(v6, 0, sizeof(sockaddr_in6))
    v6.sin6_family = <unsigned short>AF_INET6
    v6.sin6_port = htons(address.port)
    memcpy(&v6.sin6_addr, address.ip, 16)
    v6.sin6_scope_id = address.scope
    return sizeof(sockaddr_in6)
