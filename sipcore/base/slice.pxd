"""A borrowed run of bytes: pointer and length, never owning.

Lifetime: a Slice is valid only as long as the buffer that it points into; nothing that outlives one
datagram keeps a Slice. Reads go through `slice_at`, which checks its index in debug and fuzz builds
(SIPCORE_CHECKED) and is a plain load otherwise.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from "checked.h" nogil:
    void SIPCORE_CHECK_INDEX(const char* what, unsigned long index, unsigned long limit)
    void SIPCORE_CHECK(bint condition)

cdef struct Slice:
    const uint8_t* p    # first byte; may be NULL only where n is 0
    uint32_t n          # bytes


cdef inline Slice slice_of(const uint8_t* p, uint32_t n) noexcept nogil:
    cdef Slice s
    s.p = p
    s.n = n
    return s


cdef inline Slice slice_empty() noexcept nogil:
    return slice_of(<const uint8_t*>b"", 0)


cdef inline uint8_t slice_at(Slice s, uint32_t i) noexcept nogil:
    SIPCORE_CHECK_INDEX("slice_at", i, s.n)
    return s.p[i]


cdef inline bint same_bytes(const uint8_t* a, const uint8_t* b, uint32_t n) noexcept nogil:
    """memcmp() == 0 for the short texts of a message, in line: words of eight bytes, the last two overlapping."""
    cdef uint64_t x, y
    cdef uint32_t v, w, i = 0
    if n < 4:
        # The first, the middle and the last byte are all there are.
        return n == 0 or (a[0] == b[0] and a[n >> 1] == b[n >> 1] and a[n - 1] == b[n - 1])
    if n < 8:
        memcpy(&v, a, 4)
        memcpy(&w, b, 4)
        if v != w:
            return False
        memcpy(&v, a + n - 4, 4)
        memcpy(&w, b + n - 4, 4)
        return v == w
    while i < n:
        if i + 8 > n:
            i = n - 8
        memcpy(&x, a + i, 8)
        memcpy(&y, b + i, 8)
        if x != y:
            return False
        i += 8
    return True


cdef inline uint8_t ascii_lower(uint8_t c) noexcept nogil:
    return c | 0x20 if c'A' <= c <= c'Z' else c


cdef inline bint slice_equal(Slice a, Slice b) noexcept nogil:
    return a.n == b.n and same_bytes(a.p, b.p, a.n)


cdef inline bint slice_iequal(Slice a, Slice b) noexcept nogil:
    """Equal without regard to ASCII case (tokens: RFC 3261 7.3.1)."""
    cdef uint32_t i
    if a.n != b.n:
        return False
    if same_bytes(a.p, b.p, a.n):
        return True         # nearly everybody writes names as the RFC does
    for i in range(a.n):
        if a.p[i] != b.p[i] and ascii_lower(a.p[i]) != ascii_lower(b.p[i]):
            return False
    return True


cdef inline bint slice_is(Slice a, const char* text, uint32_t n) noexcept nogil:
    return a.n == n and same_bytes(a.p, <const uint8_t*>text, n)


cdef inline bint slice_iis(Slice a, const char* text, uint32_t n) noexcept nogil:
    """Equal to text (n bytes) without regard to ASCII case."""
    return slice_iequal(a, slice_of(<const uint8_t*>text, n))


cdef inline bytes slice_bytes(Slice s):
    """A copy as a Python object."""
    return (<const char*>s.p)[:s.n] if s.n else b""


cdef inline Slice slice_from(bytes data) except *:
    """Borrow a bytes object; valid while the caller holds it."""
    return slice_of(<const uint8_t*><const char*>data, <uint32_t>len(data))
