"""A SIP message as an index of offsets over the received bytes.

`index_message` walks the bytes once and names each header; nothing is copied and no Python object is made.
A `Msg` borrows its bytes: it is valid as long as they stay where they are. Values are parsed when one of the
functions of values.pyx asks, and once.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from sipcore.base.slice cimport Slice
from sipcore.wire.nameaddr cimport NameAddr
from sipcore.wire.tables cimport H_COUNT
from sipcore.wire.uri cimport Uri
from sipcore.wire.via cimport Via

cdef enum:
    MAX_HEADERS = 250           # the hard limit; `Limits.headers` may be lower
    MAX_MESSAGE = 65535
    NO_HEADER = 255

cdef enum HeaderForm:
    FORM_FOLDED = 1             # continued on following lines (RFC 3261 7.3.1)
    FORM_SPACED = 2             # white space between name and colon
    FORM_REFUSED = 4            # of a message: index_message found a fault, so that its headers may hold anything
    FORM_VERSION = 8            # of a message: "SIP" of its start line is not upper case

cdef enum MessageKind:
    KIND_NONE = 0               # nothing but CRLF: a keepalive
    KIND_REQUEST = 1
    KIND_RESPONSE = 2

cdef struct Header:
    uint16_t name               # offset of the name
    uint16_t name_n
    uint16_t value              # offset of the value, without surrounding white space
    uint16_t value_n            # may contain folds (CRLF and white space)
    uint16_t end                # offset behind the header's CRLF
    uint8_t id                  # HeaderId
    uint8_t form                # HeaderForm bits
    uint8_t next                # index of the next header with the same id, or NO_HEADER

cdef struct Limits:
    uint32_t message            # bytes
    uint32_t headers            # number of header lines, continuation lines counted
    uint32_t line               # bytes of one header with its continuation lines, and of the start line

cdef struct Msg:
    const uint8_t* base
    uint32_t n                  # bytes of the message: what follows its Content-Length is not counted
    uint32_t body               # offset of the body
    uint32_t start              # offset of the start line (CRLF before it is skipped)
    uint32_t start_end          # offset behind the start line's CRLF
    uint8_t kind                # MessageKind
    uint8_t method              # Method: of the request line, or of CSeq once parsed for a response
    uint8_t has_length          # Content-Length was there
    uint8_t forms               # all HeaderForm bits seen
    uint16_t status             # response code, 0 for a request
    uint16_t count              # headers
    Slice method_text
    Slice uri_text              # request URI, or reason phrase of a response
    uint32_t fault_at           # where a fault was found, offset
    uint32_t parsed             # Parsed bits: which values below are there
    uint8_t first[H_COUNT]      # index of the first header with an id, or NO_HEADER
    uint8_t last[H_COUNT]
    Uri uri
    Via via                     # topmost
    Slice via_rest              # what follows the topmost value in its line
    NameAddr from_
    NameAddr to
    NameAddr contact            # first
    NameAddr route              # first
    Uri route_uri
    uint32_t cseq
    Slice cseq_method
    uint32_t max_forwards
    Header headers[MAX_HEADERS]

cdef Limits DEFAULT_LIMITS

cdef int index_message(Msg* m, const uint8_t* data, uint32_t n, const Limits* limits) noexcept nogil

cdef Slice msg_value(const Msg* m, uint8_t id) noexcept nogil
cdef uint8_t msg_find(const Msg* m, Slice name) noexcept nogil


cdef inline bint msg_has(const Msg* m, uint8_t id) noexcept nogil:
    return m.first[id] != NO_HEADER


cdef inline Slice header_value(const Msg* m, uint32_t i) noexcept nogil:
    cdef Slice s
    s.p = m.base + m.headers[i].value
    s.n = m.headers[i].value_n
    return s


cdef inline Slice header_text(const Msg* m, uint32_t i) noexcept nogil:
    """The name of header i as it stands in the message."""
    cdef Slice s
    s.p = m.base + m.headers[i].name
    s.n = m.headers[i].name_n
    return s
