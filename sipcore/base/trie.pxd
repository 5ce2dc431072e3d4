"""Longest-prefix match from an IPv4 or IPv6 address to a number."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from .address cimport Address

cdef struct Wide:
    uint64_t high           # the first eight bytes of an IPv6 address as a number
    uint64_t low


cdef class Trie:
    cdef uint32_t* start4       # first address of each IPv4 range, ascending; start4[0] is 0.0.0.0
    cdef int64_t* value4        # the value of each range, -1 for none
    cdef uint32_t count4
    cdef Wide* start6
    cdef int64_t* value6
    cdef uint32_t count6
    cdef readonly uint32_t count    # prefixes

    cdef int64_t find(self, const Address* address) noexcept nogil
