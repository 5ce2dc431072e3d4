"""Comparison of parsed URIs (RFC 3261 19.1.4, RFC 3966 5)."""
from .uri cimport Uri


cdef bint uri_equal(const Uri* a, const Uri* b) noexcept nogil
