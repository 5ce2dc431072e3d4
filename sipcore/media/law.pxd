"""G.711 of one law made into the other's (ITU-T G.711 3.3)."""
from libc.stdint cimport uint8_t, uint32_t

cdef enum Law:
    LAW_KEPT = 0
    LAW_TO_MU = 1
    LAW_TO_A = 2


cdef void law_convert(uint8_t* payload, uint32_t n, uint8_t law) noexcept nogil
