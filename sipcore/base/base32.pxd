"""Base 32 with the "extended hex" alphabet (RFC 4648 section 7), lower case and without padding, for 64-bit words.

13 characters a word; they sort as the numbers do, and all of them are legal in a SIP token, tag and branch.
"""
from libc.stdint cimport uint8_t, uint64_t

cdef enum:
    BASE32_U64 = 13     # characters of one word


cdef inline uint8_t base32_digit(uint64_t value) noexcept nogil:
    return <uint8_t>(c'0' + value if value < 10 else c'a' - 10 + value)


cdef inline void put_base32_u64(uint64_t word, uint8_t* out13) noexcept nogil:
    """Write word as 13 characters, most significant first; the last one carries four bits and a zero."""
    cdef int i
    for i in range(12):
        out13[i] = base32_digit((word >> (59 - 5 * i)) & 31)
    out13[12] = base32_digit((word & 15) << 1)


cdef inline int get_base32_u64(const uint8_t* text13, uint64_t* out) noexcept nogil:
    """Read 13 characters into out. Returns 0; -1 for a character outside the alphabet (capitals are) or a last
    character that carries more than four bits: each word has exactly one text."""
    cdef int i
    cdef uint64_t word = 0
    cdef uint8_t digit = 0, letter, bad = 0
    for i in range(13):
        digit = <uint8_t>(text13[i] - c'0')
        letter = <uint8_t>(text13[i] - c'a')
        bad |= digit > 9 and letter > 21
        if digit > 9:
            digit = <uint8_t>(letter + 10)
        if i < 12:
            word = word << 5 | (digit & 31)
    if bad or digit & 1:
        return -1
    out[0] = word << 4 | digit >> 1
    return 0
