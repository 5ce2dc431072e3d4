"""Messages that could not be sent, until they are reported."""
from libc.stdint cimport uint8_t, uint32_t


cdef class Unsent:
    cdef uint8_t* texts         # each behind its length, and a zero behind it
    cdef readonly uint32_t n    # bytes
    cdef uint32_t capacity

    cdef bint keep(self, const uint8_t* data, uint32_t n) noexcept nogil
    cdef const uint8_t* next(self, uint32_t* at, uint32_t* n) noexcept nogil
    cdef Unsent take(self)
