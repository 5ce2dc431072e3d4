"""CSeq = 1*DIGIT LWS Method, and bare numbers. Numbers stop at their limit before they can overflow."""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.base.slice cimport Slice, slice_at, slice_bytes, slice_from, slice_of
from .fault cimport FAULT_CSEQ_METHOD, FAULT_CSEQ_NUMBER, FAULT_NUMBER, wire_fault
from .scan cimport CH_DIGIT, CH_TOKEN, is_class, skip_class, skip_lws, trim_lws


cdef int parse_cseq(Slice text, uint32_t* number, Slice* method) noexcept nogil:
    """Read number and method; 0, FAULT_CSEQ_NUMBER or FAULT_CSEQ_METHOD.

    The number is below 2**31 (RFC 3261 8.1.1.5); leading zeros are fine.
    """
    cdef uint32_t i = skip_lws(text, 0), start = i
    cdef uint64_t value = 0
    while i < text.n and is_class(slice_at(text, i), CH_DIGIT):
        value = value * 10 + (slice_at(text, i) - c'0')
        if value > 0x7fffffff:
            return FAULT_CSEQ_NUMBER
        i += 1
    if i == start:
        return FAULT_CSEQ_NUMBER
    start = skip_lws(text, i)
    if start == i:
        return FAULT_CSEQ_METHOD
    i = skip_class(text.p, start, text.n, CH_TOKEN)
    if i == start or skip_lws(text, i) != text.n:
        return FAULT_CSEQ_METHOD
    number[0] = <uint32_t>value
    method[0] = slice_of(text.p + start, i - start)
    return 0


cdef int parse_uint(Slice text, uint32_t limit, uint32_t* out) noexcept nogil:
    """Read 1*DIGIT with LWS around it; FAULT_NUMBER where it is no number or above limit."""
    cdef uint32_t i
    cdef uint64_t value = 0
    text = trim_lws(text)
    for i in range(text.n):
        if not is_class(slice_at(text, i), CH_DIGIT):
            return FAULT_NUMBER
        value = value * 10 + (slice_at(text, i) - c'0')
        if value > limit:
            return FAULT_NUMBER
    if text.n == 0:
        return FAULT_NUMBER
    out[0] = <uint32_t>value
    return 0


def read_cseq(value: bytes) -> tuple[int, str]:
    """(number, method) of a CSeq value; WireFault where it is malformed."""
    cdef uint32_t number = 0
    cdef Slice method
    cdef int code = parse_cseq(slice_from(value), &number, &method)
    if code != 0:
        raise wire_fault(code, value)
    return number, slice_bytes(method).decode("ascii")


def read_uint(value: bytes, limit: int = 0xffffffff) -> int:
    """The number in a value such as Content-Length; WireFault where it is none or above limit (32 bits)."""
    cdef uint32_t number = 0
    cdef int code = parse_uint(slice_from(value), limit, &number)
    if code != 0:
        raise wire_fault(code, value)
    return number
