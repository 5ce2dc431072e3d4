"""The fixed RTP header (RFC 3550 5.1), and what a datagram on a media port is by its first bytes (RFC 7983)."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp

cdef enum:
    RTP_HEADER = 12         # bytes without contributing sources and extension
    RTCP_HEADER = 8         # bytes of the shortest packet that says who sends: version, type, length, SSRC
    RTP_MARKER = 0x80       # of the second byte
    PAYLOAD_NONE = 255      # no payload type: they have seven bits

cdef enum Kind:
    KIND_RTP = 0
    KIND_RTCP = 1
    KIND_STUN = 2
    KIND_DTLS = 3
    KIND_ZRTP = 4
    KIND_SHORT = 5          # RTP or RTCP by its first byte, and shorter than their header
    KIND_OTHER = 6          # another version, TURN channels, anything else
    KINDS = 7


cdef inline uint16_t read_u16(const uint8_t* p) noexcept nogil:
    return <uint16_t>(p[0] << 8 | p[1])


cdef inline uint32_t read_u32(const uint8_t* p) noexcept nogil:
    return <uint32_t>p[0] << 24 | <uint32_t>p[1] << 16 | <uint32_t>p[2] << 8 | p[3]


cdef inline void write_u16(uint8_t* p, uint16_t value) noexcept nogil:
    p[0] = <uint8_t>(value >> 8)
    p[1] = <uint8_t>value


cdef inline void write_u32(uint8_t* p, uint32_t value) noexcept nogil:
    p[0] = <uint8_t>(value >> 24)
    p[1] = <uint8_t>(value >> 16)
    p[2] = <uint8_t>(value >> 8)
    p[3] = <uint8_t>value


cdef inline Kind kind_of(const uint8_t* p, uint32_t n) noexcept nogil:
    """What a datagram of n bytes is. The first byte tells the protocol (RFC 7983 7); in RTP's range, payload types
    64 to 95 with the marker, that is 192 to 223, are RTCP (RFC 5761 4)."""
    if n == 0:
        return KIND_OTHER
    if 128 <= p[0] <= 191:
        if n >= 2 and 192 <= p[1] <= 223:
            return KIND_RTCP if n >= RTCP_HEADER else KIND_SHORT
        return KIND_RTP if n >= RTP_HEADER else KIND_SHORT
    if p[0] <= 3:
        return KIND_STUN
    if 20 <= p[0] <= 63:
        return KIND_DTLS
    # RFC 6189 5: the magic cookie stands where RTP has its timestamp.
    if 16 <= p[0] <= 19 and n >= 8 and memcmp(p + 4, b"ZRTP", 4) == 0:
        return KIND_ZRTP
    return KIND_OTHER


cdef inline uint8_t rtp_payload_type(const uint8_t* p) noexcept nogil:
    return p[1] & 0x7F


cdef inline bint rtp_marker(const uint8_t* p) noexcept nogil:
    return p[1] & RTP_MARKER != 0


cdef inline uint16_t rtp_sequence(const uint8_t* p) noexcept nogil:
    return read_u16(p + 2)


cdef inline uint32_t rtp_timestamp(const uint8_t* p) noexcept nogil:
    return read_u32(p + 4)


cdef inline uint32_t rtp_ssrc(const uint8_t* p) noexcept nogil:
    return read_u32(p + 8)


cdef inline uint32_t rtp_header_size(const uint8_t* p, uint32_t n) noexcept nogil:
    """Bytes of the header of a packet of n bytes with sources and extension (RFC 3550 5.1, 5.3.1).

    Returns 0 where they do not fit into n bytes, or the version is another.
    """
    cdef uint32_t at = RTP_HEADER
    if n < RTP_HEADER or p[0] >> 6 != 2:
        return 0
    at += 4 * (p[0] & 0x0F)
    if p[0] & 0x10:
        if at + 4 > n:
            return 0
        at += 4 + 4 * <uint32_t>read_u16(p + at + 2)
    return at if at <= n else 0


cdef inline uint32_t rtp_payload(const uint8_t* p, uint32_t n, uint32_t* length) noexcept nogil:
    """Where the payload of a packet begins, and its length without padding in *length.

    Returns 0 where it is no whole header (`rtp_header_size`), or the padding does not fit (RFC 3550 5.1).
    """
    cdef uint32_t at = rtp_header_size(p, n), end = n
    if at == 0:
        return 0
    if p[0] & 0x20:
        if p[n - 1] == 0 or p[n - 1] > n:
            return 0
        end = n - p[n - 1]
    if at > end:
        return 0
    length[0] = end - at
    return at
