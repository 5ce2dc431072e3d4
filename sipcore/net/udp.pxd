"""One bound UDP socket: batches in, batches out, and the kernel's error queue."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.sockname cimport sockaddr_storage, socklen_t
from sipcore.net.backlog cimport Backlog
from sipcore.stack.layer cimport Layer

cdef extern from "sockets.h" nogil:
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

    int MSG_DONTWAIT, MSG_ERRQUEUE, MSG_TRUNC
    int recvmmsg(int fd, mmsghdr* messages, unsigned int n, int flags, void* timeout)
    int sendmmsg(int fd, mmsghdr* messages, unsigned int n, int flags)
    ssize_t recvmsg(int fd, msghdr* message, int flags)
    long sipcore_socket_drops(int fd)
    uint64_t sipcore_stamped_ns(int fd)
    int sipcore_queued_error(msghdr* message)

cdef enum:
    UDP_BATCH = 64
    UDP_SEND_BATCH = 512
    SERVED = 32             # of the backlog, when the socket has been emptied
    SERVED_AMID = 8         # when it has not: new calls are slow, and not shut out


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
    cdef readonly Backlog backlog       # requests that begin something, while more comes than can be done at once
    cdef bint coming                    # the pump is to work once more for the backlog
    cdef uint64_t known_backlog_drops   # as of the last look
    cdef long known_drops               # the kernel's, as of the last look
    cdef uint64_t looked                # ms, of that look
    cdef uint64_t asked                 # ms, when it was last asked how long a datagram has waited
    cdef uint32_t wait                  # us, as of then
    cdef bint crowded                   # several datagrams came in the last batch
    cdef bint shaken                    # reading has met an error, which waits to be taken
    cdef readonly uint64_t datagrams    # received
    cdef readonly uint64_t truncated    # longer than the message limit
    cdef readonly uint64_t errors       # taken from the error queue

    cdef int receive(self, uint64_t now, object trace) noexcept
    cdef void serve(self, uint64_t now, uint32_t most) noexcept
    cdef void _expect(self, int i) noexcept nogil
    cdef int _take(self, int first, int most) noexcept nogil
    cdef uint32_t _waited(self) noexcept nogil
    cdef bint has_lost(self, uint64_t now) noexcept nogil
    cdef int take_errors(self, uint64_t now) noexcept
