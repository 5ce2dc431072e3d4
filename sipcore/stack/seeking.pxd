"""A Relay that finds out where names lead before it goes there."""
from libc.stdint cimport uint32_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.stack.failover cimport Search
from sipcore.stack.naming cimport Pending
from sipcore.stack.relay cimport Relay
from sipcore.stack.tx cimport Tx
from sipcore.stack.verdict cimport Target, Verdict
from sipcore.wire.index cimport Msg


cdef class Seeking(Relay):
    cdef readonly Pending pending       # requests that wait for a name

    cdef tuple _as_known(self, tuple targets, Msg* m)
    cdef tuple _reached(self, Target target, object outcome, Msg* m)
    cdef bint _seek(self, uint32_t slot, Verdict verdict, tuple targets, uint32_t loop, uint32_t record_slot) noexcept
    cdef void _fail(self, uint32_t slot) noexcept
    cdef Target _named(self, Slice uri, int listener)
    cdef tuple _secured(self, tuple targets)
    cdef bint _may_wait(self, const Address* source) noexcept
    cdef object _ask(self, uint32_t owner, Search search, Target target)
    cdef void _put(self, Search search, Target target, object outcome, Tx* tx) noexcept
