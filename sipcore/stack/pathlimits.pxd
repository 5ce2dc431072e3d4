"""How big a request may be on its way to a host."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.address cimport Address

cdef enum:
    LEAST_LIMIT = 376       # bytes that every way takes: the least MTU there is (576 with IPv4), less 200
    PLACES = 4096

cdef struct PathLimit:
    uint8_t ip[16]
    uint8_t family
    uint32_t limit          # bytes; 0: nothing is known
    uint64_t until          # ms; 0: the place is free


cdef class PathLimits:
    cdef object ask                 # (host, port) -> bytes, 0 for not known
    cdef PathLimit places[PLACES]
    cdef uint64_t second            # that `asked` counts in
    cdef uint32_t asked

    cdef uint32_t limit(self, const Address* to, uint64_t now) noexcept
