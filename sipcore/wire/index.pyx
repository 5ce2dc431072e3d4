"""The one-pass header index.

Plan: go from one control character to the next, which are the ends of nearly all lines, and name each header by the
perfect hash of tables.pyx; a line of any other form gets a slower look of its own. What two peers could read
differently is refused here, before anything is matched or forwarded: bare CR or LF, control characters (except in a
quoted pair, where RFC 3261 25.1 allows them), a header name that is no token, a repeated single header, a continuation
line of white space alone, a Content-Length that the data contradicts.

Cost: 0.2 us for an INVITE of 866 bytes; a Msg takes 4 KiB, and the hot path reuses one.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset
from sipcore.base.runs cimport (
    Controls, controls_from, controls_next, controls_skip, run_of_plain, run_to_byte, run_to_colon, run_to_control,
)
from sipcore.base.slice cimport Slice, slice_iequal, slice_of
from sipcore.wire.cseq cimport parse_uint
from sipcore.wire.fault cimport (
    FAULT_CONTENT_LENGTH, FAULT_CONTROL, FAULT_HEADER_NAME, FAULT_HEADERS_MANY, FAULT_LINE_END, FAULT_LINE_LONG,
    FAULT_MESSAGE_LONG, FAULT_NO_END, FAULT_REPEATED, FAULT_START_LINE, FAULT_STATUS, FAULT_VERSION,
)
from sipcore.wire.scan cimport CH_TOKEN, skip_class
from sipcore.wire.tables cimport (
    H_CONTENT_LENGTH, H_OTHER, HEADER_SINGLE, METHOD_OTHER, header_flags, header_id, header_of_key, method_id,
)

DEFAULT_LIMITS.message = MAX_MESSAGE
DEFAULT_LIMITS.headers = 128
DEFAULT_LIMITS.line = 8192


cdef struct Line:
    uint32_t name_end       # offset behind the name
    uint32_t colon
    uint32_t end            # offset of the last LF, behind continuation lines
    uint32_t fault_at
    uint32_t folds          # continuation lines
    uint8_t form            # HeaderForm bits


cdef uint32_t _line_end(const uint8_t* p, uint32_t i, uint32_t n, bint* odd) noexcept nogil:
    """The index of the LF of the line that i stands in; n where there is none.

    odd is set where a control character other than HT stands before it, or a CR or LF that is not half of a CRLF.
    """
    i = run_to_control(p, i, n)
    while i < n:
        if p[i] == 13 and i + 1 < n and p[i + 1] == 10:
            return i + 1
        if p[i] != 9:
            odd[0] = True
            if p[i] == 10:
                return i
        i = run_to_control(p, i + 1, n)
    return n


cdef int _read_line(const uint8_t* p, uint32_t pos, uint32_t n, Line* line, bint* odd) noexcept nogil:
    """Delimit the header at pos, whatever its form; a fault code, with fault_at, where it is none."""
    cdef uint32_t i = skip_class(p, pos, n, CH_TOKEN)
    cdef uint32_t end = _line_end(p, i, n, odd)
    line.name_end = i
    line.form = 0
    line.folds = 0
    line.fault_at = n
    if end == n:
        return FAULT_NO_END
    while p[i] == c' ' or p[i] == c'\t':
        line.form = FORM_SPACED
        i += 1
    line.colon = line.fault_at = i
    if p[i] != c':' or line.name_end == pos:
        return FAULT_HEADER_NAME
    # continuation lines
    while (p[end + 1] == c' ' or p[end + 1] == c'\t') and end + 1 < n:
        i = end + 1
        end = _line_end(p, i, n, odd)
        line.fault_at = n
        if end == n:
            return FAULT_NO_END
        while p[i] == c' ' or p[i] == c'\t':
            i += 1
        line.fault_at = i
        if p[i] == 13:
            return FAULT_LINE_END
        line.form |= FORM_FOLDED
        line.folds += 1
    line.end = line.fault_at = end
    return 0 if p[end - 1] == 13 else FAULT_LINE_END


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
        _note_version(m, p + at)
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
    i = skip_class(p, at, end, CH_TOKEN)
    if i == at or i >= end or p[i] != c' ':
        m.fault_at = i
        return FAULT_START_LINE
    m.method_text = slice_of(p + at, i - at)
    m.method = method_id(p + at, i - at)
    m.kind = KIND_REQUEST
    i += 1
    a = i
    i = run_to_byte(p, i, end, c' ')
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
    _note_version(m, p + i)
    return 0


cdef inline void _note_version(Msg* m, const uint8_t* p) noexcept nogil:
    if p[0] != c'S' or p[1] != c'I' or p[2] != c'P':
        m.forms |= FORM_VERSION


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


cdef inline bint _is_plain_end(const uint8_t* p, uint32_t i, uint32_t n) noexcept nogil:
    """Whether a CRLF stands at i that ends a header: no continuation line follows."""
    return i + 1 < n and p[i] == 13 and p[i + 1] == 10 and p[i + 2] != c' ' and p[i + 2] != c'\t'


cdef inline int _index(Msg* m, const uint8_t* data, uint32_t n, const Limits* limits) noexcept nogil:
    cdef uint32_t pos = 0, name_end, colon, end, stop, i, count = 0, length, fault_at
    cdef uint32_t most = min(limits.headers, <uint32_t>MAX_HEADERS), longest = limits.line
    cdef uint64_t low, high
    cdef bint odd = False, plain
    cdef Header* h = m.headers
    cdef uint8_t id, form
    cdef int fault = 0, first_fault = 0
    cdef Controls controls
    cdef Line line
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
    controls_from(&controls, data, n, pos)
    end = controls_next(&controls)
    if end + 1 < n and data[end] == 13 and data[end + 1] == 10:
        controls_skip(&controls)
        end += 1
    else:
        end = _line_end(data, pos, n, &odd)
        if end == n:
            m.fault_at = n
            return FAULT_NO_END
        if end == pos or data[end - 1] != 13:
            m.fault_at = end
            return FAULT_LINE_END
        controls_from(&controls, data, n, end + 1)
    fault = _start_line(m, data, pos, end - 1)
    if fault == 0 and end - pos > longest:
        m.fault_at = pos
        fault = FAULT_LINE_LONG
    if fault and m.kind != KIND_REQUEST and fault != FAULT_VERSION:
        return fault
    if first_fault == 0:
        first_fault = fault
    pos = end + 1
    m.start_end = pos
    while True:
        fault_at = n
        fault = FAULT_NO_END
        if pos >= n:
            break
        if data[pos] == 13 and pos + 1 < n and data[pos + 1] == 10:
            m.body = pos + 2
            fault = 0
            break
        fault_at = pos
        fault = FAULT_HEADERS_MANY
        if count >= most:
            break
        end = controls_next(&controls)
        colon = run_to_colon(data + pos, &low, &high) if pos + 16 <= n else 16
        plain = colon < 16 and pos + colon < end and _is_plain_end(data, end, n)
        if plain:
            id = header_of_key(low, high)
            plain = id != H_OTHER or (colon > 0 and run_of_plain(data, pos, pos + colon) == pos + colon)
        if plain:
            controls_skip(&controls)
            colon += pos
            name_end = colon
            end += 1
            form = 0
        else:
            fault = _read_line(data, pos, n, &line, &odd)
            if fault:
                fault_at = line.fault_at
                break
            fault = FAULT_HEADERS_MANY
            if line.folds >= most - count:
                break
            most -= line.folds
            name_end = line.name_end
            colon = line.colon
            end = line.end
            form = line.form
            controls_from(&controls, data, n, end + 1)
            id = header_id(data + pos, name_end - pos)
        fault = FAULT_LINE_LONG
        if end - pos > longest:
            break
        i = colon + 1
        stop = end - 1
        if data[i] == c' ':
            i += 1
        if data[i] <= c' ':
            while i < stop and (data[i] == c' ' or data[i] == c'\t' or data[i] == 13 or data[i] == 10):
                i += 1
        while stop > i and (data[stop - 1] == c' ' or data[stop - 1] == c'\t'):
            stop -= 1
        h.name = <uint16_t>pos
        h.name_n = <uint16_t>(name_end - pos)
        h.value = <uint16_t>i
        h.value_n = <uint16_t>(stop - i)
        h.end = <uint16_t>(end + 1)
        h.form = form
        h.next = NO_HEADER
        h.id = id
        m.forms |= form
        if m.first[id] == NO_HEADER:
            m.first[id] = <uint8_t>count
        else:
            if first_fault == 0 and header_flags(id) & HEADER_SINGLE:
                m.fault_at = pos
                first_fault = FAULT_REPEATED
            m.headers[m.last[id]].next = <uint8_t>count
        m.last[id] = <uint8_t>count
        h += 1
        count += 1
        m.count = <uint16_t>count
        pos = end + 1
    if first_fault == 0 and fault:
        m.fault_at = fault_at
        first_fault = fault
    if first_fault == 0 and odd:
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
