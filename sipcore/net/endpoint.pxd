"""The pump: sockets and the clock on one side, a Layer on the other."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.outbox cimport Datagram
from sipcore.net.udp cimport UDP_SEND_BATCH, UdpSocket, iovec, mmsghdr, sockaddr_storage
from sipcore.stack.layer cimport Layer
from sipcore.stack.record cimport Journal

cdef enum:
    ENDPOINT_SOCKETS = 32
    FAILED_KEPT = 16            # undeliverable datagrams reported after one flush
    FAILED_BYTES = 2048
    SEGMENT_LARGEST = 1232      # bytes of a datagram that fits every IPv6 path (RFC 8200 5)
    SEGMENTS = 60               # datagrams that the kernel cuts out of one send
    SEGMENT_CONTROL = 32        # bytes of the control message that says where
    FLOWS = 32                  # flows told apart in one flush

cdef struct Failed:
    uint32_t n
    uint8_t data[FAILED_BYTES]


cdef struct Run:
    uint32_t head               # first and last datagram, by position in the queue
    uint32_t tail
    uint32_t count
    uint32_t n                  # bytes of each


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
    cdef uint8_t* controls
    cdef uint32_t covers[UDP_SEND_BATCH]    # datagrams in each message of `outgoing`
    cdef Run runs[UDP_SEND_BATCH]
    cdef uint32_t following[UDP_SEND_BATCH]
    cdef Datagram arranged[UDP_SEND_BATCH]
    cdef readonly bint segmenting           # equal datagrams to one peer leave as one send
    cdef Failed failed[FAILED_KEPT]
    cdef uint32_t failed_n
    cdef readonly uint64_t sent
    cdef readonly uint64_t send_errors

    cdef uint64_t window                    # ms, when the packets of `arrived` began to be counted
    cdef uint32_t arrived
    cdef bint busy

    cdef void flush(self) noexcept
    cdef bint _is_busy(self, uint64_t now, int n) noexcept nogil
    cdef void _arrange(self) noexcept
    cdef uint32_t _gather(self, uint32_t done, uint32_t total) noexcept
    cdef void pump(self, UdpSocket sock) noexcept
    cdef void after(self, uint64_t now) noexcept
    cdef void _watch_again(self, UdpSocket sock) noexcept
    cdef void write_journal(self) noexcept
    cdef void _trouble(self, str text) noexcept
    cdef void _show_sent(self, uint32_t n) noexcept
