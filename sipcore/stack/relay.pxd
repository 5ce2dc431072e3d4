"""The way back of a forwarded request."""
from libc.stdint cimport uint32_t
from sipcore.base.slice cimport Slice
from sipcore.stack.failover cimport Failover, Search


cdef class Relay(Failover):
    cdef public object flows        # is told whose REGISTER a registrar has taken (Flows), None for nobody

    cdef void _note_flow(self, uint32_t owner) noexcept
    cdef Slice _reason_lines(self) noexcept nogil
    cdef bint _relay(self, uint32_t slot, uint32_t status, bint keep, const Slice* body) noexcept
    cdef void _pass_failure(self, uint32_t owner, Search search, bint overtime) noexcept
    cdef void _end_with_best(self, uint32_t owner, Search search, bint overtime) noexcept
    cdef bint _retell(self, uint32_t slot, uint32_t owner, Search search) noexcept
    cdef void _finish(self, uint32_t slot, uint32_t status, bytes reason, bytes headers) noexcept
