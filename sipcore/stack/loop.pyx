"""Loop detection: a hash in our branch says what decided on a request's way when it was here before.

Needs a Msg whose Via, From, To and CSeq were parsed.
"""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.siphash cimport (
    SipKey, SipState, siphash_final, siphash_init, siphash_update, siphash_update_word,
)
from sipcore.base.slice cimport Slice
from sipcore.stack.identity cimport BRANCH_TEXT, BranchParts, Identity
from sipcore.wire.index cimport NO_HEADER, Msg, header_value, msg_value
from sipcore.wire.tables cimport H_CALL_ID, H_PROXY_AUTHORIZATION, H_PROXY_REQUIRE, H_ROUTE, H_VIA
from sipcore.wire.via cimport Via, parse_via


cdef inline void _hash_header(SipState* s, const Msg* m, uint8_t id) noexcept nogil:
    cdef uint32_t i = m.first[id]
    while i != NO_HEADER:
        siphash_update(s, header_value(m, i).p, header_value(m, i).n)
        i = m.headers[i].next


cdef uint32_t loop_hash(const SipKey* key, const Msg* m) noexcept nogil:
    """RFC 5393 4.2: what decides on a request's way, so that a loop repeats it and a spiral does not."""
    cdef SipState s
    siphash_init(&s, key)
    siphash_update(&s, m.uri_text.p, m.uri_text.n)
    siphash_update(&s, m.from_.tag.p, m.from_.tag.n)
    siphash_update(&s, m.to.tag.p, m.to.tag.n)
    siphash_update(&s, msg_value(m, H_CALL_ID).p, msg_value(m, H_CALL_ID).n)
    siphash_update_word(&s, m.cseq)
    _hash_header(&s, m, H_ROUTE)
    _hash_header(&s, m, H_PROXY_REQUIRE)
    _hash_header(&s, m, H_PROXY_AUTHORIZATION)
    return <uint32_t>siphash_final(&s)


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
