"""CSeq, and the headers that are one number: Max-Forwards, Content-Length, Expires... (RFC 3261 20.16)."""
from libc.stdint cimport uint32_t
from sipcore.base.slice cimport Slice


cdef int parse_cseq(Slice text, uint32_t* number, Slice* method) noexcept nogil
cdef int parse_uint(Slice text, uint32_t limit, uint32_t* out) noexcept nogil
