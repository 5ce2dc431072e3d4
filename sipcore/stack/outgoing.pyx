"""A request that a user agent is about to send, as values; the transaction layer adds Via when it renders it.

Every text that goes in is checked for CR, LF and NUL, whoever it came from: nothing that a peer, a user or a template
says can add a header. The bytes are written in one go into one place for all of them, without an object for any part:
a controlled call sends three requests of its own.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from cython cimport dataclasses
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy
from sipcore.base.decimal cimport put_number
from sipcore.base.slice cimport Slice, slice_bytes, slice_from, slice_of
from sipcore.wire.message cimport slice_text
from sipcore.wire.nameaddr cimport NameAddr, parse_name_addr

import re
from collections.abc import Iterable

from sipcore.base.errors import LimitExceeded, SipEdgeError
from sipcore.wire.tables import lookup_header

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)

cdef enum:
    ROOM = 65507            # bytes of a datagram
    FIXED = 320             # bytes at most of Via (120 with IPv6), Max-Forwards, CSeq, header names, Content-Length

_QUOTED = re.compile(r'\s*"(?:[^"\\]|\\.)*"', re.DOTALL)

Headers = Iterable[tuple[str, str]]

# What is being written: nothing else runs until it is taken away.
cdef uint8_t[ROOM] _room
cdef uint32_t _n = 0


class BadText(SipEdgeError, ValueError):
    """A text that would break the message it was meant for."""


cpdef bytes raw(str text):
    """Text as it goes on the wire: UTF-8, and bytes that were no UTF-8 as they were received."""
    return text.encode("utf-8", "surrogateescape")


cdef int _put(const char* p, size_t n) except -1:
    global _n
    if n > ROOM - _n:
        raise LimitExceeded("the message fits into no datagram")
    memcpy(_room + _n, p, n)
    _n += <uint32_t>n
    return 0


cdef inline bint _breaks(const char* p, size_t n) noexcept nogil:
    return memchr(p, 13, n) != NULL or memchr(p, 10, n) != NULL or memchr(p, 0, n) != NULL


cdef int _put_text(str text) except -1:
    """Write a text; -1 with BadText where it has CR, LF or NUL in it."""
    cdef Py_ssize_t n
    cdef const char* p
    cdef bytes encoded
    if text is None:
        raise BadText("a text is missing")
    if PyUnicode_IS_COMPACT_ASCII(text):
        p = PyUnicode_AsUTF8AndSize(text, &n)
    else:
        encoded = raw(text)
        p = PyBytes_AS_STRING(encoded)
        n = PyBytes_GET_SIZE(encoded)
    if _breaks(p, n):
        raise BadText(f"CR, LF or NUL in {text!r}")
    return _put(p, n)


cdef inline Py_ssize_t _most(str text) except -1:
    """Bytes that a text takes at most."""
    return len(text) if PyUnicode_IS_COMPACT_ASCII(text) else 4 * len(text)


cdef int _put_decimal(uint64_t number) except -1:
    global _n
    if ROOM - _n < 20:
        raise LimitExceeded("the message fits into no datagram")
    _n = <uint32_t>(put_number(_room + _n, number) - _room)
    return 0


cdef int _put_headers(tuple headers, bint compact) except -1:
    """Write header lines; BadText where a name or a value could break the message."""
    cdef str name, value
    for name, value in headers:
        if not name or ":" in name or name != name.strip():
            raise BadText(f"not a header: {name!r}: {value!r}")
        if compact:
            name = lookup_header(raw(name))[1] or name
        _put_text(name)
        _put(b": ", 2)
        _put_text(value)
        _put(b"\r\n", 2)
    return 0


cdef int _put_tail(bytes body, str content_type, bint compact) except -1:
    if body is None:
        raise BadText("a body is missing")
    if body:
        _put(b"c: " if compact else b"Content-Type: ", 3 if compact else 14)
        _put_text(content_type)
        _put(b"\r\n", 2)
    _put(b"l: " if compact else b"Content-Length: ", 3 if compact else 16)
    _put_decimal(PyBytes_GET_SIZE(body))
    _put(b"\r\n\r\n", 4)
    return _put(PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))


cpdef bytes header_lines(headers):
    """Complete header lines; BadText where a name or a value could break the message."""
    global _n
    if not headers:
        return b""
    # What makes them may write here, too.
    headers = tuple(headers)
    _n = 0
    _put_headers(headers, False)
    return slice_bytes(slice_of(_room, _n))


cpdef bytes tail(bytes body, str content_type, bint compact=False):
    """The end of a message: Content-Type where there is a body, Content-Length, the empty line, the body."""
    global _n
    _n = 0
    _put_tail(body, content_type, compact)
    return slice_bytes(slice_of(_room, _n))


cpdef str uri_of(str value):
    """The URI of a name-addr or addr-spec; a bare one has no parameters of its own (RFC 3261 20.10)."""
    cdef Py_ssize_t opening, closing
    quoted = _QUOTED.match(value) if '"' in value else None
    opening = value.find("<", quoted.end() if quoted else 0)
    closing = value.find(">", opening)
    if opening >= 0 and closing >= 0:
        return value[opening + 1:closing]
    return value.partition(";")[0].strip()


cpdef str address_of(str value):
    """A name-addr without its header parameters, so without its tag; an addr-spec gets its brackets."""
    cdef bytes encoded = raw(value)
    cdef NameAddr address
    cdef Py_ssize_t opening, closing
    if parse_name_addr(slice_from(encoded), &address) == 0 and address.brackets:
        return slice_text(slice_of(address.text.p, <uint32_t>(address.uri.p - address.text.p) + address.uri.n + 1))
    quoted = _QUOTED.match(value)
    opening = value.find("<", quoted.end() if quoted else 0)
    closing = value.find(">", opening)
    if opening >= 0 and closing >= 0:
        return value[:closing + 1].strip()
    return f"<{uri_of(value)}>"


@dataclasses.dataclass(frozen=True, kw_only=True)
cdef class Outgoing:
    """A request without Via. local and remote are From and To without their tags; next_hop is the URI that says
    where the request goes (RFC 3261 8.1.2), the request URI where it is empty; compact: short header names."""

    method: str
    uri: str
    call_id: str
    cseq: uint32_t
    local: str
    local_tag: str
    remote: str
    remote_tag: str = ""
    route: tuple = ()
    contact: str = ""
    headers: tuple = ()
    body: bytes = b""
    content_type: str = "application/sdp"
    next_hop: str = ""
    max_forwards: int = 70
    compact: cython.bint = False

    @property
    def destination(self):
        """The URI that says where it goes."""
        return self.next_hop or self.uri

    def changed(self, **fields):
        """A copy with these fields changed; a tenth of what `dataclasses.replace` costs."""
        cdef Outgoing copy = Outgoing.__new__(Outgoing)
        copy.method = fields.pop("method", self.method)
        copy.uri = fields.pop("uri", self.uri)
        copy.call_id = fields.pop("call_id", self.call_id)
        copy.cseq = fields.pop("cseq", self.cseq)
        copy.local = fields.pop("local", self.local)
        copy.local_tag = fields.pop("local_tag", self.local_tag)
        copy.remote = fields.pop("remote", self.remote)
        copy.remote_tag = fields.pop("remote_tag", self.remote_tag)
        copy.route = fields.pop("route", self.route)
        copy.contact = fields.pop("contact", self.contact)
        copy.headers = fields.pop("headers", self.headers)
        copy.body = fields.pop("body", self.body)
        copy.content_type = fields.pop("content_type", self.content_type)
        copy.next_hop = fields.pop("next_hop", self.next_hop)
        copy.max_forwards = fields.pop("max_forwards", self.max_forwards)
        copy.compact = fields.pop("compact", self.compact)
        if fields:
            raise TypeError(f"no such fields: {', '.join(fields)}")
        return copy

    @property
    def most(self):
        """Bytes that it has at most, Via included, without rendering."""
        cdef str name, value
        cdef Py_ssize_t n = FIXED + len(self.body)
        n += _most(self.uri) + _most(self.call_id) + _most(self.local) + _most(self.local_tag) + _most(self.remote)
        n += _most(self.remote_tag) + _most(self.contact) + _most(self.content_type) + 2 * _most(self.method)
        for name, value in self.headers:
            n += _most(name) + _most(value) + 4
        for value in self.route:
            n += _most(value) + 9
        return n

    def render(self, bytes via not None):
        """The whole request; via is a complete header line. BadText where a part could break it."""
        return slice_bytes(self.write(slice_from(via)))

    cdef Slice write(self, Slice via) except *:
        """The whole request, in a place that stands until the next one is written."""
        global _n
        cdef bint short = self.compact
        cdef str value
        _n = 0
        if not self.uri or " " in self.uri:
            raise BadText(f"not a request URI: {self.uri!r}")
        _put_text(self.method)
        _put(b" ", 1)
        _put_text(self.uri)
        _put(b" SIP/2.0\r\n", 10)
        if short:
            _put(b"v", 1)
            via = slice_of(via.p + 3, via.n - 3)
        _put(<const char*>via.p, via.n)
        _put(b"Max-Forwards: ", 14)
        _put_decimal(<uint64_t>max(self.max_forwards, 0))
        _put(b"\r\n", 2)
        for value in self.route:
            _put(b"Route: ", 7)
            _put_text(value)
            _put(b"\r\n", 2)
        _put(b"f: " if short else b"From: ", 3 if short else 6)
        _put_text(self.local)
        _put(b";tag=", 5)
        _put_text(self.local_tag)
        _put(b"\r\nt: " if short else b"\r\nTo: ", 5 if short else 6)
        _put_text(self.remote)
        if self.remote_tag:
            _put(b";tag=", 5)
            _put_text(self.remote_tag)
        _put(b"\r\ni: " if short else b"\r\nCall-ID: ", 5 if short else 11)
        _put_text(self.call_id)
        _put(b"\r\nCSeq: ", 8)
        _put_decimal(self.cseq)
        _put(b" ", 1)
        _put_text(self.method)
        _put(b"\r\n", 2)
        if self.contact:
            _put(b"m: " if short else b"Contact: ", 3 if short else 9)
            _put_text(self.contact)
            _put(b"\r\n", 2)
        _put_headers(self.headers, short)
        _put_tail(self.body, self.content_type, short)
        return slice_of(_room, _n)
