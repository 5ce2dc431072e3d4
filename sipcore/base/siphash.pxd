"""SipHash (Aumasson and Bernstein, 2012): the keyed hash of everything that a peer can choose.

`siphash13` is for tables (an attacker without the key cannot aim collisions), `siphash24` for checks that a
peer must not be able to forge (branch, dialog token). The incremental form hashes several slices without
joining them: each slice is preceded by its length, so ("ab", "c") and ("a", "bc") differ, and so its values
are its own: they are not those of the one-shot functions.
"""
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

cdef extern from "endian.h" nogil:
    uint64_t le64toh(uint64_t word)

cdef struct SipKey:
    uint64_t k0
    uint64_t k1

cdef struct SipState:
    uint64_t v0
    uint64_t v1
    uint64_t v2
    uint64_t v3
    uint64_t total      # bytes and words taken in so far
    int c               # rounds a word
    int d               # rounds at the end


cdef inline uint64_t sip_rotate(uint64_t word, int bits) noexcept nogil:
    return (word << bits) | (word >> (64 - bits))


cdef inline void sip_rounds(SipState* s, int n) noexcept nogil:
    for _ in range(n):
        s.v0 += s.v1
        s.v2 += s.v3
        s.v1 = sip_rotate(s.v1, 13) ^ s.v0
        s.v3 = sip_rotate(s.v3, 16) ^ s.v2
        s.v0 = sip_rotate(s.v0, 32)
        s.v2 += s.v1
        s.v0 += s.v3
        s.v1 = sip_rotate(s.v1, 17) ^ s.v2
        s.v3 = sip_rotate(s.v3, 21) ^ s.v0
        s.v2 = sip_rotate(s.v2, 32)


cdef inline void sip_absorb(SipState* s, uint64_t word) noexcept nogil:
    s.v3 ^= word
    sip_rounds(s, s.c)
    s.v0 ^= word


cdef inline uint64_t sip_load(const uint8_t* p) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, p, 8)
    return le64toh(word)


cdef inline uint64_t sip_absorb_words(SipState* s, const uint8_t* p, size_t n) noexcept nogil:
    """Take in all whole words of p; returns the n % 8 bytes left over as the low bytes of a word."""
    cdef size_t i, whole = n & ~<size_t>7
    cdef uint64_t tail = 0
    for i in range(0, whole, 8):
        sip_absorb(s, sip_load(p + i))
    if n != whole:
        if n >= 8:      # the last eight bytes in one load, the ones already taken in shifted out
            return sip_load(p + n - 8) >> (8 * (8 - (n - whole)))
        for i in range(n):
            tail |= <uint64_t>p[i] << (8 * i)
    return tail


cdef inline void sip_start(SipState* s, const SipKey* key, int c, int d) noexcept nogil:
    s.v0 = key.k0 ^ <uint64_t>0x736f6d6570736575
    s.v1 = key.k1 ^ <uint64_t>0x646f72616e646f6d
    s.v2 = key.k0 ^ <uint64_t>0x6c7967656e657261
    s.v3 = key.k1 ^ <uint64_t>0x7465646279746573
    s.total = 0
    s.c = c
    s.d = d


cdef inline uint64_t sip_end(SipState* s, uint64_t last) noexcept nogil:
    sip_absorb(s, last)
    s.v2 ^= 0xff
    sip_rounds(s, s.d)
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3


cdef inline uint64_t siphash13(const SipKey* key, const uint8_t* p, size_t n) noexcept nogil:
    """SipHash-1-3 of n bytes."""
    cdef SipState s
    cdef uint64_t tail
    sip_start(&s, key, 1, 3)
    tail = sip_absorb_words(&s, p, n)
    return sip_end(&s, tail | (<uint64_t>n << 56))


cdef inline uint64_t siphash24(const SipKey* key, const uint8_t* p, size_t n) noexcept nogil:
    """SipHash-2-4 of n bytes."""
    cdef SipState s
    cdef uint64_t tail
    sip_start(&s, key, 2, 4)
    tail = sip_absorb_words(&s, p, n)
    return sip_end(&s, tail | (<uint64_t>n << 56))


cdef inline void siphash_init(SipState* s, const SipKey* key) noexcept nogil:
    """Begin an incremental hash with the rounds of SipHash-1-3 (tables)."""
    sip_start(s, key, 1, 3)


cdef inline void siphash24_init(SipState* s, const SipKey* key) noexcept nogil:
    """Begin an incremental hash with the rounds of SipHash-2-4 (checks that must not be forged)."""
    sip_start(s, key, 2, 4)


cdef inline void siphash_update(SipState* s, const uint8_t* p, size_t n) noexcept nogil:
    """Take in one slice, its length first."""
    cdef uint64_t tail
    sip_absorb(s, n)
    tail = sip_absorb_words(s, p, n)
    if n & 7:
        sip_absorb(s, tail)
    s.total += n


cdef inline void siphash_update_word(SipState* s, uint64_t word) noexcept nogil:
    """Take in one number. Which updates are words and which are slices must be fixed for a use of the key."""
    sip_absorb(s, word)
    s.total += 8


cdef inline uint64_t siphash_final(SipState* s) noexcept nogil:
    return sip_end(s, s.total)


cdef int key_from(bytes key, SipKey* out) except -1
