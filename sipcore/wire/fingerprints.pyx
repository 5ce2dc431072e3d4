"""Recognises scanners by header values: `User-Agent: friendly-scanner*`, `From: *sipvicious*`,
`Request-URI: sip:100@*`.

A pattern is a header that the index knows by number, or `Request-URI`, and a text with a `*` at an end where the value
may go on; case makes no difference. A request costs one look at each pattern's header; the value is compared where
it is there.
"""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.slice cimport Slice, slice_from
from sipcore.wire.index cimport DEFAULT_LIMITS, NO_HEADER, Msg, header_value, index_message
from sipcore.wire.tables cimport H_OTHER, header_id
from sipcore.wire.values cimport msg_uri

cdef enum:
    REQUEST_URI = -1
    LONGEST = 256           # bytes of a value that are looked through

_URI = b"request-uri"


cdef inline bint _equal(const uint8_t* p, Slice text) noexcept nogil:
    """Whether text (in small letters) stands at p."""
    cdef uint32_t i
    cdef uint8_t c
    for i in range(text.n):
        c = p[i]
        if c >= c'A' and c <= c'Z':
            c |= 32
        if c != text.p[i]:
            return False
    return True


cdef bint _fits(Slice value, Slice text, int fit) noexcept nogil:
    cdef uint32_t i, n
    if value.n < text.n or (fit == FIT_WHOLE and value.n != text.n):
        return False
    if fit == FIT_END:
        return _equal(value.p + value.n - text.n, text)
    if fit != FIT_INSIDE:
        return _equal(value.p, text)
    n = min(value.n, <uint32_t>LONGEST)
    for i in range(n - text.n + 1 if n >= text.n else 0):
        if _equal(value.p + i, text):
            return True
    return False


cdef class Fingerprints:
    """ValueError says which pattern is none."""

    def __init__(self, patterns=()):
        cdef Fingerprint* one
        cdef int header
        self.patterns = tuple(patterns)
        self.texts = []
        if len(self.patterns) > MAX_FINGERPRINTS:
            raise ValueError(f"expected at most {MAX_FINGERPRINTS} patterns, found {len(self.patterns)}")
        for pattern in self.patterns:
            name, colon, text = pattern.partition(":")
            text = text.strip(" ").lower()
            bare = text.removeprefix("*").removesuffix("*")
            raw = name.strip(" ").encode("ascii", "replace")
            header = <int>header_id(slice_from(raw).p, <uint32_t>len(raw))
            if raw.lower() == _URI:
                header = REQUEST_URI
            if not colon or header == H_OTHER or not bare or "*" in bare or not bare.isprintable():
                raise ValueError('expected a known header (or Request-URI), a colon and a text with "*" at its ends at '
                                 f'most, found "{pattern}"')
            one = &self.fingerprint[self.count]
            one.header = header
            one.fit = ((FIT_INSIDE if text.endswith("*") else FIT_END) if text.startswith("*") and len(text) > 1
                       else FIT_START if text.endswith("*") else FIT_WHOLE)
            encoded = bare.encode()
            self.texts.append(encoded)
            one.text = slice_from(encoded)
            self.count += 1

    def fits(self, bytes data not None):
        """Whether a message is a scanner's; ValueError where it is no message."""
        cdef Msg m
        cdef bytes padded = data + b"\0"
        if index_message(&m, slice_from(padded).p, <uint32_t>len(data), &DEFAULT_LIMITS) != 0 or msg_uri(&m) != 0:
            raise ValueError("no request")
        return self.match(&m)

    cdef bint match(self, const Msg* m) noexcept nogil:
        """Whether an indexed request is a scanner's."""
        cdef uint32_t k, i
        cdef const Fingerprint* one
        for k in range(self.count):
            one = &self.fingerprint[k]
            if one.header == REQUEST_URI:
                if _fits(m.uri_text, one.text, one.fit):
                    return True
                continue
            i = m.first[one.header]
            while i != NO_HEADER:
                if _fits(header_value(m, i), one.text, one.fit):
                    return True
                i = m.headers[i].next
        return False
