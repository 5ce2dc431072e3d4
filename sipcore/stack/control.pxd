"""Controlled calls in the class chain: over the forwarding of what passes, under the decision about what begins."""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.stack.seeking cimport Seeking
from sipcore.stack.uas cimport ServerTransaction
from sipcore.stack.verdict cimport Request, Verdict
from sipcore.wire.index cimport Msg


cdef class Controlling(Seeking):
    cdef object decide              # (Request) -> Verdict
    cdef list memo                  # Verdict or None by listener, group and method
    cdef Request asked
    cdef uint32_t max_calls         # at once, over all upstreams; 0: no limit
    cdef readonly bint draining

    cdef Verdict _decide(self, uint32_t listener, const Address* source, bint in_dialog,
                         uint32_t record_slot=*)
    cdef bint _has_flow(self, Slice* text) noexcept nogil
    cdef void _know(self, uint32_t record_slot) noexcept
    cdef void _stranger(self, uint32_t listener, const Address* source) noexcept
    cdef bytes _allow(self, uint32_t methods)
    cdef void _tell_of(self, uint32_t slot, int status) noexcept
    cdef str _retry_after(self)
    cdef bint _is_full(self, Verdict verdict) noexcept
    cdef bint _knows_contact(self, const Msg* m) noexcept
    cdef void _control(self, uint32_t listener, const Address* source, uint64_t key, Verdict verdict) noexcept
    cdef bint _request_inside(self, uint32_t listener, const Address* source, uint64_t key) noexcept
    cdef bint _ack_inside(self) noexcept
