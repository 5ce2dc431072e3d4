"""Numbers as decimal text."""
from libc.stdint cimport uint8_t, uint64_t

cdef enum:
    DECIMAL_TEXT = 20       # bytes enough for any number


cdef inline uint8_t* put_number(uint8_t* o, uint64_t value) noexcept nogil:
    """Write value without leading zeros; returns the end."""
    cdef uint8_t digits[DECIMAL_TEXT]
    cdef int n = 0
    while True:
        digits[n] = <uint8_t>(c'0' + value % 10)
        n += 1
        value //= 10
        if value == 0:
            break
    while n > 0:
        n -= 1
        o[0] = digits[n]
        o += 1
    return o
