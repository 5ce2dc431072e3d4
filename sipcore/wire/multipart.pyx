"""Multipart bodies (RFC 2046 5.1, RFC 5621), read as far as finding the session description asks for.

A part is told by its Content-Type, and a multipart inside is entered. Bounds: 16 parts in all, 4 levels, 70 bytes of
boundary.
"""
from libc.stdint cimport uint32_t
from libc.string cimport memcmp
from sipcore.base.slice cimport Slice, slice_at, slice_bytes, slice_from, slice_iequal, slice_iis, slice_of
from sipcore.wire.fault cimport fault_text
from sipcore.wire.index cimport DEFAULT_LIMITS, Msg, index_message, msg_has, msg_value
from sipcore.wire.message cimport Message
from sipcore.wire.tables cimport H_CONTENT_ENCODING, H_CONTENT_TYPE

from sipcore.base.errors import MalformedMessage

cdef enum:
    MAX_PARTS = 16
    MAX_DEPTH = 4
    MAX_BOUNDARY = 70           # RFC 2046 5.1.1


cdef inline bint _is_space(Slice s, uint32_t i) noexcept nogil:
    return slice_at(s, i) in b" \t\r\n"


cdef Slice _trim(Slice s) noexcept nogil:
    while s.n and _is_space(s, 0):
        s = slice_of(s.p + 1, s.n - 1)
    while s.n and _is_space(s, s.n - 1):
        s.n -= 1
    return s


cdef Slice _until(Slice* rest, char stop) noexcept nogil:
    """Take what stands before the next stop outside quotes off rest, with the stop itself."""
    cdef uint32_t i = 0
    cdef bint quoted = False
    cdef Slice found = rest[0]
    while i < rest.n:
        if quoted and slice_at(rest[0], i) == c'\\':
            i += 1
        elif slice_at(rest[0], i) == c'"':
            quoted = not quoted
        elif slice_at(rest[0], i) == <unsigned char>stop and not quoted:
            found.n = i
            rest[0] = slice_of(rest.p + i + 1, rest.n - i - 1)
            return found
        i += 1
    rest[0] = slice_of(rest.p + rest.n, 0)
    return found


cdef bint _is_type(Slice value, const char* name, uint32_t n) noexcept nogil:
    """Whether a Content-Type value is of that type, whatever its parameters."""
    return slice_iis(_trim(_until(&value, c';')), name, n)


cdef Slice _boundary(Slice value) noexcept nogil:
    """The boundary parameter of a Content-Type, without its quotes; n = 0 where there is none that can be used."""
    cdef Slice parameter, name
    _until(&value, c';')
    while value.n:
        parameter = _until(&value, c';')
        name = _trim(_until(&parameter, c'='))
        if slice_iis(name, b"boundary", 8):
            parameter = _trim(parameter)
            if parameter.n >= 2 and slice_at(parameter, 0) == c'"' and slice_at(parameter, parameter.n - 1) == c'"':
                parameter = slice_of(parameter.p + 1, parameter.n - 2)
            if parameter.n > MAX_BOUNDARY:
                parameter.n = 0
            return parameter
    return slice_of(value.p, 0)


cdef int _delimiter(Slice body, uint32_t start, Slice boundary, uint32_t* begin, uint32_t* end) noexcept nogil:
    """The next "--boundary" line at or after start: 1 a part follows, 2 it is the last one, 0 there is none.

    begin: where the line before it ends; end: behind the delimiter's own line end.
    """
    cdef uint32_t i = start, stop
    cdef int kind
    while i + 2 + boundary.n <= body.n:
        if ((i == 0 or slice_at(body, i - 1) == c'\n') and slice_at(body, i) == c'-' and slice_at(body, i + 1) == c'-'
                and memcmp(body.p + i + 2, boundary.p, boundary.n) == 0):
            stop = i + 2 + boundary.n
            kind = 1
            if stop + 2 <= body.n and slice_at(body, stop) == c'-' and slice_at(body, stop + 1) == c'-':
                kind = 2
                stop += 2
            while stop < body.n and (slice_at(body, stop) == c' ' or slice_at(body, stop) == c'\t'):
                stop += 1
            if stop == body.n or slice_at(body, stop) == c'\r' or slice_at(body, stop) == c'\n':
                begin[0] = i
                if begin[0] > start and slice_at(body, begin[0] - 1) == c'\n':
                    begin[0] -= 1
                    if begin[0] > start and slice_at(body, begin[0] - 1) == c'\r':
                        begin[0] -= 1
                if stop < body.n and slice_at(body, stop) == c'\r':
                    stop += 1
                if stop < body.n and slice_at(body, stop) == c'\n':
                    stop += 1
                end[0] = stop
                return kind
        i += 1
    return 0


cdef bint _is_multipart(Slice type) noexcept nogil:
    return type.n > 10 and slice_iequal(slice_of(type.p, 10), slice_of(<const unsigned char*>b"multipart/", 10))


cdef SdpBody _part(Slice part, Slice* sdp, uint32_t depth, uint32_t* parts) noexcept nogil:
    """Look at one part: its headers, an empty line, its content."""
    cdef uint32_t i = 0, start, length
    cdef Slice line, name, content
    cdef Slice type = slice_of(part.p, 0)
    cdef bint encoded = False
    while True:
        start = i
        while i < part.n and slice_at(part, i) != c'\n':
            i += 1
        length = i - start
        if length and slice_at(part, start + length - 1) == c'\r':
            length -= 1
        i = i + 1 if i < part.n else i
        if length == 0:
            break
        line = slice_of(part.p + start, length)
        name = _trim(_until(&line, c':'))
        if slice_iis(name, b"content-type", 12) or slice_iis(name, b"c", 1):
            # Where there are two, whoever reads the other one must not find what was not looked at.
            if type.n == 0 or not _is_type(type, b"application/sdp", 15):
                type = _trim(line)
        elif slice_iis(name, b"content-encoding", 16) or slice_iis(name, b"e", 1):
            encoded = not slice_iis(_trim(line), b"identity", 8)
        elif slice_iis(name, b"content-transfer-encoding", 25):
            line = _trim(line)
            encoded = encoded or slice_iis(line, b"base64", 6) or slice_iis(line, b"quoted-printable", 16)
        if i >= part.n:
            break
    content = slice_of(part.p + i, part.n - i)
    if _is_multipart(type):
        return SDP_ENCODED if encoded else _parts(type, content, sdp, depth + 1, parts)
    if not _is_type(type, b"application/sdp", 15):
        return SDP_ABSENT
    sdp[0] = content
    return SDP_ENCODED if encoded else SDP_FOUND


cdef SdpBody _parts(Slice type, Slice body, Slice* sdp, uint32_t depth, uint32_t* parts) noexcept nogil:
    """The one session description among the parts of a multipart body. parts: those that were looked at before."""
    cdef Slice boundary = _boundary(type), found_sdp
    cdef uint32_t begin = 0, end = 0, start
    cdef SdpBody found = SDP_ABSENT, kind
    cdef int delimiter
    if boundary.n == 0 or depth > MAX_DEPTH:
        return SDP_FAULTY
    delimiter = _delimiter(body, 0, boundary, &begin, &end)
    while delimiter == 1:
        start = end
        parts[0] += 1
        delimiter = _delimiter(body, start, boundary, &begin, &end)
        if parts[0] > MAX_PARTS or delimiter == 0:
            return SDP_FAULTY
        kind = _part(slice_of(body.p + start, begin - start), &found_sdp, depth, parts)
        if kind == SDP_FAULTY or (kind != SDP_ABSENT and found != SDP_ABSENT):
            return SDP_FAULTY
        if kind != SDP_ABSENT:
            found = kind
            sdp[0] = found_sdp
    return found


cdef SdpBody find_sdp(const Msg* m, Slice body, Slice* sdp) noexcept nogil:
    """The session description in body, which stands for the message's own."""
    cdef Slice type
    cdef uint32_t parts = 0
    cdef SdpBody found = SDP_ABSENT
    if body.n == 0 or not msg_has(m, H_CONTENT_TYPE):
        return SDP_ABSENT
    type = msg_value(m, H_CONTENT_TYPE)
    if _is_type(type, b"application/sdp", 15):
        sdp[0] = body
        found = SDP_FOUND
    elif _is_multipart(type):
        found = _parts(type, body, sdp, 1, &parts)
    if found == SDP_FOUND and msg_has(m, H_CONTENT_ENCODING) and not slice_iis(
            msg_value(m, H_CONTENT_ENCODING), b"identity", 8):
        return SDP_ENCODED
    return found


cpdef bytes description(Message message):
    """The session description of a message, out of a multipart body too; empty where there is none. Raises what
    sdp_of does."""
    cdef Msg* m = message.msg
    cdef Slice body = slice_of(m.base + m.body, m.n - m.body)
    if body.n == 0 or (body.n > 1 and body.p[0] == c'v' and body.p[1] == c'='):
        return slice_bytes(body)
    return sdp_of(message.data) or b""


def sdp_of(bytes message not None):
    """The session description of a SIP message; None where it has none, MalformedMessage where it cannot be read."""
    cdef Msg m
    cdef Slice found
    cdef int fault = index_message(&m, slice_from(message).p, <uint32_t>len(message), &DEFAULT_LIMITS)
    cdef SdpBody kind
    if fault:
        raise MalformedMessage(fault_text(fault), status=400)
    kind = find_sdp(&m, slice_of(m.base + m.body, m.n - m.body), &found)
    if kind == SDP_ENCODED:
        raise MalformedMessage("the session description is encoded", status=415)
    if kind == SDP_FAULTY:
        raise MalformedMessage("the parts of the body cannot be told apart", status=400)
    return slice_bytes(found) if kind == SDP_FOUND else None


def sdp_place(bytes body not None, str content_type not None):
    """Where in a body of that Content-Type its session description stands: (start, stop). None where there is none, or
    none that can be read."""
    cdef bytes encoded = content_type.encode("utf-8", "surrogateescape")
    cdef Slice type = slice_from(encoded), whole = slice_from(body), found
    cdef uint32_t parts = 0
    if _is_type(type, b"application/sdp", 15):
        return 0, len(body)
    if not _is_multipart(type) or _parts(type, whole, &found, 1, &parts) != SDP_FOUND:
        return None
    return found.p - whole.p, found.p - whole.p + found.n
