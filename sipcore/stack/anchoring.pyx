"""What passes through a dialog whose media is anchored is shown to the media hook."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice, slice_equal, slice_from, slice_of
from sipcore.stack.bookkeeping cimport Bookkeeper
from sipcore.stack.mediahook cimport HOOK_LEAVE, HOOK_REPLACE, Passing
from sipcore.stack.record cimport CALL_ID_KEPT, RECORD_UP, Record
from sipcore.stack.tx cimport NO_RECORD, TX_BEGINS, TX_MEDIA, Tx
from sipcore.stack.verdict cimport Verdict
from sipcore.wire.index cimport Msg, index_message, msg_has, msg_value
from sipcore.wire.multipart cimport SDP_ABSENT, find_sdp
from sipcore.wire.tables cimport H_CALL_ID, H_RSEQ
from sipcore.wire.values cimport msg_cseq, msg_from, msg_to


cdef class Anchoring(Bookkeeper):
    """A Bookkeeper that asks the media hook."""

    cdef bint _begin_media(self, uint32_t record_slot, int profile) noexcept:
        cdef Record* record = &self.records.slab[record_slot]
        if self.media is None:
            return False
        record.media = self.media.begin(record_slot, record.generation, profile)
        return record.media != 0

    cdef bint _passing(self, Msg* m, Record* record, uint8_t method, Passing* p) noexcept:
        """What the media hook is told of a message; False where the record is not of its dialog."""
        cdef Slice call_id = msg_value(m, H_CALL_ID)
        call_id.n = min(call_id.n, CALL_ID_KEPT)
        if (not slice_equal(call_id, slice_of(record.call_id, record.call_id_n))
                or msg_from(m) != 0 or msg_to(m) != 0 or msg_cseq(m) != 0):
            return False
        p.call = record.media
        p.cseq = m.cseq
        p.status = m.status
        p.method = method
        p.side = 0 if self._tag_hash(m.from_.tag) == record.caller_tag else 1
        p.reliable = m.status > 100 and msg_has(m, H_RSEQ)
        p.early = False
        p.tag = self._tag_hash(m.to.tag) if m.status else 0
        return True

    cdef int _anchor_request(self, Msg* m, uint32_t listener, uint32_t out, const Address* source,
                             Verdict verdict, Record* record, bint begins, Slice* body) noexcept:
        """Show a request to the media hook as it would go out, and note how much longer its body becomes.

        begins: it is the INVITE that began the record.
        """
        cdef Passing p
        cdef int outcome
        cdef uint32_t before
        body[0] = slice_of(m.base + m.body, m.n - m.body)
        if verdict is not None and verdict.body is not None:
            body[0] = slice_from(<bytes>verdict.body)
        before = body.n
        if body.n == 0 or not self._passing(m, record, m.method, &p):
            return HOOK_LEAVE
        p.listener_in = <uint8_t>listener
        p.listener_out = <uint8_t>out
        p.source = source[0]
        p.early = begins
        outcome = self.media.on_request(m, &p, body)
        if outcome == HOOK_REPLACE:
            self.body_replaced = True
            self.body_growth = <int>body.n - <int>before
        return outcome

    cdef int _anchor_response(self, uint32_t slot, uint32_t owner, Slice* body) noexcept:
        """Show self.msg, which came for an attempt of owner, to the media hook."""
        cdef Msg* m = &self.msg
        cdef Tx* tx = &self.slab[owner]
        cdef Passing p
        if not tx.flags & TX_MEDIA:
            return HOOK_LEAVE
        body[0] = slice_of(m.base + m.body, m.n - m.body)
        if (tx.record == NO_RECORD or self.records.slab[tx.record].media == 0
                or not self._passing(m, &self.records.slab[tx.record], tx.method, &p)):
            # The call is over: nobody is told any more where its media would go.
            if body.n == 0:
                return HOOK_LEAVE
            body.n = 0
            return HOOK_REPLACE
        if body.n == 0:
            if m.status >= 200:
                self.media.on_refused(&p)
            return HOOK_LEAVE
        p.early = tx.flags & TX_BEGINS and self.records.slab[tx.record].state < RECORD_UP
        p.listener_in = self.slab[slot].listener_out
        p.listener_out = tx.listener_in
        p.source = self.slab[slot].target
        return self.media.on_response(m, &p, body)

    cdef void _void_offer(self, uint32_t owner) noexcept:
        """The INVITE, UPDATE or PRACK of a dialog with anchored media ended without an answer to its offer."""
        cdef Tx* tx = &self.slab[owner]
        cdef Record* record
        cdef Passing p
        if not tx.flags & TX_MEDIA or tx.flags & TX_BEGINS or tx.record == NO_RECORD or tx.request == NULL:
            return
        record = &self.records.slab[tx.record]
        if (record.media and index_message(&self.stored, tx.request, tx.request_n, &self.limits) == 0
                and self._passing(&self.stored, record, tx.method, &p)):
            self.media.on_refused(&p)

    cdef int _refusal_body(self, Slice* body) noexcept:
        """The body of self.msg, a refusal of what went through the media hook, as it goes back.

        A session description in it says what the far end could have done (RFC 3261 21.4.26), and where it is, which
        nobody beyond the edge is told: it is left out.
        """
        cdef Msg* m = &self.msg
        cdef Slice sdp
        body[0] = slice_of(m.base + m.body, m.n - m.body)
        if body.n == 0 or find_sdp(m, body[0], &sdp) == SDP_ABSENT:
            return HOOK_LEAVE
        body.n = 0
        return HOOK_REPLACE

    cdef void _void_unsent(self, uint32_t record_slot) noexcept:
        """self.msg, a request inside the dialog, is taken back after the media hook has seen it."""
        cdef Passing p
        if (record_slot != NO_RECORD and self.records.slab[record_slot].media
                and self._passing(&self.msg, &self.records.slab[record_slot], self.msg.method, &p)):
            self.media.on_refused(&p)
