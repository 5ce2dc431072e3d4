"""What scanners look like: header values that no decent peer sends."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.slice cimport Slice
from sipcore.wire.index cimport Msg

cdef enum:
    MAX_FINGERPRINTS = 64

cdef enum Fit:
    FIT_WHOLE = 0           # the text is all of the value
    FIT_START               # `text*`
    FIT_END                 # `*text`
    FIT_INSIDE              # `*text*`

cdef struct Fingerprint:
    int fit                 # Fit
    Slice text              # in small letters

cdef struct Place:
    int header              # id, or REQUEST_URI
    uint32_t first          # fingerprints of this header: from there
    uint32_t inside         # those with FIT_INSIDE: from there
    uint32_t end            # to there
    uint32_t window         # bytes of the shortest text that may stand inside, 255 at most
    uint8_t shift[256]      # by the last byte of a window: how many bytes further the next one is that may hold a text


cdef class Fingerprints:
    cdef readonly tuple patterns
    cdef Fingerprint fingerprint[MAX_FINGERPRINTS]
    cdef Place places[MAX_FINGERPRINTS]
    cdef uint32_t count             # of places
    cdef list texts                 # keeps the bytes alive

    cdef bint match(self, const Msg* m) noexcept nogil
    cdef bint _is_one(self, Slice value, const Place* place) noexcept nogil
    cdef void _set_shifts(self, Place* place) noexcept nogil
