"""The proxy core: what happens to a request on its way in."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.stack.guarding cimport Guarding
from sipcore.stack.record cimport Record
from sipcore.stack.verdict cimport Verdict
from sipcore.wire.message cimport Msg


cdef class Proxy(Guarding):
    cdef object oversize            # (Request, Verdict, size) -> Verdict
    cdef tuple certified            # by listener, the number of a group by the name of a server that is in it
    cdef uint32_t dialog_budget     # bytes above which a request inside a dialog is decided; 0: never

    cdef int _group_of_server(self, uint32_t listener, uint32_t number) noexcept
    cdef void _forbid(self, uint32_t listener, const Address* source, const uint8_t* data, uint32_t n) noexcept
    cdef bint _goes_through(self, Msg* m) noexcept
    cdef bint _offers(self, const Msg* m) noexcept nogil
    cdef list _proxy_require(self)
    cdef uint32_t _loop_hash(self, Msg* m) noexcept
    cdef bint _loops(self, uint32_t loop) noexcept
    cdef void _begin(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop) noexcept
    cdef void _apply(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop, Verdict verdict,
                     uint32_t record_slot, bint in_dialog) noexcept
    cdef int _resolve(self, Slice text, Address* out, Record* record) noexcept
    cdef int _flow(self, Address* to) noexcept
    cdef bint _stays_secure(self, const Address* source, const Address* to) noexcept nogil
    cdef bytes _no_way(self, int status)
    cdef bint _may_go(self, const Address* to, Record* record) noexcept
    cdef void _forward(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop,
                       Verdict verdict, uint32_t record_slot, bint in_dialog) noexcept
    cdef uint32_t _open_passage(self, uint32_t listener, const Address* source, Verdict verdict, bint begins_call,
                                uint32_t* record_slot) noexcept
    cdef void _take_passage(self, uint32_t slot, uint32_t listener, const Address* source, uint64_t key,
                            Verdict verdict, uint32_t record_slot, bint begins_call) noexcept
    cdef void _wait(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop, Verdict verdict,
                    tuple targets, uint32_t record_slot, bint begins_call) noexcept
    cdef bint _ack_way(self, Address* to, Record* record) noexcept
    cdef Verdict _shrink(self, uint32_t listener, const Address* source, Verdict verdict, uint32_t size,
                         bint in_dialog, uint32_t record_slot)
