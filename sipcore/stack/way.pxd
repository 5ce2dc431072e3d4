"""Where a forwarded request goes."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.stack.guarding cimport Guarding
from sipcore.stack.record cimport Record
from sipcore.wire.index cimport Msg


cdef class Wayfinding(Guarding):
    cdef int _resolve(self, Slice text, Address* out, Record* record) noexcept
    cdef int _flow(self, Address* to) noexcept
    cdef bint _stays_secure(self, const Address* source, const Address* to) noexcept nogil
    cdef bytes _no_way(self, int status)
    cdef bint _may_go(self, const Address* to, Record* record) noexcept
    cdef bint _ack_way(self, Address* to, Record* record) noexcept
    cdef bint _goes_through(self, Msg* m) noexcept
