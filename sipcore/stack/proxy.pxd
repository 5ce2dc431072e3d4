"""The proxy core: what happens to a request on its way in."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.stack.forward cimport Forwarding
from sipcore.stack.record cimport Names
from sipcore.stack.verdict cimport Verdict
from sipcore.wire.index cimport Msg


cdef class Proxy(Forwarding):
    cdef uint64_t inside            # key of the message being handled, an INVITE inside a dialog; 0 for any other

    cdef object _renumber(self, Names groups, Names upstreams)
    cdef void _forbid(self, uint32_t listener, const Address* source, const uint8_t* data, uint32_t n) noexcept
    cdef void _end_hops(self, uint32_t listener, const Address* source) noexcept
    cdef bint _offers(self, const Msg* m) noexcept nogil
    cdef list _proxy_require(self)
    cdef void _begin(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop) noexcept
    cdef void _apply(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop, Verdict verdict,
                     uint32_t record_slot, bint in_dialog) noexcept
