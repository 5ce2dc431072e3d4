"""The proxy core: what happens to a request on its way in."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.stack.relay cimport Relay
from sipcore.stack.record cimport Record
from sipcore.stack.verdict cimport Request, Verdict
from sipcore.wire.message cimport Msg


cdef class Proxy(Relay):
    cdef object decide              # (Request) -> Verdict
    cdef object oversize            # (Request, Verdict, size) -> Verdict
    cdef list memo                  # Verdict or None by listener, group and method
    cdef Request request
    cdef uint32_t max_calls         # at once, over all upstreams; 0: no limit
    cdef uint32_t dialog_budget     # bytes above which a request inside a dialog is decided; 0: never
    cdef readonly bint draining

    cdef void _forbid(self, uint32_t listener, const Address* source, const uint8_t* data, uint32_t n) noexcept
    cdef void _stranger(self, uint32_t listener, const Address* source) noexcept
    cdef bint _offers(self, const Msg* m) noexcept nogil
    cdef list _proxy_require(self)
    cdef uint32_t _loop_hash(self, Msg* m) noexcept
    cdef bint _loops(self, uint32_t loop) noexcept
    cdef Verdict _decide(self, uint32_t listener, const Address* source, bint in_dialog)
    cdef void _begin(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop) noexcept
    cdef bytes _allow(self, uint32_t methods)
    cdef void _apply(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop, Verdict verdict,
                     uint32_t record_slot, bint in_dialog) noexcept
    cdef int _resolve(self, Slice text, Address* out) noexcept
    cdef bint _may_go(self, const Address* to, Record* record) noexcept
    cdef void _forward(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop,
                       Verdict verdict, uint32_t record_slot, bint in_dialog) noexcept
    cdef Verdict _shrink(self, uint32_t listener, const Address* source, Verdict verdict, uint32_t size,
                         bint in_dialog)
