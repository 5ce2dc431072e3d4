"""What scanners look like: header values that no decent peer sends."""
from libc.stdint cimport uint32_t
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
    int header              # id, or one of the two below
    int fit                 # Fit
    Slice text              # in small letters


cdef class Fingerprints:
    cdef readonly tuple patterns
    cdef Fingerprint fingerprint[MAX_FINGERPRINTS]
    cdef uint32_t count
    cdef list texts                 # keeps the bytes alive

    cdef bint match(self, const Msg* m) noexcept nogil
