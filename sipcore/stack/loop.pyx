"""Loop detection: a hash in our branch says what decided on a request's way when it was here before.

Needs a Msg whose Via, From, To and CSeq were parsed.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.mix cimport mix, mix_text
from sipcore.base.slice cimport Slice
from sipcore.stack.identity cimport BRANCH_TEXT, BranchParts, Identity
from sipcore.wire.index cimport NO_HEADER, Msg, header_value, msg_value
from sipcore.wire.tables cimport H_CALL_ID, H_PROXY_AUTHORIZATION, H_PROXY_REQUIRE, H_ROUTE, H_VIA
from sipcore.wire.via cimport Via, parse_via


cdef inline uint64_t _mix_header(uint64_t h, const Msg* m, uint8_t id) noexcept nogil:
    cdef uint32_t i = m.first[id]
    while i != NO_HEADER:
        h = mix_text(h, m.base + m.headers[i].value, m.headers[i].value_n)
        i = m.headers[i].next
    return mix(h, id)


cdef uint32_t loop_hash(const Msg* m, uint32_t origin) noexcept nogil:
    """RFC 5393 4.2: what decides on a request's way, so that a loop repeats it and a spiral does not.

    origin: what else decides, of where the request came from (the group of its source, the listener).
    Not keyed: who makes two requests alike, and brings the branch of one to the other, has this one refused alone.
    """
    cdef Slice call_id = msg_value(m, H_CALL_ID)
    cdef uint64_t h = mix_text(<uint64_t>origin << 32 | m.cseq, m.uri_text.p, m.uri_text.n)
    h = mix_text(h, m.from_.tag.p, m.from_.tag.n)
    h = mix_text(h, m.to.tag.p, m.to.tag.n)
    h = mix_text(h, call_id.p, call_id.n)
    h = _mix_header(h, m, H_ROUTE)
    h = _mix_header(h, m, H_PROXY_REQUIRE)
    return <uint32_t>_mix_header(h, m, H_PROXY_AUTHORIZATION)


cdef bint has_looped(Identity identity, const Msg* m, uint32_t loop) noexcept nogil:
    """16.3 step 4: one of the Vias is ours and was written when the request was as it is now."""
    cdef uint32_t i = m.first[H_VIA]
    cdef Slice rest = m.via_rest
    cdef Via via = m.via
    cdef BranchParts parts
    while True:
        if via.branch.n == BRANCH_TEXT and identity.get_branch(via.branch, &parts) and parts.loop == loop:
            return True
        if rest.n == 0:
            i = m.headers[i].next
            if i == NO_HEADER:
                return False
            rest = header_value(m, i)
        if parse_via(&rest, &via) != 0:
            return False
