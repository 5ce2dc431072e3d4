"""The pump: sockets and the clock on one side, a Layer on the other."""
from libc.stdint cimport uint32_t, uint64_t
from posix.time cimport timespec
from sipcore.net.sender cimport Sender
from sipcore.net.stream cimport Streams
from sipcore.net.udp cimport UdpSocket
from sipcore.stack.layer cimport Layer
from sipcore.stack.record cimport Journal


cdef class Endpoint:
    cdef readonly Layer layer
    cdef readonly Sender sender
    cdef readonly list sockets          # UdpSocket by listener, None where it is one of a stream
    cdef readonly list datagrams        # those that are there
    cdef readonly Streams streams       # or None
    cdef object loop
    cdef object timer                   # handle of the armed wake-up, or None
    cdef uint64_t armed                 # ms of that wake-up
    cdef object trace                   # callable(direction, listener, host, port, bytes), or None
    cdef object on_trouble              # callable(text)
    cdef Journal journal
    cdef int journal_fd
    cdef bint journal_is_file           # a file takes any length at once, a pipe only a little
    cdef readonly bint running
    cdef uint64_t window                    # ms, when the packets of `arrived` began to be counted
    cdef uint32_t arrived
    cdef uint64_t worked                    # ns of the thread's time by then
    cdef timespec pause                     # while busy
    cdef bint busy

    cdef bint _goes_on(self, uint64_t now, int done, int total, int came, bint more) noexcept
    cdef bint _is_busy(self, uint64_t now, int n) noexcept nogil
    cdef void pump(self, UdpSocket sock) noexcept
    cdef void after(self, uint64_t now) noexcept
    cdef void _come_back(self, UdpSocket sock) noexcept
    cdef void _watch_again(self, UdpSocket sock) noexcept
    cdef void write_journal(self) noexcept
    cdef void _trouble(self, str text) noexcept
