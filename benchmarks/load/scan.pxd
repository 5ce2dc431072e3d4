"""Index of the header lines that a user agent needs; every span points into the received bytes.

Written apart from `sipcore.wire` on purpose: a fault there must not hide itself from the load generator.
"""
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memchr, memcmp

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char*, const char*, size_t) noexcept

cdef enum:
    MAX_SPANS = 16          # Via lines, and Record-Route values

cdef enum Method:
    OTHER
    INVITE
    ACK
    BYE

cdef struct Span:
    const char* at
    int size

cdef struct Message:
    int status              # 0 for a request
    Method method           # of a request
    Span uri                # of a request
    int vias                # whole lines, line end included, like all the spans below
    Span via[MAX_SPANS]
    int record_routes
    Span record_route[MAX_SPANS]
    int routes
    Span from_
    Span to
    Span call_id
    Span cseq
    Span contact


cdef inline bint _named(const char* at, long size, const char* name, long name_size) noexcept nogil:
    return size == name_size and at[0] | 32 == name[0] | 32 and strncasecmp(at, name, name_size) == 0


cdef inline int _scan_header(Message* message, const char* line, int size) noexcept nogil:
    cdef const char* colon = <const char*>memchr(line, b":", size)
    cdef long name
    cdef Span span = Span(line, size)
    if colon == NULL:
        return -1
    name = colon - line
    while name and (line[name - 1] == b" " or line[name - 1] == b"\t"):
        name -= 1
    if _named(line, name, "Via", 3) or _named(line, name, "v", 1):
        if message.vias == MAX_SPANS:
            return -1
        message.via[message.vias] = span
        message.vias += 1
    elif _named(line, name, "Record-Route", 12):
        if message.record_routes == MAX_SPANS:
            return -1
        message.record_route[message.record_routes] = span
        message.record_routes += 1
    elif _named(line, name, "Route", 5):
        message.routes += 1
    elif _named(line, name, "From", 4) or _named(line, name, "f", 1):
        message.from_ = span
    elif _named(line, name, "To", 2) or _named(line, name, "t", 1):
        message.to = span
    elif _named(line, name, "Call-ID", 7) or _named(line, name, "i", 1):
        message.call_id = span
    elif _named(line, name, "CSeq", 4):
        message.cseq = span
    elif _named(line, name, "Contact", 7) or _named(line, name, "m", 1):
        message.contact = span
    return 0


cdef inline int _scan_first_line(Message* message, const char* data, const char* end) noexcept nogil:
    """Read the request or status line up to `end` (its LF)."""
    cdef const char* space
    cdef const char* second
    message.status = 0
    message.method = Method.OTHER
    if end - data >= 12 and memcmp(data, b"SIP/2.0 ", 8) == 0:
        message.status = (data[8] - 48) * 100 + (data[9] - 48) * 10 + data[10] - 48
        return 0 if 100 <= message.status <= 699 else -1
    space = <const char*>memchr(data, b" ", end - data)
    if space == NULL:
        return -1
    second = <const char*>memchr(space + 1, b" ", end - space - 1)
    if second == NULL:
        return -1
    message.uri = Span(space + 1, <int>(second - space - 1))
    if space - data == 6 and memcmp(data, b"INVITE", 6) == 0:
        message.method = Method.INVITE
    elif space - data == 3 and memcmp(data, b"ACK", 3) == 0:
        message.method = Method.ACK
    elif space - data == 3 and memcmp(data, b"BYE", 3) == 0:
        message.method = Method.BYE
    return 0


cdef inline int scan(Message* message, const char* data, int size) noexcept nogil:
    """Index one datagram; -1 if a header that a dialog needs is missing or the message has no end of headers."""
    cdef const char* end = data + size
    cdef const char* line
    cdef const char* stop = <const char*>memchr(data, b"\n", size)
    message.vias = message.record_routes = message.routes = 0
    message.from_.at = message.to.at = message.call_id.at = message.cseq.at = message.contact.at = NULL
    if stop == NULL or _scan_first_line(message, data, stop) < 0:
        return -1
    line = stop + 1
    while line < end:
        if line[0] == b"\r" or line[0] == b"\n":
            if message.vias and message.from_.at and message.to.at and message.call_id.at and message.cseq.at:
                return 0
            return -1
        stop = <const char*>memchr(line, b"\n", end - line)
        # A line that begins with white space goes on with the one before (RFC 3261 7.3.1).
        while stop != NULL and stop + 1 < end and (stop[1] == b" " or stop[1] == b"\t"):
            stop = <const char*>memchr(stop + 1, b"\n", end - stop - 1)
        if stop == NULL or _scan_header(message, line, <int>(stop + 1 - line)) < 0:
            return -1
        line = stop + 1
    return -1


cdef inline Span value_of(Span line) noexcept nogil:
    """Return the value of a header line without the white space around it."""
    cdef Span value
    cdef const char* colon = <const char*>memchr(line.at, b":", line.size)
    value.at = colon + 1
    value.size = line.size - <int>(value.at - line.at)
    while value.size and value.at[0] in (b" ", b"\t", b"\r", b"\n"):
        value.at += 1
        value.size -= 1
    while value.size and value.at[value.size - 1] in (b" ", b"\t", b"\r", b"\n"):
        value.size -= 1
    return value


cdef inline Span first_value(Span* rest) noexcept nogil:
    """Take the first of a list of name-addr off `rest`; commas count outside <> and quotes (RFC 3261 7.3.1)."""
    cdef Span value = Span(rest.at, rest.size)
    cdef int index = 0
    cdef bint quoted = False, angled = False
    while index < rest.size:
        if quoted:
            if rest.at[index] == b"\\":
                index += 1
            elif rest.at[index] == b'"':
                quoted = False
        elif rest.at[index] == b'"':
            quoted = True
        elif rest.at[index] == b"<":
            angled = True
        elif rest.at[index] == b">":
            angled = False
        elif rest.at[index] == b"," and not angled:
            break
        index += 1
    if index >= rest.size:
        rest.size = 0
        return value
    value.size = index
    rest.at += index + 1
    rest.size -= index + 1
    while value.size and value.at[value.size - 1] in (b" ", b"\t", b"\r", b"\n"):
        value.size -= 1
    while rest.size and rest.at[0] in (b" ", b"\t", b"\r", b"\n"):
        rest.at += 1
        rest.size -= 1
    return value


cdef inline Span uri_of(Span address) noexcept nogil:
    """Return the URI of one name-addr or addr-spec."""
    cdef Span uri = address
    cdef const char* opening = <const char*>memchr(address.at, b"<", address.size)
    cdef const char* closing
    if opening != NULL:
        uri.at = opening + 1
        uri.size = address.size - <int>(uri.at - address.at)
        closing = <const char*>memchr(uri.at, b">", uri.size)
    else:
        closing = <const char*>memchr(uri.at, b";", uri.size)
    if closing != NULL:
        uri.size = <int>(closing - uri.at)
    return uri


cdef inline const char* find(Span span, const char* text, int size) noexcept nogil:
    """Return where `text` stands in `span`, in any case of letters, or NULL."""
    cdef int index
    for index in range(span.size - size + 1):
        if span.at[index] | 32 == text[0] | 32 and strncasecmp(span.at + index, text, size) == 0:
            return span.at + index
    return NULL


cdef inline int host_port(Span uri, uint32_t* host, uint16_t* port) noexcept nogil:
    """Read IPv4 address and port (5060 if none) off a sip URI, in host order; -1 for a name or another scheme."""
    cdef const char* at = <const char*>memchr(uri.at, b"@", uri.size)
    cdef const char* end = uri.at + uri.size
    cdef uint32_t address = 0, number = 0
    cdef int dots = 0
    if uri.size < 4 or strncasecmp(uri.at, "sip:", 4) != 0:
        return -1
    at = uri.at + 4 if at == NULL else at + 1
    while at < end and (b"0" <= at[0] <= b"9" or at[0] == b"."):
        if at[0] == b".":
            address = address << 8 | number
            number = 0
            dots += 1
        else:
            number = number * 10 + at[0] - 48
        at += 1
    if dots != 3 or number > 255:
        return -1
    host[0] = address << 8 | number
    number = 0
    if at < end and at[0] == b":":
        at += 1
        while at < end and b"0" <= at[0] <= b"9":
            number = number * 10 + at[0] - 48
            at += 1
    port[0] = <uint16_t>number if number else 5060
    return 0
