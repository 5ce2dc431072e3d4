"""What is ours in the request URI and the Route set, and where the request goes next."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice, slice_equal, slice_of
from sipcore.stack.hop cimport HOP_OK, hop_of_uri
from sipcore.stack.listener cimport Listener, find_listener, is_listener
from sipcore.wire.fault cimport FAULT_HEADERS_MANY, FAULT_URI_HEADERS
from sipcore.wire.index cimport NO_HEADER, Msg, header_value
from sipcore.wire.nameaddr cimport NameAddr, next_value, parse_name_addr
from sipcore.wire.tables cimport H_ROUTE
from sipcore.wire.uri cimport (
    KNOWN_MADDR, KNOWN_TRANSPORT, KNOWN_TTL, Known, Uri, known_param, next_uri_part, parse_uri, uri_param,
)


cdef void _leave_maddr(Routing* r, const Uri* uri, const Listener* listeners, uint32_t count) noexcept nogil:
    """RFC 3261 16.4: a maddr of the request URI that is us has done its work; it goes, with port and transport."""
    cdef Address to
    cdef Slice rest = uri.params, name, value
    cdef uint8_t* o = r.plain
    cdef Known known
    cdef uint32_t n = <uint32_t>(uri.host.p - uri.text.p) + uri.host.n
    if hop_of_uri(uri, &to) != HOP_OK or not is_listener(listeners, count, &to) or uri.text.n > PLAIN_URI:
        return
    n += uri.host_port.n > uri.host.n and uri.text.p[n] == c']'
    memcpy(o, uri.text.p, n)
    o += n
    while next_uri_part(&rest, c';', &name, &value):
        known = known_param(name)
        if known != KNOWN_MADDR and known != KNOWN_TRANSPORT and known != KNOWN_TTL:
            n = name.n + (value.n + 1 if value.p != NULL else 0)
            o[0] = c';'
            memcpy(o + 1, name.p, n)
            o += n + 1
    r.uri = r.next_hop = slice_of(r.plain, <uint32_t>(o - r.plain))


cdef int plan_routing(Msg* m, Routing* r, const Listener* listeners, uint32_t count) noexcept nogil:
    """RFC 3261 16.4 and 16.6 step 6: what is ours in the Route set, and where the request goes next.

    Needs the request URI parsed. Returns 0 or a fault code (a Route value that is no URI, or too many of them).
    """
    cdef uint32_t h, i
    cdef Slice rest, token
    cdef NameAddr address
    cdef RouteValue* v
    cdef const RouteValue* replacing = NULL
    cdef int fault, found
    r.count = 0
    r.own = 0
    r.to_uri = False
    r.strict = False
    r.changed = False
    r.uri = m.uri_text
    r.next_hop = m.uri_text
    r.token = slice_of(m.base, 0)
    r.out = 255
    if m.uri.maddr.n:
        _leave_maddr(r, &m.uri, listeners, count)
    h = m.first[H_ROUTE]
    while h != NO_HEADER:
        rest = header_value(m, h)
        while rest.n:
            if r.count == MAX_ROUTES:
                m.fault_at = m.headers[h].value
                return FAULT_HEADERS_MANY
            v = &r.values[r.count]
            found = next_value(&rest, &v.item)
            if found == 0:
                break
            m.fault_at = m.headers[h].value
            if found < 0:
                return found
            fault = parse_name_addr(v.item, &address)
            if fault == 0:
                fault = parse_uri(address.uri, &v.uri)
            if fault:
                return fault
            v.header = <uint8_t>h
            v.uri_text = address.uri
            r.count += 1
        h = m.headers[h].next
    if m.uri.lr and r.count and find_listener(listeners, count, &m.uri) >= 0:
        # A strict router put our own Record-Route value into the request URI (16.4).
        uri_param(&m.uri, b"t", 1, &r.token)
        r.to_uri = True
        r.changed = True
        r.count -= 1
        r.uri = r.values[r.count].uri_text
        r.next_hop = r.uri
        replacing = &r.values[r.count]
    # One of ours, two where we recorded ourselves twice (RFC 5658), or any number from somebody who was told to send
    # through us: what adjoins is one passage.
    for i in range(r.count):
        found = find_listener(listeners, count, &r.values[i].uri)
        if found < 0:
            break
        uri_param(&r.values[i].uri, b"t", 1, &token)
        if token.n:
            if r.token.n and not slice_equal(token, r.token):
                break       # a spiral: another passage through us, with a dialog record of its own
            r.token = token
        r.out = <uint8_t>found
        r.own += 1
    if r.own < r.count:
        r.next_hop = r.values[r.own].uri_text
        if not r.values[r.own].uri.lr:
            r.strict = True
            r.changed = True
            replacing = &r.values[r.own]
    if replacing != NULL and replacing.uri.headers.n:
        # No request URI has them (19.1.1): what one peer takes for a Route another ignores.
        m.fault_at = m.headers[replacing.header].value
        return FAULT_URI_HEADERS
    return 0
