"""SDP by offsets: every line once, the parts of o=, c= and m= that an edge reads or rewrites (RFC 8866, RFC 3264)."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from sipcore.base.slice cimport Slice, slice_at, slice_is, slice_of

cdef enum:
    SDP_MAX_LINES = 512
    SDP_MAX_MEDIA = 32
    SDP_MAX_FORMATS = 64    # in one media section
    SDP_NO_LINE = 0xffff

cdef enum MediaKind:
    MEDIA_OTHER = 0
    MEDIA_AUDIO = 1
    MEDIA_VIDEO = 2
    MEDIA_IMAGE = 3
    MEDIA_APPLICATION = 4
    MEDIA_TEXT = 5

cdef enum Direction:
    DIRECTION_NONE = 0      # no attribute: the session's, and sendrecv where that has none
    DIRECTION_SENDRECV = 1
    DIRECTION_SENDONLY = 2
    DIRECTION_RECVONLY = 3
    DIRECTION_INACTIVE = 4

cdef struct SdpLine:
    uint32_t start          # offset of the type letter
    uint32_t length         # bytes without the line end
    uint32_t stop           # offset after the line end: start..stop is what deleting the line takes
    uint8_t type            # c'm', c'a'...

cdef struct SdpConnection:
    Slice address           # without "/ttl"; n = 0: no c= line
    uint16_t line           # index in SdpIndex.line, or SDP_NO_LINE
    uint8_t family          # 4, 6, or 0 for a host name

cdef struct SdpMedia:
    uint16_t first_line     # the m= line
    uint16_t line_count     # with the m= line
    Slice kind
    Slice port_text         # with "/count"
    Slice proto
    Slice formats           # all of them, spaces between
    SdpConnection connection
    Slice rtcp              # value of a=rtcp; n = 0: absent
    uint16_t port           # 0: refused or disabled
    uint16_t port_count     # 1 where none is given
    uint16_t rtcp_port      # of a=rtcp; 0: absent
    uint16_t ptime          # ms; 0: absent
    uint16_t rtcp_line      # SDP_NO_LINE: absent
    uint16_t direction_line  # SDP_NO_LINE: absent
    uint8_t kind_id         # MediaKind
    uint8_t direction       # Direction
    bint rtcp_mux           # a=rtcp-mux (RFC 5761)
    bint rtp                # proto has "RTP/": formats are payload types

cdef struct SdpIndex:
    Slice text
    Slice origin_version    # the number that rises with each new offer (RFC 3264 8)
    Slice origin_address
    SdpConnection connection
    uint16_t origin_line
    uint16_t lines
    uint16_t medias
    uint8_t direction       # Direction of the session level
    SdpLine line[SDP_MAX_LINES]
    SdpMedia media[SDP_MAX_MEDIA]


cdef int index_sdp(Slice text, SdpIndex* out) noexcept nogil


cdef inline Slice next_word(Slice* rest) noexcept nogil:
    """Take the next word off rest; words are separated by spaces. n = 0 at the end."""
    cdef uint32_t i = 0, start
    cdef Slice word
    while i < rest.n and slice_at(rest[0], i) == c' ':
        i += 1
    start = i
    while i < rest.n and slice_at(rest[0], i) != c' ':
        i += 1
    word = slice_of(rest.p + start, i - start)
    rest[0] = slice_of(rest.p + i, rest.n - i)
    return word


cdef inline Slice sdp_line(const SdpIndex* sdp, uint32_t line) noexcept nogil:
    """Line number line, without its line end."""
    return slice_of(sdp.text.p + sdp.line[line].start, sdp.line[line].length)


cdef inline bint sdp_attribute(Slice line, const char* name, uint32_t n, Slice* value) noexcept nogil:
    """Whether line is a=name or a=name:value (name: n bytes); value has n = 0 where there is none."""
    if line.n < n + 2 or slice_at(line, 0) != c'a' or not slice_is(slice_of(line.p + 2, n), name, n):
        return False
    value[0] = slice_of(line.p + line.n, 0)
    if line.n == n + 2:
        return True
    if slice_at(line, n + 2) != c':':
        return False
    value[0] = slice_of(line.p + n + 3, line.n - n - 3)
    return True
