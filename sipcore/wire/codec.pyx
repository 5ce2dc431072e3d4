"""Payload types by name: rtpmap where there is one, the static types of RFC 3551 where there is none."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memset
from sipcore.base.slice cimport Slice, slice_at, slice_of
from .cseq cimport parse_uint
from .sdp cimport SDP_MAX_FORMATS, SDP_NO_LINE, SdpIndex, SdpMedia, next_word, sdp_attribute, sdp_line

cdef struct StaticCodec:
    uint8_t payload
    uint8_t length
    uint8_t channels
    uint32_t clock
    const char* name

# RFC 3551 6. G722's clock is 8000 by an old mistake that became the rule (4.5.2).
cdef StaticCodec[24] STATIC_CODECS = [
    StaticCodec(0, 4, 1, 8000, b"PCMU"), StaticCodec(3, 3, 1, 8000, b"GSM"), StaticCodec(4, 4, 1, 8000, b"G723"),
    StaticCodec(5, 4, 1, 8000, b"DVI4"), StaticCodec(6, 4, 1, 16000, b"DVI4"), StaticCodec(7, 3, 1, 8000, b"LPC"),
    StaticCodec(8, 4, 1, 8000, b"PCMA"), StaticCodec(9, 4, 1, 8000, b"G722"), StaticCodec(10, 3, 2, 44100, b"L16"),
    StaticCodec(11, 3, 1, 44100, b"L16"), StaticCodec(12, 5, 1, 8000, b"QCELP"), StaticCodec(13, 2, 1, 8000, b"CN"),
    StaticCodec(14, 3, 1, 90000, b"MPA"), StaticCodec(15, 4, 1, 8000, b"G728"), StaticCodec(16, 4, 1, 11025, b"DVI4"),
    StaticCodec(17, 4, 1, 22050, b"DVI4"), StaticCodec(18, 4, 1, 8000, b"G729"), StaticCodec(25, 4, 1, 90000, b"CelB"),
    StaticCodec(26, 4, 1, 90000, b"JPEG"), StaticCodec(28, 2, 1, 90000, b"nv"), StaticCodec(31, 4, 1, 90000, b"H261"),
    StaticCodec(32, 3, 1, 90000, b"MPV"), StaticCodec(33, 4, 1, 90000, b"MP2T"), StaticCodec(34, 4, 1, 90000, b"H263"),
]


cdef int32_t payload_of(Slice* value) noexcept nogil:
    """The payload type that an rtpmap, fmtp or rtcp-fb value begins with, or -1."""
    cdef uint32_t number = 0
    cdef Slice word = next_word(value)
    return <int32_t>number if parse_uint(word, 127, &number) == 0 else -1


cdef void _read_rtpmap(Slice value, SdpCodec* codec) noexcept nogil:
    """<encoding name>/<clock rate>[/<channels>]; what cannot be read stays 0."""
    cdef Slice word = next_word(&value)
    cdef uint32_t parts[2]
    cdef uint32_t i, n = 0, start = 0
    codec.name = word
    parts[0] = parts[1] = 0
    for i in range(word.n + 1):
        if i == word.n or slice_at(word, i) == c'/':
            if n == 0:
                codec.name = slice_of(word.p, i)
            elif n <= 2:
                parse_uint(slice_of(word.p + start, i - start), 0x7fffffff, &parts[n - 1])
            n += 1
            start = i + 1
    codec.clock = parts[0]
    codec.channels = <uint8_t>parts[1] if 0 < parts[1] < 256 else 1


cdef uint32_t section_codecs(const SdpIndex* sdp, uint32_t media, SdpCodec* out) noexcept nogil:
    """The codecs of an RTP media section in their order; out has room for SDP_MAX_FORMATS. Returns their number.

    Names come from rtpmap, and for static payload types without one from RFC 3551. Of two rtpmaps for one
    payload type the first counts; a payload type listed twice appears twice.
    """
    cdef const SdpMedia* section = &sdp.media[media]
    cdef Slice formats = section.formats, value = formats
    cdef uint32_t count = 0, i, k
    cdef int32_t payload
    cdef uint16_t rtpmap[128]
    cdef uint16_t fmtp[128]
    if not section.rtp:
        return 0
    memset(rtpmap, 0xff, sizeof(rtpmap))
    memset(fmtp, 0xff, sizeof(fmtp))
    for i in range(<uint32_t>section.first_line + 1, <uint32_t>section.first_line + section.line_count):
        if sdp_attribute(sdp_line(sdp, i), b"rtpmap", 6, &value):
            payload = payload_of(&value)
            if payload >= 0 and rtpmap[payload] == SDP_NO_LINE:
                rtpmap[payload] = <uint16_t>i
        elif sdp_attribute(sdp_line(sdp, i), b"fmtp", 4, &value):
            payload = payload_of(&value)
            if payload >= 0 and fmtp[payload] == SDP_NO_LINE:
                fmtp[payload] = <uint16_t>i
    while count < SDP_MAX_FORMATS:
        payload = payload_of(&formats)
        if payload < 0:
            break
        memset(&out[count], 0, sizeof(SdpCodec))
        out[count].payload = <uint8_t>payload
        out[count].rtpmap_line = rtpmap[payload]
        out[count].fmtp_line = fmtp[payload]
        if rtpmap[payload] != SDP_NO_LINE:
            sdp_attribute(sdp_line(sdp, rtpmap[payload]), b"rtpmap", 6, &value)
            payload_of(&value)
            _read_rtpmap(value, &out[count])
        else:
            for k in range(24):
                if STATIC_CODECS[k].payload == payload:
                    out[count].name = slice_of(<const uint8_t*>STATIC_CODECS[k].name, STATIC_CODECS[k].length)
                    out[count].clock = STATIC_CODECS[k].clock
                    out[count].channels = STATIC_CODECS[k].channels
        count += 1
    return count
