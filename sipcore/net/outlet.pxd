"""The writing side of connections, down to their end."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.bucket cimport Bucket
from sipcore.base.wheel cimport Wheel
from sipcore.net.connection cimport Connection
from sipcore.net.connections cimport Connections
from sipcore.net.deadline cimport StreamLimits
from sipcore.net.slots cimport Slots
from sipcore.net.unsent cimport Unsent
from sipcore.stack.layer cimport Layer

cdef struct StreamCounters:
    uint64_t accepted
    uint64_t opened
    uint64_t refused            # connections, for a limit or by the access list
    uint64_t given_up           # for a new one
    uint64_t failed             # to a target: refused, deadline, certificate
    uint64_t handshake_failed   # of TLS or WebSocket, of peers that came in
    uint64_t idle_closed
    uint64_t slow_closed        # a handshake or message not complete in time
    uint64_t stalled_closed     # takes too little
    uint64_t framing_faults
    uint64_t messages_in
    uint64_t messages_out
    uint64_t pings
    uint64_t reused             # connections that came in, taken for requests to their peers
    uint64_t unsent             # messages reported to the stack
    uint64_t lost               # messages that were not even reported


cdef str address_text(const Address* address)


cdef class Outlet:
    cdef Layer layer
    cdef readonly Connections table
    cdef Wheel wheel                    # by slot, and behind all of them the listeners
    cdef readonly int epoll
    cdef StreamLimits limits
    cdef StreamCounters counters
    cdef Bucket lines                   # log lines about peers that came in
    cdef readonly object trace
    cdef object log                     # callable(level, event, fields)
    cdef Slots dirty                    # with something to write
    cdef Slots ended                    # whose unsent messages are to be reported
    cdef readonly Unsent unsent
    cdef dict upgrades                  # WebSocket by slot

    cdef void flush(self) noexcept
    cdef bint has_report(self) noexcept nogil
    cdef void report(self, uint64_t now) noexcept

    cdef bint _queue(self, uint32_t slot, const uint8_t* p, uint32_t n) noexcept
    cdef void _mark(self, uint32_t slot) noexcept nogil
    cdef void _write(self, uint32_t slot, uint64_t now) noexcept
    cdef void _watch(self, uint32_t slot, uint32_t events) noexcept nogil
    cdef void _arm(self, uint32_t slot) noexcept nogil
    cdef void _hide(self, uint32_t slot) noexcept
    cdef void _finish(self, uint32_t slot, uint64_t now) noexcept
    cdef void _end(self, uint32_t slot, str why) noexcept
    cdef void _on_end(self, uint32_t slot, bint began, str why) noexcept
    cdef void _on_refused(self, const Connection* c, str why) noexcept
    cdef void _reap(self, uint32_t slot) noexcept
    cdef void _refuse(self, const uint8_t* data, uint32_t n) noexcept nogil
    cdef void _show(self, str direction, const Connection* c, const uint8_t* p, uint32_t n) noexcept
