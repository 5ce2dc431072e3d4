"""One bound UDP socket: batches in, batches out, and the kernel's error queue."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.outbox cimport Datagram
from sipcore.stack.layer cimport Layer

cdef extern from "sockets.h" nogil:
    ctypedef unsigned int socklen_t

    struct iovec:
        void* iov_base
        size_t iov_len

    struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags

    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len

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
        in6_addr sin6_addr
        uint32_t sin6_scope_id

    int AF_INET, AF_INET6, MSG_DONTWAIT, MSG_ERRQUEUE, MSG_TRUNC
    int recvmmsg(int fd, mmsghdr* messages, unsigned int n, int flags, void* timeout)
    int sendmmsg(int fd, mmsghdr* messages, unsigned int n, int flags)
    ssize_t recvmsg(int fd, msghdr* message, int flags)
    uint16_t htons(uint16_t value)
    uint16_t ntohs(uint16_t value)
    long sipcore_socket_drops(int fd)
    int sipcore_queued_error(msghdr* message)

cdef enum:
    UDP_BATCH = 64
    UDP_SEND_BATCH = 512


cdef class UdpSocket:
    cdef readonly object socket         # keeps the descriptor open
    cdef readonly int fd
    cdef readonly uint32_t listener
    cdef Layer layer
    cdef uint32_t stride                # bytes of one receive buffer
    cdef uint8_t* buffers
    cdef mmsghdr received[UDP_BATCH]
    cdef iovec vectors[UDP_BATCH]
    cdef sockaddr_storage* names
    cdef readonly uint64_t datagrams    # received
    cdef readonly uint64_t truncated    # longer than the message limit
    cdef readonly uint64_t errors       # taken from the error queue

    cdef int receive(self, uint64_t now, object trace) noexcept
    cdef int take_errors(self, uint64_t now) noexcept

cdef void address_of(const sockaddr_storage* name, Address* out) noexcept nogil
cdef socklen_t name_of(const Address* address, sockaddr_storage* out) noexcept nogil
