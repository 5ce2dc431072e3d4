"""STUN on a SIP port: the answer to a Binding request (RFC 8489, RFC 5626 8)."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.address cimport Address

cdef enum:
    STUN_ROOM = 48          # bytes of the longest answer
    STUN_MALFORMED = -1
    STUN_INDICATION = 0     # wants no answer


cdef inline bint is_stun(const uint8_t* p, uint32_t n) noexcept nogil:
    """Whether a datagram is STUN's: two zero bits first (RFC 8489 5), where SIP has a letter or a line end."""
    return n > 0 and p[0] < 4


cdef int answer_stun(const uint8_t* p, uint32_t n, const Address* source, uint8_t* out) noexcept nogil
