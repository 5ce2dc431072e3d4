"""Connections that begin: those that come in, as far as they may, and those to targets."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.bucket cimport SourceLimiter
from sipcore.net.peers cimport Peers
from sipcore.stack.listener cimport MAX_LISTENERS

cdef enum:
    LISTENER = 1 << 30          # marks an event of a listener

cdef struct StreamListener:
    int fd                      # the listening socket, -1 where the listener is none of a stream
    uint8_t transport
    bint paused                 # no descriptor was left: nothing is accepted for a moment
    Address bound


cdef class Openings(Peers):
    cdef StreamListener listeners[MAX_LISTENERS]
    cdef SourceLimiter rate
    cdef dict sources                   # connections by source
    cdef dict failures                  # target: (failures in a row, when it may be tried again)

    cdef void _accept(self, uint32_t listener, uint64_t now) noexcept
    cdef bint _may_come(self, uint32_t listener, const Address* source, uint64_t now, bint* listed) noexcept
    cdef void _pause(self, uint32_t listener, uint64_t now) noexcept
    cdef void _resume(self, uint32_t listener) noexcept
    cdef void _count(self, const Address* source, int change) noexcept
    cdef void _add(self, uint32_t slot, uint32_t events) noexcept nogil
    cdef uint32_t _connect(self, uint32_t listener, const Address* to) noexcept
