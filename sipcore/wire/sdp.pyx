"""SDP: one pass finds the lines, and reads what an edge needs of o=, c=, b=, m= and a few attributes.

Everything else stays bytes at a known offset, so that a rewrite (addresses and ports of the relay, fewer
codecs, a new version in o=) is a list of patches. Bounds: 512 lines, 32 media sections, 64 formats in one;
the index takes 13 KiB and allocates nothing. Line ends are CRLF or LF (RFC 8866 5 asks for both); a NUL or a
lone CR in a line, and an empty line with another one after it, are faults.
"""
from collections.abc import Sequence
from typing import NamedTuple

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memchr, memset
from sipcore.base.address cimport Address, parse_ip
from sipcore.base.slice cimport Slice, slice_at, slice_bytes, slice_from, slice_iis, slice_is, slice_of
from .codec cimport SdpCodec, payload_of, section_codecs
from .cseq cimport parse_uint
from .fault cimport (FAULT_SDP_ATTRIBUTE, FAULT_SDP_BANDWIDTH, FAULT_SDP_CONNECTION, FAULT_SDP_FORMAT, FAULT_SDP_LINE,
                     FAULT_SDP_MEDIA, FAULT_SDP_MEDIA_COUNT, FAULT_SDP_ORIGIN, FAULT_SDP_PORT, FAULT_SDP_VERSION,
                     WIRE_OK, wire_fault)
from .host cimport HOST_NAME, scan_host
from .scan cimport CH_TOKEN, is_class, skip_class


cdef bint _is_token(Slice s, bint slashes) noexcept nogil:
    """Whether s is a token, or with slashes tokens joined by "/"."""
    cdef uint32_t i
    cdef bint open_part = True
    for i in range(s.n):
        if slashes and slice_at(s, i) == c'/':
            if open_part:
                return False
            open_part = True
        elif is_class(slice_at(s, i), CH_TOKEN):
            open_part = False
        else:
            return False
    return not open_part


cdef int _address(Slice network, Slice family, Slice address, SdpConnection* out) noexcept nogil:
    """nettype SP addrtype SP address[/ttl[/count]]: an address literal of that family, or a host name."""
    cdef const uint8_t* slash = NULL
    cdef Address ip
    cdef Slice host
    cdef uint8_t kind = 0
    cdef uint8_t quad[4]
    cdef bint v6 = slice_is(family, b"IP6", 3)
    if not slice_is(network, b"IN", 2) or not (v6 or slice_is(family, b"IP4", 3)) or address.n == 0:
        return FAULT_SDP_CONNECTION
    slash = <const uint8_t*>memchr(address.p, c'/', address.n)
    if slash != NULL:
        address.n = <uint32_t>(slash - address.p)
    out.address = address
    if address.n and slice_at(address, 0) != c'[' and parse_ip(address, &ip) == 0:
        if v6 != (memchr(address.p, c':', address.n) != NULL):
            return FAULT_SDP_CONNECTION
        out.family = 6 if v6 else 4
        return WIRE_OK
    out.family = 0
    if scan_host(address, 0, &host, &kind, quad) != <int32_t>address.n or kind != HOST_NAME:
        return FAULT_SDP_CONNECTION
    return WIRE_OK


cdef int _connection(Slice value, uint16_t line, SdpConnection* out) noexcept nogil:
    cdef Slice network, family, address
    if out.line != SDP_NO_LINE:
        return FAULT_SDP_CONNECTION
    network = next_word(&value)
    family = next_word(&value)
    address = next_word(&value)
    if next_word(&value).n:
        return FAULT_SDP_CONNECTION
    out.line = line
    return _address(network, family, address, out)


cdef int _origin(Slice value, SdpIndex* out) noexcept nogil:
    """o=<username> <sess-id> <sess-version> <nettype> <addrtype> <unicast-address>."""
    cdef Slice network, family
    cdef SdpConnection address
    cdef uint32_t i
    if out.origin_line != SDP_NO_LINE or out.medias:
        return FAULT_SDP_ORIGIN
    out.origin_line = out.lines
    if next_word(&value).n == 0 or next_word(&value).n == 0:
        return FAULT_SDP_ORIGIN
    out.origin_version = next_word(&value)
    network = next_word(&value)
    family = next_word(&value)
    out.origin_address = next_word(&value)
    for i in range(out.origin_version.n):
        if not c'0' <= slice_at(out.origin_version, i) <= c'9':
            return FAULT_SDP_ORIGIN
    if next_word(&value).n or _address(network, family, out.origin_address, &address) != 0:
        return FAULT_SDP_ORIGIN
    return WIRE_OK


cdef int _bandwidth(Slice value) noexcept nogil:
    """b=<bwtype>:<bandwidth>."""
    cdef uint32_t number = 0
    cdef const uint8_t* colon = NULL
    if value.n:
        colon = <const uint8_t*>memchr(value.p, c':', value.n)
    if colon == NULL or not _is_token(slice_of(value.p, <uint32_t>(colon - value.p)), False):
        return FAULT_SDP_BANDWIDTH
    value = slice_of(colon + 1, value.n - <uint32_t>(colon - value.p) - 1)
    return FAULT_SDP_BANDWIDTH if parse_uint(value, 0xffffffff, &number) != 0 else WIRE_OK


cdef int _media(Slice value, SdpIndex* out) noexcept nogil:
    """m=<media> <port>[/<count>] <proto> <fmt> ..."""
    cdef SdpMedia* media
    cdef Slice port, word
    cdef const uint8_t* slash
    cdef uint32_t number = 0, count = 0
    if out.medias == SDP_MAX_MEDIA:
        return FAULT_SDP_MEDIA_COUNT
    media = &out.media[out.medias]
    out.medias += 1
    memset(media, 0, sizeof(SdpMedia))
    media.first_line = out.lines
    media.connection.line = media.rtcp_line = media.direction_line = SDP_NO_LINE
    media.kind = next_word(&value)
    media.port_text = port = next_word(&value)
    media.proto = next_word(&value)
    if not _is_token(media.kind, False) or not _is_token(media.proto, True):
        return FAULT_SDP_MEDIA
    if slice_is(media.kind, b"audio", 5):
        media.kind_id = MEDIA_AUDIO
    elif slice_is(media.kind, b"video", 5):
        media.kind_id = MEDIA_VIDEO
    elif slice_is(media.kind, b"image", 5):
        media.kind_id = MEDIA_IMAGE
    elif slice_is(media.kind, b"application", 11):
        media.kind_id = MEDIA_APPLICATION
    elif slice_is(media.kind, b"text", 4):
        media.kind_id = MEDIA_TEXT
    media.port_count = 1
    slash = <const uint8_t*>memchr(port.p, c'/', port.n)
    if slash != NULL:
        word = slice_of(slash + 1, port.n - <uint32_t>(slash - port.p) - 1)
        if parse_uint(word, 65535, &number) != 0 or number == 0:
            return FAULT_SDP_PORT
        media.port_count = <uint16_t>number
        port.n = <uint32_t>(slash - port.p)
    if parse_uint(port, 65535, &number) != 0:
        return FAULT_SDP_PORT
    media.port = <uint16_t>number
    media.rtp = _has_rtp(media.proto)
    word = next_word(&value)
    media.formats = word
    while word.n:
        count += 1
        if count > SDP_MAX_FORMATS or not _is_format(word, media.rtp):
            return FAULT_SDP_FORMAT
        media.formats.n = <uint32_t>(word.p + word.n - media.formats.p)
        word = next_word(&value)
    return WIRE_OK if count else FAULT_SDP_FORMAT


cdef bint _has_rtp(Slice proto) noexcept nogil:
    """RTP/AVP, RTP/SAVPF, UDP/TLS/RTP/SAVP..."""
    cdef uint32_t i
    for i in range(proto.n):
        if (i == 0 or slice_at(proto, i - 1) == c'/') and i + 4 <= proto.n and slice_iis(
                slice_of(proto.p + i, 4), b"RTP/", 4):
            return True
    return False


cdef bint _is_format(Slice word, bint rtp) noexcept nogil:
    cdef uint32_t number = 0
    return parse_uint(word, 127, &number) == 0 if rtp else _is_token(word, True)


cdef int _attribute(Slice line, SdpIndex* out) noexcept nogil:
    """a=<attribute>[:<value>]: the name is checked; direction, rtcp and ptime are remembered."""
    cdef uint32_t i = 2, number = 0
    cdef uint8_t direction = DIRECTION_NONE
    cdef SdpMedia* media = &out.media[out.medias - 1] if out.medias else NULL
    cdef Slice name, value, word
    i = skip_class(line.p, i, line.n, CH_TOKEN)
    name = slice_of(line.p + 2, i - 2)
    if i == 2 or (i < line.n and slice_at(line, i) != c':'):
        return FAULT_SDP_ATTRIBUTE
    if slice_is(name, b"sendrecv", 8):
        direction = DIRECTION_SENDRECV
    elif slice_is(name, b"sendonly", 8):
        direction = DIRECTION_SENDONLY
    elif slice_is(name, b"recvonly", 8):
        direction = DIRECTION_RECVONLY
    elif slice_is(name, b"inactive", 8):
        direction = DIRECTION_INACTIVE
    if media == NULL:
        if direction != DIRECTION_NONE:
            out.direction = direction
        return WIRE_OK
    if direction != DIRECTION_NONE:
        media.direction = direction
        media.direction_line = out.lines
    elif sdp_attribute(line, b"rtcp", 4, &value):
        word = next_word(&value)
        if media.rtcp_line != SDP_NO_LINE or parse_uint(word, 65535, &number) != 0 or number == 0:
            return FAULT_SDP_ATTRIBUTE
        media.rtcp = slice_of(word.p, line.n - <uint32_t>(word.p - line.p))
        media.rtcp_port = <uint16_t>number
        media.rtcp_line = out.lines
    elif sdp_attribute(line, b"ptime", 5, &value) and parse_uint(value, 65535, &number) == 0:
        media.ptime = <uint16_t>number
    elif slice_is(name, b"rtcp-mux", 8):
        media.rtcp_mux = True
    return WIRE_OK


cdef int _line(Slice line, SdpIndex* out) noexcept nogil:
    """Read one line; out.lines is its index."""
    cdef uint8_t kind
    cdef Slice value
    if line.n < 2 or slice_at(line, 1) != c'=' or not c'a' <= slice_at(line, 0) <= c'z':
        return FAULT_SDP_LINE
    if memchr(line.p, 0, line.n) != NULL or memchr(line.p, c'\r', line.n) != NULL:
        return FAULT_SDP_LINE
    kind = slice_at(line, 0)
    value = slice_of(line.p + 2, line.n - 2)
    out.line[out.lines].type = kind
    if kind == c'v' or out.lines == 0:
        return WIRE_OK if out.lines == 0 and slice_is(line, b"v=0", 3) else FAULT_SDP_VERSION
    if kind == c'a':
        return _attribute(line, out)
    if kind == c'm':
        return _media(value, out)
    if kind == c'c':
        return _connection(value, out.lines, &out.media[out.medias - 1].connection if out.medias else &out.connection)
    if kind == c'o':
        return _origin(value, out)
    return _bandwidth(value) if kind == c'b' else WIRE_OK


cdef int index_sdp(Slice text, SdpIndex* out) noexcept nogil:
    """Index a session description; 0 or a fault code. v=0 comes first and o= stands once before any m=."""
    cdef uint32_t i = 0, stop, length
    cdef const uint8_t* end
    cdef int code
    memset(out, 0, <size_t>(<uint8_t*>&out.line[0] - <uint8_t*>out))
    out.text = text
    out.origin_line = out.connection.line = SDP_NO_LINE
    while i < text.n:
        end = <const uint8_t*>memchr(text.p + i, c'\n', text.n - i)
        stop = <uint32_t>(end - text.p) + 1 if end != NULL else text.n
        length = stop - i - (1 if end != NULL else 0)
        if length and slice_at(text, i + length - 1) == c'\r':
            length -= 1
            # Half a line end, of a body that was cut, is none: what is put behind the line brings a whole one.
            stop -= end == NULL
        if length == 0:
            return _blank_tail(text, stop, out)
        if out.lines == SDP_MAX_LINES:
            return FAULT_SDP_MEDIA_COUNT
        out.line[out.lines].start = i
        out.line[out.lines].length = length
        out.line[out.lines].stop = stop
        code = _line(slice_of(text.p + i, length), out)
        if code != 0:
            return code
        out.lines += 1
        if out.medias:
            out.media[out.medias - 1].line_count += 1
        i = stop
    return _blank_tail(text, text.n, out)


cdef int _blank_tail(Slice text, uint32_t i, SdpIndex* out) noexcept nogil:
    """Empty lines may end a body (seen after multipart boundaries), but nothing may follow them."""
    while i < text.n:
        if slice_at(text, i) != c'\r' and slice_at(text, i) != c'\n':
            return FAULT_SDP_LINE
        i += 1
    if out.lines == 0:
        return FAULT_SDP_VERSION
    return FAULT_SDP_ORIGIN if out.origin_line == SDP_NO_LINE else WIRE_OK


class Codec(NamedTuple):
    """One payload type of a media section; clock in Hz, 0 where nothing says it."""
    payload: int
    name: str
    clock: int
    channels: int


class Media(NamedTuple):
    """One media section. connection: the address that counts for it, its own or the session's ("" for none).

    direction is the one that counts, too. start, stop: offsets of the section in the body, m= line first.
    """
    kind: str
    port: int
    port_count: int
    proto: str
    formats: tuple[str, ...]
    codecs: tuple[Codec, ...]
    connection: str
    direction: str
    rtcp_port: int
    ptime: int
    start: int
    stop: int


cdef tuple _DIRECTIONS = ("sendrecv", "sendrecv", "sendonly", "recvonly", "inactive")


cdef str _text(Slice s):
    return slice_bytes(s).decode("utf-8", "surrogateescape")


cdef class Sdp:
    """A session description, immutable, for code above the GIL; WireFault where it is malformed."""
    cdef bytes _raw
    cdef SdpIndex _index

    def __init__(self, body: bytes) -> None:
        cdef int code = index_sdp(slice_from(body), &self._index)
        if code != 0:
            raise wire_fault(code, body)
        self._raw = body

    @property
    def version(self) -> int:
        """The number in o= that rises with each new offer."""
        return int(slice_bytes(self._index.origin_version))

    @property
    def origin_address(self) -> str:
        return _text(self._index.origin_address)

    @property
    def connection(self) -> str:
        """Address of the session-level c= line, "" where there is none."""
        return _text(self._index.connection.address)

    @property
    def media(self) -> tuple[Media, ...]:
        return tuple([self._media(i) for i in range(self._index.medias)])

    cdef object _media(self, uint32_t i):
        cdef const SdpMedia* m = &self._index.media[i]
        cdef SdpCodec[SDP_MAX_FORMATS] codecs
        cdef uint32_t k, n = section_codecs(&self._index, i, codecs)
        cdef uint8_t direction = m.direction if m.direction else self._index.direction
        return Media(
            _text(m.kind), m.port, m.port_count, _text(m.proto), tuple(_text(m.formats).split()),
            tuple([Codec(codecs[k].payload, _text(codecs[k].name), codecs[k].clock, codecs[k].channels)
                   for k in range(n)]),
            _text(m.connection.address) or self.connection, _DIRECTIONS[direction], m.rtcp_port, m.ptime,
            self._index.line[m.first_line].start, self._index.line[m.first_line + m.line_count - 1].stop,
        )


# What goes beside a codec: events, comfort noise, and redundancy for another payload type.
_NO_CODECS = frozenset(("telephone-event", "cn", "red", "rtx", "ulpfec"))


def keep_codecs(body: bytes, names: Sequence[str]) -> bytes:
    """body with only the named encodings (any case) in its RTP audio sections; telephone-event always stays, and red
    or rtx for a payload type that goes never does.

    The payload types that go leave the m= line, and their rtpmap, fmtp and rtcp-fb lines go with them; all
    other bytes stay. A section that would keep no codec is left as it is. WireFault where body is malformed.
    """
    cdef SdpIndex index
    cdef uint32_t i, k, position = 0
    cdef int code = index_sdp(slice_from(body), &index)
    cdef Slice line, value
    cdef list parts = []
    cdef object keep
    if code != 0:
        raise wire_fault(code, body)
    wanted = {name.lower() for name in names}
    for i in range(index.medias):
        if index.media[i].kind_id != MEDIA_AUDIO or not index.media[i].rtp:
            continue
        keep = _kept_payloads(&index, i, wanted)
        if keep is None:
            continue
        for k in range(index.media[i].first_line, <uint32_t>index.media[i].first_line + index.media[i].line_count):
            line = sdp_line(&index, k)
            if k == index.media[i].first_line:
                stop = <uint32_t>(index.media[i].formats.p - index.text.p)
                formats = [word for word in slice_bytes(index.media[i].formats).split() if int(word) in keep]
                parts += [body[position:stop], b" ".join(formats)]
                position = stop + index.media[i].formats.n
            elif _names_payload(line, &value) and payload_of(&value) not in keep:
                parts.append(body[position:index.line[k].start])
                position = index.line[k].stop
    return b"".join([*parts, body[position:]])


cdef object _kept_payloads(const SdpIndex* index, uint32_t i, set wanted):
    """The payload types of a section that stay; None where it is left as it is."""
    cdef SdpCodec[SDP_MAX_FORMATS] codecs
    cdef uint32_t k, n = section_codecs(index, i, codecs)
    cdef Slice value
    cdef dict names = {codecs[k].payload: _text(codecs[k].name).lower() for k in range(n)}
    cdef dict needs = {}
    cdef set keep = {payload for payload, name in names.items() if name in wanted or name == "telephone-event"}
    for k in range(index.media[i].first_line, <uint32_t>index.media[i].first_line + index.media[i].line_count):
        if sdp_attribute(sdp_line(index, k), b"fmtp", 4, &value):
            payload = payload_of(&value)
            needs[payload] = _redundancy(names.get(payload, ""), _text(value)) & names.keys()
    while dangling := {payload for payload in keep if not needs.get(payload, keep) <= keep}:
        keep -= dangling
    codec_stays = any([names[payload] not in _NO_CODECS for payload in keep])
    return keep if codec_stays and len(keep) < len(names) else None


def _redundancy(name: str, parameters: str) -> set[int]:
    """The payload types that an fmtp of red (RFC 2198 5) or rtx (RFC 4588 8.6) is for."""
    found = []
    if name == "red":
        found = parameters.split("/")
    elif name == "rtx":
        pairs = [one.strip().partition("=") for one in parameters.split(";")]
        found = [value for key, _, value in pairs if key.lower() == "apt"]
    return {int(one) for one in found if len(one) < 9 and one.strip().isdecimal()}


cdef bint _names_payload(Slice line, Slice* value) noexcept nogil:
    """Whether line is an rtpmap, fmtp or rtcp-fb of a payload type, with which value begins."""
    cdef Slice rest
    if not (sdp_attribute(line, b"rtpmap", 6, value) or sdp_attribute(line, b"fmtp", 4, value)
            or sdp_attribute(line, b"rtcp-fb", 7, value)):
        return False
    rest = value[0]
    return payload_of(&rest) >= 0
