"""Reading a session description for anchoring: which sections are the relay's business, and where their media goes."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset
from sipcore.anchor.sdes cimport is_savp
from sipcore.base.address cimport Address, TRANSPORT_UDP, parse_ip
from sipcore.base.slice cimport Slice, slice_iis, slice_of
from sipcore.wire.codec cimport SdpCodec, section_codecs
from sipcore.wire.sdp cimport (
    DIRECTION_INACTIVE, DIRECTION_RECVONLY, DIRECTION_SENDONLY, SDP_MAX_FORMATS, SdpConnection, SdpIndex, SdpMedia,
    next_word, sdp_attribute, sdp_line,
)


cdef bint _over_dtls(const SdpIndex* sdp, const SdpMedia* media) noexcept nogil:
    """UDP/TLS/RTP/SAVPF, DTLS/SCTP... (RFC 5764 8), and RTP/SAVPF with a fingerprint as its only key, as it was written
    before: keys are agreed on the media path, which needs an end there."""
    cdef uint32_t i, first = sdp.media[0].first_line
    cdef bint keyed = False
    cdef Slice value
    for i in range(media.proto.n):
        if i + 3 <= media.proto.n and slice_iis(slice_of(media.proto.p + i, 3), b"TLS", 3):
            return True
    if not is_savp(media.proto):
        return False
    for i in range(first):
        keyed = keyed or sdp_attribute(sdp_line(sdp, i), b"fingerprint", 11, &value)
    for i in range(media.first_line, <uint32_t>media.first_line + media.line_count):
        if sdp_attribute(sdp_line(sdp, i), b"crypto", 6, &value):
            return False
        keyed = keyed or sdp_attribute(sdp_line(sdp, i), b"fingerprint", 11, &value)
    return keyed


cdef bint _is_multicast(const Address* a) noexcept nogil:
    return a.ip[0] >> 4 == 14 if a.family == 4 else a.ip[0] == 0xff


cdef bint _connect(const SdpConnection* connection, uint16_t port, Address* out) noexcept nogil:
    """Address and port of a c= line; family 0 for a host name. False for an address that nothing can be sent to."""
    memset(out, 0, sizeof(Address))
    if connection.family and parse_ip(connection.address, out) != 0:
        return False
    out.port = port
    out.transport = TRANSPORT_UDP
    return True


cdef void _codecs(const SdpIndex* sdp, uint32_t i, Section* section) noexcept nogil:
    cdef SdpCodec[SDP_MAX_FORMATS] codecs
    cdef uint32_t k, n = section_codecs(sdp, i, codecs)
    section.payload = section.event_payload = NO_PAYLOAD
    section.clock = 0
    for k in range(n):
        if slice_iis(codecs[k].name, b"telephone-event", 15):
            if section.event_payload == NO_PAYLOAD:
                section.event_payload = codecs[k].payload
        elif section.payload == NO_PAYLOAD and not slice_iis(codecs[k].name, b"CN", 2):
            section.payload = codecs[k].payload
            section.clock = codecs[k].clock
            # A dynamic payload type without a=rtpmap has no name.
            if codecs[k].name.n:
                memcpy(section.codec, codecs[k].name.p, min(codecs[k].name.n, <uint32_t>(CODEC_TEXT - 1)))


cdef void _rtcp(const SdpMedia* media, Section* section) noexcept nogil:
    """a=rtcp:port [IN IP4 address] (RFC 3605), else the port after RTP's."""
    cdef Slice rest = media.rtcp
    cdef Address other
    section.rtcp = section.rtp
    section.rtcp.port = section.rtp.port + 1
    if media.rtcp_port:
        section.rtcp.port = media.rtcp_port
        next_word(&rest)
        next_word(&rest)
        next_word(&rest)
        if rest.n and parse_ip(next_word(&rest), &other) == 0:
            other.port = media.rtcp_port
            section.rtcp = other


cdef const char* describe(const SdpIndex* sdp, const Rules* rules, Section* out) noexcept nogil:
    """Fill out[MAX_SECTIONS] from an indexed description.

    Returns NULL, or why it cannot be anchored, as the text of a Warning with its code (RFC 3261 20.43).
    """
    cdef uint32_t i
    cdef const SdpMedia* media
    cdef const SdpConnection* connection
    cdef Section* section
    cdef uint8_t direction
    for i in range(min(sdp.medias, <uint32_t>MAX_SECTIONS)):
        media = &sdp.media[i]
        section = &out[i]
        memset(section, 0, sizeof(Section))
        section.open = media.port != 0
        section.savp = is_savp(media.proto)
        section.treatment = TREAT_ANCHOR if rules.kinds >> media.kind_id & 1 and media.rtp else rules.other
        if section.treatment != TREAT_ANCHOR or not section.open:
            continue
        if _over_dtls(sdp, media):
            return b"302 media over DTLS cannot be anchored"
        connection = &media.connection if media.connection.address.n else &sdp.connection
        if connection.address.n == 0:
            return b"301 no connection address for a media section"
        if not _connect(connection, media.port, &section.rtp):
            return b"301 connection address does not parse"
        if section.rtp.family and _is_multicast(&section.rtp):
            return b"330 multicast cannot be anchored"
        if media.port == 65535 and not media.rtcp_port and not media.rtcp_mux:
            return b"399 no port is left for RTCP"
        _rtcp(media, section)
        section.mux = media.rtcp_mux
        direction = media.direction if media.direction else sdp.direction
        section.direction = SENDS | RECEIVES
        if direction == DIRECTION_SENDONLY:
            section.direction = SENDS
        elif direction == DIRECTION_RECVONLY:
            section.direction = RECEIVES
        elif direction == DIRECTION_INACTIVE:
            section.direction = 0
        if goes_nowhere(&section.rtp):
            # Hold as RFC 2543 had it: nothing may be sent there.
            section.direction &= SENDS
        section.ptime = media.ptime if media.ptime else 20
        _codecs(sdp, i, section)
    return NULL
