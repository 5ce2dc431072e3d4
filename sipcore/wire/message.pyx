"""The view of a message for Python: an index over bytes of its own."""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from sipcore.base.slice cimport Slice, slice_bytes, slice_from, slice_iequal, slice_of
from sipcore.wire.fault cimport FAULT_START_LINE, FAULT_VERSION, fault_text
from sipcore.wire.index cimport (
    DEFAULT_LIMITS, FORM_FOLDED, KIND_NONE, KIND_REQUEST, KIND_RESPONSE, MAX_HEADERS, NO_HEADER, Header, Msg,
    header_text, header_value, index_message, msg_find, msg_value,
)
from sipcore.wire.nameaddr cimport next_value
from sipcore.wire.tables cimport H_CALL_ID, H_OTHER, HEADER_LIST, header_flags, header_id
from sipcore.wire.values cimport msg_check, msg_contact, msg_cseq, msg_from, msg_route, msg_to, msg_uri, msg_via

from sipcore.base.errors import MalformedMessage


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
