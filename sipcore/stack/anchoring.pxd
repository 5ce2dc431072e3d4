"""The media hook's place in the class chain: over the records, under the forwarding."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.stack.bookkeeping cimport Bookkeeper
from sipcore.stack.mediahook cimport Passing
from sipcore.stack.record cimport Record
from sipcore.stack.verdict cimport Verdict
from sipcore.wire.index cimport Msg


cdef class Anchoring(Bookkeeper):
    cdef bint body_replaced         # the media hook has changed the body of the request being forwarded
    cdef int body_growth            # and added so many bytes to it

    cdef bint _begin_media(self, uint32_t record_slot, int profile) noexcept
    cdef bint _passing(self, Msg* m, Record* record, uint8_t method, Passing* p) noexcept
    cdef int _anchor_request(self, Msg* m, uint32_t listener, uint32_t out, const Address* source,
                             Verdict verdict, Record* record, bint begins, Slice* body) noexcept
    cdef int _anchor_response(self, uint32_t slot, uint32_t owner, Slice* body) noexcept
    cdef void _void_offer(self, uint32_t owner) noexcept
    cdef int _refusal_body(self, Slice* body) noexcept
    cdef void _void_unsent(self, uint32_t record_slot) noexcept
