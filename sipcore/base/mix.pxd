"""A fast hash, not keyed: for values of which two alike harm nobody but their maker. All else is for siphash.pxd."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef inline uint64_t mix(uint64_t h, uint64_t word) noexcept nogil:
    """h with one more word; the same for no other word."""
    h = (h ^ word) * <uint64_t>0x9E3779B97F4A7C15
    return h ^ h >> 32


cdef inline uint64_t mix_text(uint64_t h, const uint8_t* p, uint32_t n) noexcept nogil:
    """h with n bytes, and how many they are."""
    cdef uint64_t word = 0
    cdef uint32_t i = 0
    h = mix(h, n)
    while i + 8 <= n:
        memcpy(&word, p + i, 8)
        h = mix(h, word)
        i += 8
    if i < n:
        if n >= 8:
            memcpy(&word, p + n - 8, 8)
        else:
            for i in range(n):
                word = word << 8 | p[i]
        h = mix(h, word)
    return h
