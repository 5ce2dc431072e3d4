"""Percent-escapes: plain text into a part of a URI, encoded exactly once, and back."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp
from sipcore.base.slice cimport Slice, ascii_lower, slice_at, slice_bytes, slice_from
from .scan cimport CH_RESERVED, CH_URI_HEADER, CH_URI_PARAM, CH_USER, hex_value, is_class, is_escape


cdef uint32_t escape_into(Slice text, uint16_t kind, uint8_t* out) noexcept nogil:
    """Write text with each byte outside class kind (CH_USER, CH_URI_HEADER...) as %HH; returns the length.

    out has room for 3 * text.n bytes. "%" itself is escaped: text is plain, never already escaped.
    """
    cdef const char* digits = b"0123456789ABCDEF"
    cdef uint32_t i, n = 0
    cdef uint8_t c
    for i in range(text.n):
        c = slice_at(text, i)
        if is_class(c, kind):
            out[n] = c
            n += 1
        else:
            out[n] = c'%'
            out[n + 1] = <uint8_t>digits[c >> 4]
            out[n + 2] = <uint8_t>digits[c & 15]
            n += 3
    return n


cdef uint32_t unescape_into(Slice text, uint8_t* out) noexcept nogil:
    """Write text with each %HH as its byte; a "%" without two digits stays. Returns the length, at most text.n."""
    cdef uint32_t i = 0, n = 0
    while i < text.n:
        if is_escape(text, i, text.n):
            out[n] = <uint8_t>(hex_value(slice_at(text, i + 1)) << 4 | hex_value(slice_at(text, i + 2)))
            i += 3
        else:
            out[n] = slice_at(text, i)
            i += 1
        n += 1
    return n


cdef inline uint32_t _unit(Slice s, uint32_t i, bint fold, uint32_t* unit) noexcept nogil:
    """The next character at i with its escape resolved; the escape of a reserved one stays another character."""
    cdef uint8_t c = slice_at(s, i)
    cdef uint32_t used = 1
    cdef uint32_t mark = 0
    if is_escape(s, i, s.n):
        c = <uint8_t>(hex_value(slice_at(s, i + 1)) << 4 | hex_value(slice_at(s, i + 2)))
        used = 3
        if is_class(c, CH_RESERVED):
            mark = 0x100
    unit[0] = mark | (ascii_lower(c) if fold else c)
    return i + used


cdef bint same_unescaped(Slice a, Slice b, bint fold) noexcept nogil:
    """Equal after resolving escapes, without regard to ASCII case where fold."""
    cdef uint32_t i = 0, j = 0, x = 0, y = 0
    if a.n == b.n and (a.n == 0 or memcmp(a.p, b.p, a.n) == 0):
        return True
    while i < a.n and j < b.n:
        i = _unit(a, i, fold, &x)
        j = _unit(b, j, fold, &y)
        if x != y:
            return False
    return i == a.n and j == b.n


cdef str decoded(Slice text):
    """text with its escapes resolved; bytes that are no UTF-8 become surrogates, so that nothing is lost."""
    return unescape(slice_bytes(text)).decode("utf-8", "surrogateescape")


cdef str escaped(str text, uint16_t kind):
    cdef bytes plain = text.encode("utf-8", "surrogateescape")
    cdef bytearray room = bytearray(3 * len(plain))
    cdef uint8_t* out = room
    return room[:escape_into(slice_from(plain), kind, out)].decode("ascii")


def escape_user(text: str) -> str:
    """Plain text as the user part of a sip URI, escaped once."""
    return escaped(text, CH_USER)


def escape_uri_param(text: str) -> str:
    """Plain text as name or value of a URI parameter, escaped once."""
    return escaped(text, CH_URI_PARAM)


def escape_uri_header(text: str) -> str:
    """Plain text as name or value of a URI header (Refer-To: <sip:...?X-Name=value>), escaped once."""
    return escaped(text, CH_URI_HEADER)


def unescape(text: bytes) -> bytes:
    """text with each %HH as its byte; a "%" without two digits stays."""
    cdef bytearray room = bytearray(len(text))
    cdef uint8_t* out = room
    return bytes(room[:unescape_into(slice_from(text), out)])
