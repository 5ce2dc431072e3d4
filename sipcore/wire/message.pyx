"""The one-pass header index, and the values that are parsed on demand.

Plan: find the line ends with memchr, name each header by the perfect hash of tables.pyx, then check the whole
header section for control characters in one vectorised sweep. What two peers could read differently is refused
here, before anything is matched or forwarded: bare CR or LF, control characters (except in a quoted pair, where
RFC 3261 25.1 allows them), a header name that is no token, a repeated single header, a continuation line of
white space alone, a Content-Length that the data contradicts.

Cost: 0.2 us for an INVITE of 866 bytes; a Msg takes 4 KiB, and the hot path reuses one.

Long because the index, the values on demand and the view for Python share one struct.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcpy, memset
from sipcore.base.slice cimport Slice, slice_bytes, slice_equal, slice_from, slice_iequal, slice_of
from sipcore.wire.cseq cimport parse_cseq, parse_uint
from sipcore.wire.fault cimport (
    FAULT_START_LINE, FAULT_VERSION, FAULT_STATUS, FAULT_LINE_LONG, FAULT_HEADERS_MANY, FAULT_MESSAGE_LONG,
    FAULT_HEADER_NAME, FAULT_CONTROL, FAULT_LINE_END, FAULT_NO_END, FAULT_REPEATED, FAULT_MISSING,
    FAULT_CONTENT_LENGTH, FAULT_METHOD_MISMATCH, FAULT_URI_HEADERS, FAULT_MAX_FORWARDS, FAULT_CALL_ID, fault_text,
)
from sipcore.wire.nameaddr cimport NameAddr, next_value, parse_name_addr
from sipcore.wire.tables cimport (
    CHAR_CLASS, CHAR_TOKEN, CHAR_WORD, H_CALL_ID, H_CONTACT, H_CONTENT_LENGTH, H_CSEQ, H_FROM, H_MAX_FORWARDS,
    H_OTHER, H_ROUTE, H_TO, H_VIA, HEADER_LIST, HEADER_SINGLE, METHOD_OTHER, header_flags, header_id, method_id,
)
from sipcore.wire.uri cimport parse_uri
from sipcore.wire.via cimport parse_via

from sipcore.base.errors import MalformedMessage

cdef enum Parsed:
    PARSED_URI = 1
    PARSED_VIA = 2
    PARSED_FROM = 4
    PARSED_TO = 8
    PARSED_CONTACT = 16
    PARSED_ROUTE = 32
    PARSED_CSEQ = 64
    PARSED_MAX_FORWARDS = 128

DEFAULT_LIMITS.message = MAX_MESSAGE
DEFAULT_LIMITS.headers = 128
DEFAULT_LIMITS.line = 8192


cdef inline bint _has_controls(const uint8_t* p, uint32_t n) noexcept nogil:
    """Whether p[0..n) holds a control character other than HT, or a CR or LF that is not half of a CRLF.

    p[n] must be readable. Written without branches so that the compiler vectorises it.
    """
    cdef uint32_t i
    cdef uint8_t bad = 0, c, d
    for i in range(n):
        c = p[i]
        d = p[i + 1]
        bad |= <uint8_t>(((c < 32) & (c != 9) & (c != 10) & (c != 13)) | (c == 127) | ((c == 13) ^ (d == 10)))
    return bad != 0


cdef int _check_controls(Msg* m) noexcept nogil:
    """The slow look at a header section with control characters: only quoted pairs may hold them."""
    cdef uint32_t i = m.start
    cdef bint quoted = False
    cdef uint8_t c
    cdef const uint8_t* p = m.base
    while i < m.body:
        c = p[i]
        if c == 13 and p[i + 1] == 10:
            i += 2
            if p[i] != c' ' and p[i] != c'\t':
                quoted = False
            continue
        if c == 13 or c == 10:
            m.fault_at = i
            return FAULT_LINE_END
        if quoted and c == c'\\' and p[i + 1] != 13 and p[i + 1] != 10 and p[i + 1] < 128:
            i += 2
            continue
        if (c < 32 and c != 9) or c == 127:
            m.fault_at = i
            return FAULT_CONTROL
        if c == c'"':
            quoted = not quoted
        i += 1
    return 0


cdef int _start_line(Msg* m, const uint8_t* p, uint32_t at, uint32_t end) noexcept nogil:
    """Request-Line = Method SP Request-URI SP SIP-Version; Status-Line = SIP-Version SP code SP reason."""
    cdef uint32_t i = at, a
    cdef uint32_t code
    m.fault_at = at
    if end - at >= 8 and p[at + 3] == c'/' and _is_sip(p + at):
        # "SIP/" can be no method: '/' is no token character.
        m.kind = KIND_RESPONSE
        if p[at + 4] != c'2' or p[at + 5] != c'.' or p[at + 6] != c'0' or p[at + 7] != c' ':
            return FAULT_VERSION
        m.fault_at = at + 8
        if end - at < 11:
            return FAULT_STATUS
        for i in range(at + 8, at + 11):
            if not c'0' <= p[i] <= c'9':
                return FAULT_STATUS
        code = (p[at + 8] - c'0') * 100 + (p[at + 9] - c'0') * 10 + (p[at + 10] - c'0')
        if code < 100 or code > 699 or (end - at > 11 and p[at + 11] != c' '):
            return FAULT_STATUS
        m.status = <uint16_t>code
        m.uri_text = slice_of(p + at + 12, end - at - 12) if end - at > 12 else slice_of(p + end, 0)
        return 0
    while i < end and CHAR_CLASS[p[i]] & CHAR_TOKEN:
        i += 1
    if i == at or i >= end or p[i] != c' ':
        m.fault_at = i
        return FAULT_START_LINE
    m.method_text = slice_of(p + at, i - at)
    m.method = method_id(p + at, i - at)
    m.kind = KIND_REQUEST
    i += 1
    a = i
    while i < end and p[i] != c' ':
        i += 1
    m.uri_text = slice_of(p + a, i - a)
    m.fault_at = i
    if i == a or i >= end:
        return FAULT_START_LINE
    i += 1
    m.fault_at = i
    if end - i < 5 or p[i + 3] != c'/' or not _is_sip(p + i):
        return FAULT_START_LINE
    if end - i != 7 or p[i + 4] != c'2' or p[i + 5] != c'.' or p[i + 6] != c'0':
        # A version of digits is another version (505); anything else is a broken line.
        for a in range(i + 4, end):
            if p[a] != c'.' and not c'0' <= p[a] <= c'9':
                return FAULT_START_LINE
        return FAULT_VERSION
    return 0


cdef inline bint _is_sip(const uint8_t* p) noexcept nogil:
    return (p[0] | 0x20) == c's' and (p[1] | 0x20) == c'i' and (p[2] | 0x20) == c'p'


cdef int index_message(Msg* m, const uint8_t* data, uint32_t n, const Limits* limits) noexcept nogil:
    """Index one datagram, or one framed message of a stream.

    data[n] must be readable (the receive buffers have one byte more than they take). Returns 0, or a fault code
    with `fault_at` set; after a fault the headers seen so far stay indexed, so that an answer can be built where
    the message had enough of them. `n` and `body` follow Content-Length: bytes behind it are no part of it
    (RFC 3261 18.3).
    """
    cdef int fault = _index(m, data, n, limits)
    if fault:
        m.forms |= FORM_REFUSED
    return fault


cdef inline int _index(Msg* m, const uint8_t* data, uint32_t n, const Limits* limits) noexcept nogil:
    cdef uint32_t pos = 0, end, stop, name_end, i, count = 0
    cdef uint32_t length
    cdef const uint8_t* found
    cdef Header* h
    cdef uint8_t id
    cdef int fault = 0, first_fault = 0
    m.base = data
    m.kind = KIND_NONE
    m.method = METHOD_OTHER
    m.status = 0
    m.count = 0
    m.forms = 0
    m.parsed = 0
    m.has_length = False
    m.fault_at = 0
    m.method_text = slice_of(data, 0)
    m.uri_text = slice_of(data, 0)
    memset(m.first, NO_HEADER, sizeof(m.first))
    memset(m.last, NO_HEADER, sizeof(m.last))
    while pos + 1 < n and data[pos] == 13 and data[pos + 1] == 10:
        pos += 2
    m.start = pos
    m.start_end = pos
    m.body = n
    m.n = n
    if pos >= n:
        return 0
    if n > limits.message or n > MAX_MESSAGE:
        n = min(limits.message, <uint32_t>MAX_MESSAGE)
        m.n = n
        m.body = n
        first_fault = FAULT_MESSAGE_LONG
    found = <const uint8_t*>memchr(data + pos, 10, n - pos)
    if found == NULL:
        m.fault_at = n
        return FAULT_NO_END
    end = <uint32_t>(found - data)
    if end == pos or data[end - 1] != 13:
        m.fault_at = end
        return FAULT_LINE_END
    fault = _start_line(m, data, pos, end - 1)
    if fault == 0 and end - pos > limits.line:
        m.fault_at = pos
        fault = FAULT_LINE_LONG
    if fault and m.kind != KIND_REQUEST and fault != FAULT_VERSION:
        return fault
    if first_fault == 0:
        first_fault = fault
    pos = end + 1
    m.start_end = pos
    while True:
        if pos >= n:
            if first_fault == 0:
                m.fault_at = n
                first_fault = FAULT_NO_END
            break
        if data[pos] == 13 and pos + 1 < n and data[pos + 1] == 10:
            m.body = pos + 2
            break
        found = <const uint8_t*>memchr(data + pos, 10, n - pos)
        if found == NULL:
            if first_fault == 0:
                m.fault_at = n
                first_fault = FAULT_NO_END
            break
        end = <uint32_t>(found - data)
        if count >= limits.headers or count >= MAX_HEADERS:
            m.fault_at = pos
            return first_fault if first_fault else FAULT_HEADERS_MANY
        h = &m.headers[count]
        h.form = 0
        # name, up to the colon
        i = pos
        while CHAR_CLASS[data[i]] & CHAR_TOKEN:
            i += 1
        name_end = i
        while data[i] == c' ' or data[i] == c'\t':
            h.form = FORM_SPACED
            i += 1
        if data[i] != c':' or name_end == pos:
            m.fault_at = i
            return first_fault if first_fault else FAULT_HEADER_NAME
        i += 1
        # continuation lines
        while end + 1 < n and (data[end + 1] == c' ' or data[end + 1] == c'\t'):
            stop = end + 1
            found = <const uint8_t*>memchr(data + stop, 10, n - stop)
            if found == NULL:
                m.fault_at = n
                return first_fault if first_fault else FAULT_NO_END
            end = <uint32_t>(found - data)
            while data[stop] == c' ' or data[stop] == c'\t':
                stop += 1
            if data[stop] == 13:
                m.fault_at = stop
                return first_fault if first_fault else FAULT_LINE_END
            h.form |= FORM_FOLDED
        if data[end - 1] != 13:
            m.fault_at = end
            return first_fault if first_fault else FAULT_LINE_END
        if end - pos > limits.line:
            m.fault_at = pos
            return first_fault if first_fault else FAULT_LINE_LONG
        stop = end - 1
        while i < stop and (data[i] == c' ' or data[i] == c'\t' or data[i] == 13 or data[i] == 10):
            i += 1
        while stop > i and (data[stop - 1] == c' ' or data[stop - 1] == c'\t'):
            stop -= 1
        h.name = <uint16_t>pos
        h.name_n = <uint16_t>(name_end - pos)
        h.value = <uint16_t>i
        h.value_n = <uint16_t>(stop - i)
        h.end = <uint16_t>(end + 1)
        h.next = NO_HEADER
        id = header_id(data + pos, name_end - pos)
        h.id = id
        m.forms |= h.form
        if m.first[id] == NO_HEADER:
            m.first[id] = <uint8_t>count
        else:
            if first_fault == 0 and header_flags(id) & HEADER_SINGLE:
                m.fault_at = pos
                first_fault = FAULT_REPEATED
            m.headers[m.last[id]].next = <uint8_t>count
        m.last[id] = <uint8_t>count
        count += 1
        m.count = <uint16_t>count
        pos = end + 1
    if first_fault == 0 and _has_controls(data + m.start, m.body - m.start - 1):
        first_fault = _check_controls(m)
    if first_fault:
        return first_fault
    if m.first[H_CONTENT_LENGTH] != NO_HEADER:
        if parse_uint(header_value(m, m.first[H_CONTENT_LENGTH]), MAX_MESSAGE, &length) != 0 or length > n - m.body:
            m.fault_at = m.headers[m.first[H_CONTENT_LENGTH]].value
            return FAULT_CONTENT_LENGTH
        m.has_length = True
        m.n = m.body + length
    return 0


cdef Slice msg_value(const Msg* m, uint8_t id) noexcept nogil:
    """The first value line of a header; n is 0 where the header is absent."""
    if m.first[id] == NO_HEADER:
        return slice_of(m.base, 0)
    return header_value(m, m.first[id])


cdef uint8_t msg_find(const Msg* m, Slice name) noexcept nogil:
    """Index of the first header of that name, in any spelling; NO_HEADER where there is none."""
    cdef uint8_t id = header_id(name.p, name.n)
    cdef uint32_t i
    if id != H_OTHER:
        return m.first[id]
    i = m.first[H_OTHER]
    while i != NO_HEADER:
        if slice_iequal(header_text(m, i), name):
            return <uint8_t>i
        i = m.headers[i].next
    return NO_HEADER


cdef int msg_uri(Msg* m) noexcept nogil:
    cdef int fault
    if not m.parsed & PARSED_URI:
        fault = parse_uri(m.uri_text, &m.uri)
        if fault:
            m.fault_at = <uint32_t>(m.uri_text.p - m.base)
            return fault
        if m.uri.headers.n:
            # RFC 3261 19.1.1: a request URI carries none, and what one peer takes for a Route another ignores.
            m.fault_at = <uint32_t>(m.uri.headers.p - m.base)
            return FAULT_URI_HEADERS
        m.parsed |= PARSED_URI
    return 0


cdef inline int _at(Msg* m, uint8_t id, int fault) noexcept nogil:
    if fault and m.first[id] != NO_HEADER:
        m.fault_at = m.headers[m.first[id]].value
    return fault


cdef int msg_via(Msg* m) noexcept nogil:
    cdef int fault
    if not m.parsed & PARSED_VIA:
        if m.first[H_VIA] == NO_HEADER:
            return FAULT_MISSING
        m.via_rest = header_value(m, m.first[H_VIA])
        fault = parse_via(&m.via_rest, &m.via)
        if fault:
            return _at(m, H_VIA, fault)
        m.parsed |= PARSED_VIA
    return 0


cdef inline int _address(Msg* m, uint8_t id, uint32_t bit, NameAddr* out) noexcept nogil:
    cdef int fault
    if not m.parsed & bit:
        if m.first[id] == NO_HEADER:
            return FAULT_MISSING
        fault = parse_name_addr(header_value(m, m.first[id]), out)
        if fault:
            return _at(m, id, fault)
        m.parsed |= bit
    return 0


cdef int msg_from(Msg* m) noexcept nogil:
    return _address(m, H_FROM, PARSED_FROM, &m.from_)


cdef int msg_to(Msg* m) noexcept nogil:
    return _address(m, H_TO, PARSED_TO, &m.to)


cdef inline int _first_of_list(Msg* m, uint8_t id, uint32_t bit, NameAddr* out) noexcept nogil:
    cdef Slice rest, item
    cdef int r
    if not m.parsed & bit:
        if m.first[id] == NO_HEADER:
            return FAULT_MISSING
        rest = header_value(m, m.first[id])
        r = next_value(&rest, &item)
        if r <= 0:
            return _at(m, id, r if r < 0 else FAULT_MISSING)
        r = parse_name_addr(item, out)
        if r:
            return _at(m, id, r)
        m.parsed |= bit
    return 0


cdef int msg_contact(Msg* m) noexcept nogil:
    return _first_of_list(m, H_CONTACT, PARSED_CONTACT, &m.contact)


cdef int msg_route(Msg* m) noexcept nogil:
    """The first Route value and its URI."""
    cdef int fault
    if not m.parsed & PARSED_ROUTE:
        fault = _first_of_list(m, H_ROUTE, PARSED_ROUTE, &m.route)
        if fault == 0:
            fault = _at(m, H_ROUTE, parse_uri(m.route.uri, &m.route_uri))
        if fault:
            m.parsed &= ~<uint32_t>PARSED_ROUTE
            return fault
    return 0


cdef int msg_cseq(Msg* m) noexcept nogil:
    cdef int fault
    if not m.parsed & PARSED_CSEQ:
        if m.first[H_CSEQ] == NO_HEADER:
            return FAULT_MISSING
        fault = parse_cseq(header_value(m, m.first[H_CSEQ]), &m.cseq, &m.cseq_method)
        if fault:
            return _at(m, H_CSEQ, fault)
        if m.kind == KIND_RESPONSE:
            m.method = method_id(m.cseq_method.p, m.cseq_method.n)
            m.method_text = m.cseq_method
        m.parsed |= PARSED_CSEQ
    return 0


cdef int msg_max_forwards(Msg* m) noexcept nogil:
    """Max-Forwards, 70 where it is absent (RFC 3261 16.6 step 3)."""
    if not m.parsed & PARSED_MAX_FORWARDS:
        if m.first[H_MAX_FORWARDS] == NO_HEADER:
            m.max_forwards = 70
        elif parse_uint(header_value(m, m.first[H_MAX_FORWARDS]), 255, &m.max_forwards) != 0:
            return _at(m, H_MAX_FORWARDS, FAULT_MAX_FORWARDS)
        m.parsed |= PARSED_MAX_FORWARDS
    return 0


cdef int msg_check(Msg* m) noexcept nogil:
    """Parse what every message must have (RFC 3261 8.1.1): Via, From, To, Call-ID, CSeq, and the method in it."""
    cdef int fault = msg_via(m)
    cdef uint32_t i
    cdef Slice call_id
    if fault == 0:
        fault = msg_from(m)
    if fault == 0:
        fault = msg_to(m)
    if fault == 0:
        fault = msg_cseq(m)
    if fault:
        return fault
    call_id = msg_value(m, H_CALL_ID)
    if call_id.n == 0:
        return _at(m, H_CALL_ID, FAULT_MISSING)
    for i in range(call_id.n):
        if not CHAR_CLASS[call_id.p[i]] & CHAR_WORD and call_id.p[i] != c'@':
            return _at(m, H_CALL_ID, FAULT_CALL_ID)
    if m.kind == KIND_REQUEST and not slice_equal(m.method_text, m.cseq_method):
        return _at(m, H_CSEQ, FAULT_METHOD_MISMATCH)
    return 0


cdef str _unfold(Slice value, bint folded):
    """A header value with each fold as one space (RFC 3261 7.3.1)."""
    cdef str text = slice_text(value)
    if not folded or "\r\n" not in text:
        return text
    return " ".join([line.strip(" \t") for line in text.split("\r\n")])


# Indexed into, then copied without the room for headers that are not there: a Msg has some five kilobytes, most of it
# for headers, and a call keeps several. Nobody else runs between the two steps.
cdef Msg _scratch
# What a Message that was never filled shows.
cdef Msg _nothing
memset(&_nothing, 0, sizeof(Msg))
memset(_nothing.first, NO_HEADER, sizeof(_nothing.first))
memset(_nothing.last, NO_HEADER, sizeof(_nothing.last))


cdef void _forget_values(Msg* m) noexcept nogil:
    """No value is there: what is not parsed, or does not parse, shows nothing instead of another message's bytes."""
    m.parsed = 0
    memset(&m.uri, 0, <size_t>(<uint8_t*>m.headers - <uint8_t*>&m.uri))


cdef class Message:
    """A parsed message for Python: the index over its own copy of the bytes.

    `Message(data)` indexes and checks the mandatory headers. MalformedMessage (with the SIP status to answer)
    says what is wrong and at which offset.
    """

    def __cinit__(self):
        self.data = b""
        self.msg = &_nothing

    def __init__(self, bytes data not None, bint check=True):
        cdef int fault
        _forget_values(&_scratch)
        fault = index_message(&_scratch, <const uint8_t*><const char*>data, <uint32_t>len(data), &DEFAULT_LIMITS)
        if fault == 0 and _scratch.kind == KIND_NONE:
            fault = FAULT_START_LINE
        if fault == 0 and check:
            fault = msg_check(&_scratch)
            if fault == 0 and _scratch.kind == KIND_REQUEST:
                fault = msg_uri(&_scratch)
        if fault:
            raise MalformedMessage(f"{fault_text(fault)} (at byte {_scratch.fault_at})",
                                   status=505 if fault == FAULT_VERSION else 400)
        self._adopt(&_scratch, data)

    def __dealloc__(self):
        if self.msg != &_nothing:
            free(self.msg)

    cdef int _adopt(self, const Msg* m, bytes data) except -1:
        """Keep data, and m as far as it is used."""
        cdef size_t n = sizeof(Msg) - (MAX_HEADERS - m.count) * sizeof(Header)
        cdef Msg* copy = <Msg*>malloc(n)
        if copy == NULL:
            raise MemoryError
        memcpy(copy, m, n)
        if self.msg != &_nothing:
            free(self.msg)
        self.msg = copy
        self.data = data
        return 0

    @staticmethod
    cdef Message of(const Msg* m):
        """A copy of a message that was indexed and checked, whatever it was received in; its values are parsed anew."""
        cdef Message message
        cdef const uint8_t* p
        if m.start:
            return Message(slice_bytes(slice_of(m.base + m.start, m.n - m.start)))
        message = Message.__new__(Message)
        message._adopt(m, slice_bytes(slice_of(m.base, m.n)))
        _forget_values(message.msg)
        p = <const uint8_t*><const char*>message.data
        message.msg.base = p
        message.msg.method_text.p = p + (m.method_text.p - m.base)
        message.msg.uri_text.p = p + (m.uri_text.p - m.base)
        return message

    @property
    def is_request(self):
        return self.msg.kind == KIND_REQUEST

    @property
    def method(self):
        """Of the request, or of CSeq for a response."""
        if self.msg.kind == KIND_RESPONSE:
            msg_cseq(self.msg)
        return slice_bytes(self.msg.method_text).decode("ascii")

    @property
    def uri(self):
        """The request URI as it stands; empty for a response."""
        return slice_text(self.msg.uri_text) if self.msg.kind == KIND_REQUEST else ""

    @property
    def status(self):
        return self.msg.status

    @property
    def reason(self):
        return slice_text(self.msg.uri_text) if self.msg.kind == KIND_RESPONSE else ""

    @property
    def call_id(self):
        return slice_text(msg_value(self.msg, H_CALL_ID))

    @property
    def cseq(self):
        """(number, method)"""
        msg_cseq(self.msg)
        return self.msg.cseq, slice_bytes(self.msg.cseq_method).decode("ascii")

    @property
    def from_tag(self):
        return slice_text(self.msg.from_.tag) if msg_from(self.msg) == 0 else ""

    @property
    def to_tag(self):
        return slice_text(self.msg.to.tag) if msg_to(self.msg) == 0 else ""

    @property
    def branch(self):
        """Of the topmost Via."""
        return slice_text(self.msg.via.branch) if msg_via(self.msg) == 0 else ""

    @property
    def body(self):
        return self.data[self.msg.body:self.msg.n]

    @property
    def size(self):
        """Bytes of the message, without what follows its Content-Length."""
        return self.msg.n - self.msg.start

    def header(self, str name not None):
        """The first line of a header, unfolded; None where it is absent. Any spelling of the name."""
        cdef bytes raw = name.encode("utf-8", "surrogateescape")
        cdef uint8_t i = msg_find(self.msg, slice_from(raw))
        return None if i == NO_HEADER else _unfold(header_value(self.msg, i), self.msg.headers[i].form & FORM_FOLDED)

    def joined(self, str name not None):
        """All lines of a list header as one (RFC 3261 7.3.1); None where it is absent."""
        cdef bytes raw = name.encode("utf-8", "surrogateescape")
        cdef uint8_t i = msg_find(self.msg, slice_from(raw))
        if i == NO_HEADER:
            return None
        if self.msg.headers[i].next != NO_HEADER:
            return ", ".join(self.headers(name))
        return _unfold(header_value(self.msg, i), self.msg.headers[i].form & FORM_FOLDED)

    def headers(self, str name not None):
        """All values of a header in their order; those of list headers are split at their commas."""
        cdef bytes raw = name.encode("utf-8", "surrogateescape")
        cdef uint32_t i = msg_find(self.msg, slice_from(raw))
        cdef uint8_t id = header_id(<const uint8_t*><const char*>raw, <uint32_t>len(raw))
        cdef Slice rest, item
        cdef bint folded
        values = []
        while i != NO_HEADER:
            if id != H_OTHER or slice_iequal(header_text(self.msg, i), slice_from(raw)):
                rest = header_value(self.msg, i)
                folded = self.msg.headers[i].form & FORM_FOLDED
                if header_flags(id) & HEADER_LIST:
                    while next_value(&rest, &item) > 0:
                        values.append(_unfold(item, folded))
                else:
                    values.append(_unfold(rest, folded))
            i = self.msg.headers[i].next
        return values

    def items(self):
        """(name as written, unfolded value) of every header line, in order."""
        cdef uint32_t i
        return [
            (slice_text(header_text(self.msg, i)),
             _unfold(header_value(self.msg, i), self.msg.headers[i].form & FORM_FOLDED))
            for i in range(self.msg.count)
        ]


def index(bytes data not None) -> Message:
    """Index a message without decoding any value; MalformedMessage where it cannot be framed."""
    return Message(data, False)


def decode(bytes data not None) -> Message:
    """Index a message and decode its request URI, top Via, From, To, Call-ID, CSeq, Contact and Route."""
    cdef Message message = Message(data)
    msg_contact(message.msg)
    msg_route(message.msg)
    return message
