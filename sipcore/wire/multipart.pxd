"""The session description in a message's body: the whole of it, or one part of a multipart body."""
from libc.stdint cimport uint32_t
from sipcore.base.slice cimport Slice
from sipcore.wire.index cimport Msg
from sipcore.wire.message cimport Message

cdef enum SdpBody:
    SDP_ABSENT = 0
    SDP_FOUND = 1
    SDP_ENCODED = 2         # a Content-Encoding stands before it: it cannot be read
    SDP_FAULTY = 3          # a multipart body whose parts cannot be told apart, or with two session descriptions


cpdef bytes description(Message message)
cdef SdpBody find_sdp(const Msg* m, Slice body, Slice* sdp) noexcept nogil
