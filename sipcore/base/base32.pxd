"""Base 32 with the "extended hex" alphabet (RFC 4648 section 7), lower case and without padding, for 64-bit words.

13 characters a word; they sort as the numbers do, and all of them are legal in a SIP token, tag and branch.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from *:
    """
    #ifndef SIPCORE_BASE32
    #define SIPCORE_BASE32
    static const uint8_t BASE32_DIGITS[33] = "0123456789abcdefghijklmnopqrstuv";
    /* One more than the value of a digit, 0 for what is none. */
    static const uint8_t BASE32_VALUES[256] = {
        ['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6, ['6'] = 7, ['7'] = 8, ['8'] = 9, ['9'] = 10,
        ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16, ['g'] = 17, ['h'] = 18, ['i'] = 19,
        ['j'] = 20, ['k'] = 21, ['l'] = 22, ['m'] = 23, ['n'] = 24, ['o'] = 25, ['p'] = 26, ['q'] = 27, ['r'] = 28,
        ['s'] = 29, ['t'] = 30, ['u'] = 31, ['v'] = 32
    };
    #endif
    """
    const uint8_t BASE32_DIGITS[33]
    const uint8_t BASE32_VALUES[256]

cdef enum:
    BASE32_U64 = 13     # characters of one word


cdef inline uint8_t base32_digit(uint64_t value) noexcept nogil:
    """The character of a value below 32."""
    return BASE32_DIGITS[value]


cdef inline int get_base32(const uint8_t* text, int n, uint64_t* out) noexcept nogil:
    """Read n characters of five bits each into out, twelve at most; -1 for a character outside the alphabet."""
    cdef uint64_t word = 0
    cdef uint32_t value, bad = 0
    cdef int i
    for i in range(n):
        value = <uint32_t>BASE32_VALUES[text[i]] - 1
        bad |= value        # of a digit below 32, of what is none all ones
        word = word << 5 | value
    if bad > 31:
        return -1
    out[0] = word
    return 0


cdef inline void put_base32_u64(uint64_t word, uint8_t* out13) noexcept nogil:
    """Write word as 13 characters, most significant first; the last one carries four bits and a zero."""
    cdef int i
    for i in range(12):
        out13[i] = base32_digit((word >> (59 - 5 * i)) & 31)
    out13[12] = base32_digit((word & 15) << 1)


cdef inline int get_base32_u64(const uint8_t* text13, uint64_t* out) noexcept nogil:
    """Read 13 characters into out. Returns 0; -1 for a character outside the alphabet (capitals are) or a last
    character that carries more than four bits: each word has exactly one text."""
    cdef uint64_t word
    cdef uint32_t last = <uint32_t>BASE32_VALUES[text13[12]] - 1
    if get_base32(text13, 12, &word) or last > 31 or last & 1:
        return -1
    out[0] = word << 4 | last >> 1
    return 0
