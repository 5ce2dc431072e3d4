"""The patches of a forwarded request (RFC 3261 16.4, 16.6), and their size before anything is rendered.

What is done to every request: our Via on top, received and rport on the sender's, Max-Forwards one lower, our
own Route values taken off, folds and space before a colon brought to the plain form. What a verdict adds:
Record-Route, another request URI, headers put in, replaced and taken out, short names, another body.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from sipcore.base.address cimport (
    ADDRESS_TEXT, Address, address_from, address_same_host, render_ip, transport_number,
)
from sipcore.base.slice cimport Slice, slice_from, slice_iis, slice_of
from sipcore.stack.identity cimport BRANCH_TEXT, TOKEN_TEXT
from sipcore.stack.listener cimport MAX_LISTENERS, Listener, choose_listener, make_listener
from sipcore.stack.routing cimport Routing, plan_routing
from sipcore.stack.verdict cimport Request, Target, Verdict
from sipcore.wire.edit cimport (
    Edit, edit_begin, edit_delete, edit_insert, edit_number, edit_replace, edit_room, edit_size, edit_text,
)
from sipcore.wire.index cimport (
    FORM_FOLDED, FORM_SPACED, FORM_VERSION, KIND_RESPONSE, NO_HEADER, Header, Msg, header_value, msg_find, msg_has,
)
from sipcore.wire.host cimport host_address
from sipcore.wire.tables cimport (
    H_CONTENT_LENGTH, H_MAX_FORWARDS, H_RECORD_ROUTE, H_VIA, METHOD_INVITE, METHOD_REFER, METHOD_SUBSCRIBE,
    header_compact,
)
from sipcore.wire.values cimport msg_max_forwards
from sipcore.wire.via cimport RPORT_ABSENT
cimport sipcore.stack.verdict as verdict_module

cdef Slice _CRLF = slice_of(<const uint8_t*>b"\r\n", 2)
cdef Slice _SPACE = slice_of(<const uint8_t*>b" ", 1)


cdef void _delete_routes(Edit* e, const Msg* m, const Routing* r, uint32_t first, uint32_t stop) noexcept nogil:
    """Take Route values first..stop off: whole lines where nothing of them is left."""
    cdef uint32_t i = first, k, total, gone
    cdef const Header* h
    cdef uint32_t begin, end, of_line = r.count + (1 if r.to_uri else 0)
    while i < stop:
        h = &m.headers[r.values[i].header]
        k = i
        while k < stop and r.values[k].header == r.values[i].header:
            k += 1
        gone = k - i
        total = 0
        for begin in range(of_line):
            if r.values[begin].header == r.values[i].header:
                total += 1
        if gone == total:
            edit_delete(e, h.name, h.end - h.name)
        elif k < of_line and r.values[k].header == r.values[i].header:
            begin = <uint32_t>(r.values[i].item.p - m.base)
            end = <uint32_t>(r.values[k].item.p - m.base)
            edit_delete(e, begin, end - begin)
        else:
            # The last ones of their line: from the end of the value before, with its comma.
            begin = <uint32_t>(r.values[i - 1].item.p - m.base) + r.values[i - 1].item.n
            edit_delete(e, begin, <uint32_t>h.value + h.value_n - begin)
        i = k


cdef void plan_via_source(Edit* e, Msg* m, const Address* source) noexcept nogil:
    """Write where the request came from into its topmost Via (RFC 3261 18.2.1, RFC 3581 4)."""
    cdef Address sent_by
    cdef bint differs
    cdef uint8_t* room
    cdef uint8_t* o
    cdef Slice text
    sent_by.family = 0
    sent_by.transport = source.transport
    differs = (host_address(m.via.host, m.via.host_kind, m.via.quad, &sent_by) != 0
               or not address_same_host(&sent_by, source))
    if m.via.received_text.n:
        # Whatever the sender claims, only we know where it came from.
        differs = True
        o = <uint8_t*>m.via.received_text.p
        while o[0] != c';':
            o -= 1
        edit_delete(e, <uint32_t>(o - m.base), <uint32_t>(m.via.received_text.p - o) + m.via.received_text.n)
    if not differs and m.via.rport == RPORT_ABSENT:
        return
    room = edit_room(e, 32 + ADDRESS_TEXT)
    if room == NULL:
        return
    o = room
    memcpy(o, b";received=", 10)
    o += 10
    o += render_ip(source, o, False)
    text = edit_text(e, room, o)
    edit_insert(e, <uint32_t>(m.via.text.p - m.base) + m.via.text.n, text)
    if m.via.rport != RPORT_ABSENT:
        room = edit_room(e, 16)
        if room == NULL:
            return
        memcpy(room, b"rport=", 6)
        text = edit_text(e, room, room + 6)
        text.n += edit_number(e, source.port).n
        edit_replace(e, <uint32_t>(m.via.rport_text.p - m.base), m.via.rport_text.n, text)


cdef void plan_normal_form(Edit* e, const Msg* m, uint64_t ids=0) noexcept nogil:
    """Folds become one space, space before a colon goes, and the version is in upper case (RFC 3261 7.1): no next hop
    can read them in another way. ids: a bit for each id (all below 64) of the headers that go out, 0: all do."""
    cdef uint32_t i, at, end, begin
    cdef const uint8_t* p = m.base
    cdef const Header* h
    if not m.forms:
        return
    if m.forms & FORM_VERSION:
        at = m.start if m.kind == KIND_RESPONSE else m.start_end - 9
        edit_replace(e, at, 3, slice_of(<const uint8_t*>b"SIP", 3))
    for i in range(m.count):
        h = &m.headers[i]
        if ids and (h.id >= 64 or not ids >> h.id & 1):
            continue
        if h.form & FORM_SPACED:
            begin = h.name + h.name_n
            at = begin
            while p[at] != c':':
                at += 1
            edit_delete(e, begin, at - begin)
        if h.form & FORM_FOLDED:
            at = h.name + h.name_n
            end = h.end - 2
            while at < end:
                if p[at] == 13:
                    begin = at
                    while begin > h.name and (p[begin - 1] == c' ' or p[begin - 1] == c'\t'):
                        begin -= 1
                    at += 2
                    while at < end and (p[at] == c' ' or p[at] == c'\t'):
                        at += 1
                    edit_replace(e, begin, at - begin, _SPACE)
                else:
                    at += 1


cdef void plan_body(Edit* e, const Msg* m, Slice body) noexcept nogil:
    """Another body of the same type, with its Content-Length."""
    cdef Slice text = edit_number(e, body.n)
    cdef uint32_t i = m.first[H_CONTENT_LENGTH]
    edit_replace(e, m.body, m.n - m.body, body)
    if i != NO_HEADER:
        edit_replace(e, m.headers[i].value, m.headers[i].value_n, text)
    else:
        edit_insert(e, m.body - 2, slice_of(<const uint8_t*>b"Content-Length: ", 16))
        edit_insert(e, m.body - 2, text)
        edit_insert(e, m.body - 2, _CRLF)


cdef void _compact(Edit* e, const Msg* m) noexcept nogil:
    cdef uint32_t i
    cdef Slice short
    for i in range(m.count):
        short = header_compact(m.headers[i].id)
        if short.n and m.headers[i].name_n > 1:
            edit_replace(e, m.headers[i].name, m.headers[i].name_n, short)


cdef void _put_record_route(Edit* e, uint32_t at, const Listener* listener, Slice token, bint secure) noexcept nogil:
    cdef bint sips = secure and listener.secure_route_n > 0
    cdef uint32_t n = listener.secure_route_n if sips else listener.record_route_n
    cdef uint8_t* room = edit_room(e, n + TOKEN_TEXT + 3)
    cdef uint8_t* o = room
    if room == NULL:
        return
    if sips:
        memcpy(o, listener.secure_route, n)
    else:
        memcpy(o, listener.record_route, n)
    o += n
    memcpy(o, token.p, token.n)
    o += token.n
    memcpy(o, b">\r\n", 3)
    edit_insert(e, at, edit_text(e, room, o + 3))


cdef inline bint _is_sips(Slice uri) noexcept nogil:
    return uri.n > 5 and slice_iis(slice_of(uri.p, 5), b"sips:", 5)


cdef int plan_request(Edit* e, Msg* m, const Routing* r, const Passage* passage, Verdict verdict,
                      Target target) except -1:
    """Fill e with all that changes in the request. verdict is None inside a dialog, target may be None.

    The values that the plan needs (request URI, top Via) must parse; callers have checked that. The texts that
    patches point to belong to the message, the passage, the verdict and the edit itself.
    """
    cdef uint32_t at, i, gone
    cdef uint8_t* room
    cdef uint8_t* o
    cdef Slice text, uri
    cdef bint short_names = verdict is not None and verdict.compact
    cdef bint secure
    cdef bytes name, value
    edit_begin(e, m.base, m.start, m.n)

    # Request URI: another target's, the verdict's, or what the routing rules made of it.
    uri = r.uri
    if target is not None and target.uri:
        uri = slice_from(target.uri)
    elif verdict is not None and verdict.uri:
        uri = slice_from(verdict.uri)
    text = r.next_hop if r.strict else uri
    if text.p != m.uri_text.p:
        edit_replace(e, <uint32_t>(m.uri_text.p - m.base), m.uri_text.n, text)

    # Our Via, above all others; our Record-Route, above all others.
    at = m.headers[m.first[H_VIA]].name
    if msg_has(m, H_RECORD_ROUTE) and m.headers[m.first[H_RECORD_ROUTE]].name < at:
        at = m.headers[m.first[H_RECORD_ROUTE]].name
    room = edit_room(e, passage.listener_out.via_n + BRANCH_TEXT + 2)
    if room != NULL:
        o = room
        if short_names:
            o[0] = c'v'
            memcpy(o + 1, &passage.listener_out.via[3], passage.listener_out.via_n - 3)
            o += passage.listener_out.via_n - 2
        else:
            memcpy(o, passage.listener_out.via, passage.listener_out.via_n)
            o += passage.listener_out.via_n
        memcpy(o, passage.branch.p, passage.branch.n)
        o += passage.branch.n
        memcpy(o, b"\r\n", 2)
        edit_insert(e, at, edit_text(e, room, o + 2))
    if passage.token.n:
        secure = _is_sips(m.uri_text) or _is_sips(text) or _is_sips(r.next_hop)
        _put_record_route(e, at, passage.listener_route, passage.token, secure)
        if passage.listener_in != passage.listener_route:
            # RFC 5658: one for each side, the side that the request left by on top.
            _put_record_route(e, at, passage.listener_in, passage.token, secure)
    plan_via_source(e, m, passage.source)

    if msg_has(m, H_MAX_FORWARDS):
        msg_max_forwards(m)
        text = header_value(m, m.first[H_MAX_FORWARDS])
        edit_replace(e, <uint32_t>(text.p - m.base), text.n, edit_number(e, m.max_forwards - 1))
    else:
        edit_insert(e, at, slice_of(<const uint8_t*>b"Max-Forwards: 70\r\n", 18))

    # What adjoins goes in one piece: a patch that begins inside another one's cut is void.
    gone = r.own + (1 if r.strict else 0)
    if r.to_uri and gone < r.count:
        _delete_routes(e, m, r, r.count, r.count + 1)
    elif r.to_uri:
        gone += 1
    _delete_routes(e, m, r, 0, gone)
    if r.strict:
        # 16.6 step 6: the next hop takes the place of the request URI, which goes to the end of the route set.
        room = edit_room(e, uri.n + 12)
        if room != NULL:
            o = room
            memcpy(o, b"Route: <", 8)
            memcpy(o + 8, uri.p, uri.n)
            o += 8 + uri.n
            memcpy(o, b">\r\n", 3)
            edit_insert(e, m.body - 2, edit_text(e, room, o + 3))

    if verdict is not None:
        for name, value in verdict.replacements:
            i = msg_find(m, slice_from(name))
            if i != NO_HEADER:
                edit_replace(e, m.headers[i].value, m.headers[i].value_n, slice_from(value))
        if verdict.insert:
            edit_insert(e, m.body - 2, slice_from(verdict.insert))
        if verdict.removals is not None:
            verdict.removals.remove(e, m)
        if short_names:
            _compact(e, m)
    if passage.body != NULL:
        plan_body(e, m, passage.body[0])
    elif verdict is not None and verdict.body is not None:
        value = verdict.body
        plan_body(e, m, slice_from(value))
    plan_normal_form(e, m)
    return 0


cdef uint32_t _planned_size(Request request, Verdict verdict, int i) except? 0:
    """size_with: the plan of a first request through the default listener of Request.parse, or the real one."""
    cdef Edit* e = &_scratch_edit
    cdef Routing* r = &_scratch_routing
    cdef Passage passage
    cdef Msg* m = <Msg*>request.msg
    cdef Target target = request.towards
    cdef uint8_t filler[BRANCH_TEXT]
    cdef int out
    cdef uint32_t listener = _listener_count if request.listener < 0 else <uint32_t>request.listener
    if target is None and i < len(verdict.targets):
        target = verdict.targets[i]
    if listener >= _listener_count:
        raise ValueError(f"no listener of number {request.listener}")
    if plan_routing(m, r, _listeners, _listener_count):
        raise ValueError("a Route value does not parse")
    memset(filler, c'-', BRANCH_TEXT)
    passage.listener_in = &_listeners[listener]
    passage.listener_out = passage.listener_in
    if target is not None:
        out = choose_listener(_listeners, _listener_count, &target.address, listener, target.listener)
        if out >= 0:
            passage.listener_out = &_listeners[out]
    passage.listener_route = passage.listener_out
    passage.source = &request.source_address
    passage.branch = slice_of(filler, BRANCH_TEXT)
    passage.token = slice_of(filler, 0)
    if not request.in_dialog and verdict.record_route \
            and (m.method == METHOD_INVITE or m.method == METHOD_SUBSCRIBE or m.method == METHOD_REFER):
        passage.token.n = TOKEN_TEXT
    passage.body = NULL
    plan_request(e, m, r, &passage, verdict, target)
    if request.realms is not None:
        request.realms.remove(e, m)
    if request.internal is not None:
        request.internal.remove(e, m)
    return _with_growth(m, edit_size(e), verdict, request.body_growth) if request.body_replaced else edit_size(e)


cdef uint32_t _with_growth(const Msg* m, uint32_t size, Verdict verdict, int growth) noexcept:
    """The size with another body, so many bytes longer, its Content-Length counted too."""
    cdef uint32_t body = m.n - m.body
    if verdict.body is not None:
        body = <uint32_t>len(<bytes>verdict.body)
    elif msg_has(m, H_CONTENT_LENGTH):
        # As it was written, which may be with leading zeros.
        size += _digits(body) - m.headers[m.first[H_CONTENT_LENGTH]].value_n
    else:
        size += 18 + _digits(body)
    return size + growth + _digits(body + growth) - _digits(body)


cdef uint32_t _digits(uint32_t value) noexcept nogil:
    cdef uint32_t n = 1
    while value > 9:
        value //= 10
        n += 1
    return n


cdef Edit _scratch_edit
cdef Routing _scratch_routing
cdef Listener _listeners[MAX_LISTENERS]
cdef uint32_t _listener_count = 0


def use_listeners(listeners):
    """Set the (bound host, port, advertised host, port[, transport]) list that Request.size_with reckons with."""
    global _listener_count
    cdef Address bound, advertised
    cdef uint32_t n = 0
    for host, port, public_host, public_port, *transport in listeners:
        if n == MAX_LISTENERS:
            raise ValueError(f"more than {MAX_LISTENERS} listeners")
        address_from(host, port, &bound)
        address_from(public_host, public_port, &advertised)
        bound.transport = <uint8_t>transport_number(transport[0]) if transport else 0
        make_listener(&_listeners[n], &bound, &advertised)
        n += 1
    _listener_count = n


verdict_module.planned_size = _planned_size
use_listeners([("127.0.0.1", 5060, "127.0.0.1", 5060)])
