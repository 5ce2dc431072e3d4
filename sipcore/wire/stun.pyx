"""Binding requests of phones that keep their NAT's mapping alive and ask what it is (RFC 5626 4.4.2).

A server of this usage needs no more than Binding, without credentials, FINGERPRINT or ALTERNATE-SERVER (RFC 5626 8).
An answer says what was asked and nothing else: no SOFTWARE, no MAPPED-ADDRESS beside XOR-MAPPED-ADDRESS. So it is never
longer than 44 bytes (IPv6), or as long as the request that it refuses and 12 bytes.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy
from sipcore.base.address cimport Address, address_from

cdef enum:
    HEADER = 20             # bytes: type, length, cookie, transaction id
    REQUEST = 0x0001        # Binding: request, indication, success and error response
    INDICATION = 0x0011
    SUCCESS = 0x0101
    FAILURE = 0x0111
    A_ERROR_CODE = 0x0009
    A_UNKNOWN_ATTRIBUTES = 0x000A
    A_XOR_MAPPED_ADDRESS = 0x0020
    OPTIONAL = 0x8000       # attributes from here on may be ignored
    MOST_NAMED = 8          # unknown attributes that an answer names

cdef const uint8_t* _COOKIE = b"\x21\x12\xa4\x42"


cdef inline uint16_t _word(const uint8_t* p) noexcept nogil:
    return <uint16_t>(p[0] << 8 | p[1])


cdef inline void _put_word(uint8_t* p, uint32_t value) noexcept nogil:
    p[0] = <uint8_t>(value >> 8)
    p[1] = <uint8_t>value


cdef inline bint _is_known(uint16_t attribute) noexcept nogil:
    """Attributes of RFC 8489 that a request may carry. Credentials are known, and not asked for; what would send the
    answer elsewhere (RFC 3489's RESPONSE-ADDRESS, CHANGE-REQUEST) is not."""
    return attribute in (0x0001, 0x0006, 0x0008, 0x0014, 0x0015, 0x001C, 0x001D, 0x001E, 0x0020)


cdef int _attributes(const uint8_t* p, uint32_t n, uint16_t* unknown) noexcept nogil:
    """How many attributes have to be understood and are not, the first of them in `unknown`; -1 where they do not end
    with the message."""
    cdef uint32_t at = HEADER
    cdef int count = 0
    cdef uint16_t kind
    while at < n:
        # The message's length is a multiple of 4, so there are 4 bytes.
        kind = _word(p + at)
        at += 4 + (_word(p + at + 2) + 3 & ~3)
        if kind < OPTIONAL and not _is_known(kind) and count < MOST_NAMED:
            unknown[count] = kind
            count += 1
    return count if at == n else -1


cdef int answer_stun(const uint8_t* p, uint32_t n, const Address* source, uint8_t* out) noexcept nogil:
    """Write the answer to a datagram (is_stun) from `source`; returns its bytes, STUN_INDICATION or STUN_MALFORMED.

    A response is malformed here: nobody was asked. out: room for STUN_ROOM bytes.
    """
    cdef uint16_t unknown[MOST_NAMED]
    cdef uint32_t i, size
    cdef int count
    if n < HEADER or n & 3 or _word(p + 2) != n - HEADER:
        return STUN_MALFORMED
    for i in range(4):
        if p[4 + i] != _COOKIE[i]:
            return STUN_MALFORMED
    count = _attributes(p, n, unknown)
    if count < 0:
        return STUN_MALFORMED
    if _word(p) == INDICATION:
        return STUN_INDICATION
    if _word(p) != REQUEST:
        return STUN_MALFORMED
    memcpy(out + 4, p + 4, HEADER - 4)
    if count:
        # RFC 8489 6.3.1: 420, and which ones.
        size = 12 + (<uint32_t>count * 2 + 3 & ~<uint32_t>3)
        _put_word(out, FAILURE)
        _put_word(out + 20, A_ERROR_CODE)
        _put_word(out + 22, 4)
        _put_word(out + 24, 0)
        _put_word(out + 26, 4 << 8 | 20)
        _put_word(out + 28, A_UNKNOWN_ATTRIBUTES)
        _put_word(out + 30, <uint32_t>count * 2)
        _put_word(out + 32 + 2 * (count - 1 | 1), 0)
        for i in range(<uint32_t>count):
            _put_word(out + 32 + 2 * i, unknown[i])
    else:
        # 14.2: port and address, xored with the cookie and the transaction id.
        size = 12 if source.family == 4 else 24
        _put_word(out, SUCCESS)
        _put_word(out + 20, A_XOR_MAPPED_ADDRESS)
        _put_word(out + 22, size - 4)
        _put_word(out + 24, 1 if source.family == 4 else 2)
        _put_word(out + 26, source.port ^ _word(_COOKIE))
        for i in range(size - 8):
            out[28 + i] = source.ip[i] ^ p[4 + i]
    _put_word(out + 2, size)
    return <int>(HEADER + size)


def stun_answer(bytes data not None, str host not None, int port):
    """The answer to a STUN message from that address; b"" where it wants none, None where it is malformed."""
    cdef Address source
    cdef uint8_t out[STUN_ROOM]
    cdef int n
    address_from(host, port, &source)
    n = answer_stun(<const uint8_t*><const char*>data, <uint32_t>len(data), &source, out) \
        if is_stun(<const uint8_t*><const char*>data, <uint32_t>len(data)) else STUN_MALFORMED
    return None if n == STUN_MALFORMED else (<const char*>out)[:n]
