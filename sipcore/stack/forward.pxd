"""Forwarding of a request."""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.stack.sizing cimport Sizing
from sipcore.stack.verdict cimport Verdict


cdef class Forwarding(Sizing):
    cdef void _forward(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop,
                       Verdict verdict, uint32_t record_slot, bint in_dialog) noexcept
    cdef uint32_t _open_passage(self, uint32_t listener, const Address* source, Verdict verdict, bint begins_call,
                                uint32_t* record_slot) noexcept
    cdef void _take_passage(self, uint32_t slot, uint32_t listener, const Address* source, uint64_t key,
                            Verdict verdict, uint32_t record_slot, bint begins_call) noexcept
    cdef void _wait(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop, Verdict verdict,
                    tuple targets, uint32_t record_slot, bint begins_call) noexcept
