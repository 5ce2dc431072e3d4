"""What the headers of an indexed message say: each value is parsed on demand, once, and stands in the Msg then."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.runs cimport run_of_plain
from sipcore.base.slice cimport Slice, slice_equal
from sipcore.wire.cseq cimport parse_cseq, parse_uint
from sipcore.wire.fault cimport (
    FAULT_CALL_ID, FAULT_MAX_FORWARDS, FAULT_METHOD_MISMATCH, FAULT_MISSING, FAULT_URI_HEADERS,
)
from sipcore.wire.index cimport KIND_REQUEST, KIND_RESPONSE, NO_HEADER, Msg, header_value, msg_value
from sipcore.wire.nameaddr cimport NameAddr, next_value, parse_name_addr
from sipcore.wire.tables cimport (
    H_CALL_ID, H_CONTACT, H_CSEQ, H_FROM, H_MAX_FORWARDS, H_ROUTE, H_TO, H_VIA, WORD_CHARS, method_id,
)
from sipcore.wire.uri cimport parse_uri
from sipcore.wire.via cimport parse_via

cdef enum Parsed:
    PARSED_URI = 1
    PARSED_VIA = 2
    PARSED_FROM = 4
    PARSED_TO = 8
    PARSED_CONTACT = 16
    PARSED_ROUTE = 32
    PARSED_CSEQ = 64
    PARSED_MAX_FORWARDS = 128


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
    i = run_of_plain(call_id.p, 0, call_id.n)
    while i < call_id.n:
        if not WORD_CHARS[call_id.p[i]] and call_id.p[i] != c'@':
            return _at(m, H_CALL_ID, FAULT_CALL_ID)
        i = run_of_plain(call_id.p, i + 1, call_id.n)
    if m.kind == KIND_REQUEST and not slice_equal(m.method_text, m.cseq_method):
        return _at(m, H_CSEQ, FAULT_METHOD_MISMATCH)
    return 0
