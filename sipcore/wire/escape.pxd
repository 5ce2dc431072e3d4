"""Percent-escapes (RFC 3261 19.1.2): bytes that a part of a URI cannot hold become %HH, and back."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from sipcore.base.slice cimport Slice


cdef uint32_t escape_into(Slice text, uint16_t kind, uint8_t* out) noexcept nogil
cdef uint32_t unescape_into(Slice text, uint8_t* out) noexcept nogil
cdef bint same_unescaped(Slice a, Slice b, bint fold) noexcept nogil
cdef str escaped(str text, uint16_t kind)
cdef str decoded(Slice text)
