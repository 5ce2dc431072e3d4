"""The pump: sockets and the clock on one side, a Layer on the other."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.net.udp cimport UDP_SEND_BATCH, UdpSocket, iovec, mmsghdr, sockaddr_storage
from sipcore.stack.layer cimport Layer
from sipcore.stack.record cimport Journal

cdef enum:
    ENDPOINT_SOCKETS = 32
    FAILED_KEPT = 16            # undeliverable datagrams reported after one flush
    FAILED_BYTES = 2048

cdef struct Failed:
    uint32_t n
    uint8_t data[FAILED_BYTES]


cdef class Endpoint:
    cdef readonly Layer layer
    cdef readonly list sockets          # UdpSocket by listener
    cdef object loop
    cdef object timer                   # handle of the armed wake-up, or None
    cdef uint64_t armed                 # ms of that wake-up
    cdef object trace                   # callable(direction, listener, host, port, bytes), or None
    cdef object on_trouble              # callable(text)
    cdef Journal journal
    cdef int journal_fd
    cdef bint journal_is_file           # a file takes any length at once, a pipe only a little
    cdef readonly bint running
    cdef bint blocked                   # a socket takes no more: its writer is armed
    cdef int blocked_fd
    cdef int fds[ENDPOINT_SOCKETS]
    cdef bint shaken[ENDPOINT_SOCKETS]  # a send met an error that was queued: the socket's watch may have ended
    cdef mmsghdr outgoing[UDP_SEND_BATCH]
    cdef iovec vectors[UDP_SEND_BATCH]
    cdef sockaddr_storage* names
    cdef Failed failed[FAILED_KEPT]
    cdef uint32_t failed_n
    cdef readonly uint64_t sent
    cdef readonly uint64_t send_errors

    cdef void flush(self) noexcept
    cdef void pump(self, UdpSocket sock) noexcept
    cdef void after(self, uint64_t now) noexcept
    cdef void _watch_again(self, UdpSocket sock) noexcept
    cdef void write_journal(self) noexcept
    cdef void _trouble(self, str text) noexcept
    cdef void _show_sent(self, uint32_t n) noexcept
