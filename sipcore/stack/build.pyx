"""Responses (RFC 3261 8.2.6), and the ACK and CANCEL that share their INVITE's branch (17.1.1.3, 9.1).

Each is the request's own bytes with the start line replaced and all that does not belong taken out: what a peer
sent comes back to it unchanged, in its own spelling.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice, slice_of
from sipcore.stack.plan cimport plan_normal_form, plan_via_source
from sipcore.wire.edit cimport (
    MAX_PATCHES, Edit, edit_begin, edit_delete, edit_insert, edit_replace, edit_room, edit_text,
)
from sipcore.wire.index cimport FORM_REFUSED, NO_HEADER, Header, Msg, header_value
from sipcore.wire.tables cimport (
    H_CALL_ID, H_CSEQ, H_FROM, H_MAX_FORWARDS, H_RECORD_ROUTE, H_ROUTE, H_TIMESTAMP, H_TO, H_VIA, HEADER_SINGLE,
    header_flags, reason_phrase,
)
from sipcore.wire.values cimport msg_to, msg_via

cdef Slice _SPACE = slice_of(<const uint8_t*>b" ", 1)
cdef Slice _NO_BODY = slice_of(<const uint8_t*>b"Content-Length: 0\r\n\r\n", 21)


cdef inline uint64_t _bit(int id) noexcept nogil:
    return <uint64_t>1 << id


cdef inline bint _stays(const Msg* m, uint32_t i, uint64_t ids) noexcept nogil:
    """Whether header i is among the ids, and does not repeat one that stands once: that may be why the message was
    refused."""
    cdef uint8_t id = m.headers[i].id
    return id < 64 and ids >> id & 1 and not (
        m.forms & FORM_REFUSED and header_flags(id) & HEADER_SINGLE and m.first[id] != i)


cdef void _blank_controls(Edit* e, const Msg* m, uint64_t ids) noexcept nogil:
    """Put a space in place of each run of control characters (folds, too) in what stays of a refused message: what made
    it ambiguous does not go back into the network. Where there are too many of them, their header ends there."""
    cdef uint32_t i, at, begin, end
    cdef const uint8_t* p = m.base
    for i in range(m.count):
        if not _stays(m, i, ids):
            continue
        at = m.headers[i].name + m.headers[i].name_n
        end = m.headers[i].end - 2
        while at < end:
            begin = at
            while at < end and (p[at] < 32 or p[at] == 127):
                at += 1
            if at > begin and e.count > MAX_PATCHES // 2:
                edit_delete(e, begin, end - begin)
                break
            if at > begin:
                edit_replace(e, begin, at - begin, _SPACE)
            at += 1


cdef void _keep_headers(Edit* e, const Msg* m, uint64_t ids, Slice headers) noexcept nogil:
    """Take out the body and every header whose id is not among the ids (all below 64); put header lines in."""
    cdef uint32_t i, begin = 0
    cdef bint gap = False
    for i in range(m.count):
        if _stays(m, i, ids):
            if gap:
                edit_delete(e, begin, m.headers[i].name - begin)
                gap = False
        elif not gap:
            begin = m.headers[i].name
            gap = True
    if not gap:
        begin = m.headers[m.count - 1].end if m.count else m.start_end
    edit_insert(e, begin, headers)
    edit_replace(e, begin, e.n - begin, _NO_BODY)


cdef void plan_response(Edit* e, Msg* m, uint32_t status, Slice reason, Slice headers, Slice tag,
                        const Address* source, int form) noexcept nogil:
    """An answer without a body to the request m.

    reason: empty for the registered phrase. headers: complete lines to add. tag: put on To where it has none
    (100 takes none). source: where the request came from; not used with RESPONSE_STORED, whose Vias are amended
    already. Works on a malformed request too, as far as its headers were indexed.
    """
    cdef uint8_t* room
    cdef uint8_t* o
    cdef uint64_t ids = _bit(H_VIA) | _bit(H_FROM) | _bit(H_TO) | _bit(H_CALL_ID) | _bit(H_CSEQ)
    cdef const Header* via
    edit_begin(e, m.base, m.start, m.n)
    if reason.n == 0:
        reason = reason_phrase(status)
    room = edit_room(e, reason.n + 16)
    if room == NULL:
        return
    o = room
    memcpy(o, b"SIP/2.0 ", 8)
    o[8] = <uint8_t>(c'0' + status // 100)
    o[9] = <uint8_t>(c'0' + status // 10 % 10)
    o[10] = <uint8_t>(c'0' + status % 10)
    o[11] = c' '
    o += 12
    memcpy(o, reason.p, reason.n)
    o += reason.n
    memcpy(o, b"\r\n", 2)
    edit_replace(e, m.start, m.start_end - m.start, edit_text(e, room, o + 2))
    if form & RESPONSE_DIALOG:
        ids |= _bit(H_RECORD_ROUTE)
    if status == 100:
        ids |= _bit(H_TIMESTAMP)
    if m.first[H_VIA] != NO_HEADER:
        if form & RESPONSE_STORED:
            via = &m.headers[m.first[H_VIA]]
            edit_delete(e, via.name, via.end - via.name)
        elif msg_via(m) == 0:
            plan_via_source(e, m, source)
    if tag.n and status != 100 and m.first[H_TO] != NO_HEADER and (msg_to(m) != 0 or m.to.tag.n == 0):
        room = edit_room(e, tag.n + 5)
        if room != NULL:
            memcpy(room, b";tag=", 5)
            memcpy(room + 5, tag.p, tag.n)
            edit_insert(e, <uint32_t>m.headers[m.first[H_TO]].value + m.headers[m.first[H_TO]].value_n,
                        edit_text(e, room, room + 5 + tag.n))
    if m.forms & FORM_REFUSED:
        _blank_controls(e, m, ids)
    else:
        plan_normal_form(e, m, ids)
    _keep_headers(e, m, ids, headers)


cdef void plan_sibling(Edit* e, const Msg* invite, Slice method, const Msg* response, Slice lines) noexcept nogil:
    """The ACK to a final response that is no 2xx, or (response NULL) the CANCEL, of an INVITE as we sent it.

    Same request URI, topmost Via, Route set, From, Call-ID and CSeq number; To as the response has it.
    lines: complete header lines to add, or empty.
    """
    cdef const Header* h
    cdef Slice text
    cdef uint32_t i, at
    edit_begin(e, invite.base, invite.start, invite.n)
    edit_replace(e, invite.start, invite.method_text.n, method)
    h = &invite.headers[invite.first[H_CSEQ]]
    edit_replace(e, <uint32_t>(invite.cseq_method.p - invite.base), invite.cseq_method.n, method)
    if response != NULL and response.first[H_TO] != NO_HEADER:
        h = &invite.headers[invite.first[H_TO]]
        text = header_value(response, response.first[H_TO])
        edit_replace(e, h.value, h.value_n, text)
    # Only the topmost Via stays; it is a line of its own, because we wrote it.
    i = invite.headers[invite.first[H_VIA]].next
    while i != NO_HEADER:
        at = invite.headers[i].name
        edit_delete(e, at, invite.headers[i].end - at)
        i = invite.headers[i].next
    _keep_headers(e, invite, _bit(H_VIA) | _bit(H_FROM) | _bit(H_TO) | _bit(H_CALL_ID) | _bit(H_CSEQ)
                  | _bit(H_ROUTE) | _bit(H_MAX_FORWARDS), lines if lines.n else slice_of(invite.base, 0))
