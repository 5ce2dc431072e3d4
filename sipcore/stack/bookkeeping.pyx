"""What is remembered of the dialogs that are forwarded: calls and how they ended, REFERs and what became of them."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from sipcore.base.address cimport Address, SCOPE_FLOW, TRANSPORT_UDP
from sipcore.base.siphash cimport siphash13
from sipcore.base.slice cimport Slice, slice_bytes, slice_from, slice_of
from sipcore.stack.counters cimport *
from sipcore.stack.record cimport (
    CALL_ID_KEPT, ENDED_CALLEE, ENDED_CALLER, ENDED_DURATION, ENDED_MEDIA, ENDED_NOT, ENDED_REFUSED, ENDED_STOP,
    ENDED_TIMEOUT, MAX_REFERS, RECORD_ENDED, RECORD_ENDING, RECORD_FREE, RECORD_RINGING, RECORD_TRYING, RECORD_UP,
    REFER_COMPLETED, REFER_FAILED, REFER_REFUSED, REFER_UNKNOWN, Record, Records, Refer, USER_KEPT,
)
from sipcore.stack.refer cimport refer_answered, refer_notified, refer_pending, refer_sent, refers_pending
from sipcore.stack.tx cimport NO_RECORD, TX_BEGINS, TX_CANCELLED, TX_ENDS, TX_REFER, Tx
from sipcore.stack.useragent cimport UserAgent
from sipcore.stack.verdict cimport Verdict
from sipcore.wire.index cimport Msg, msg_value
from sipcore.wire.tables cimport H_CALL_ID, H_REFER_TO, METHOD_BYE, METHOD_NOTIFY, METHOD_REFER
from sipcore.wire.uri cimport Uri, parse_uri
from sipcore.wire.values cimport msg_to

import json


cdef uint8_t _keep_user(uint8_t* to, Slice user) noexcept nogil:
    """Keep the beginning of a user part; how many bytes. A URI without one has no place either."""
    cdef uint8_t n = <uint8_t>min(user.n, <uint32_t>USER_KEPT)
    if n:
        memcpy(to, user.p, n)
    return n


cdef inline uint32_t _refer_number(Records records, uint32_t record_slot, const Refer* refer) noexcept:
    return record_slot * MAX_REFERS + <uint32_t>(refer - records.slab[record_slot].refers)


cdef class Bookkeeper(UserAgent):
    """A UserAgent that keeps a record of each forwarded dialog."""

    def finish(self, uint64_t now):
        """Write the log lines of the calls that are still up when the edge stops.

        False: the journal is full and calls are left; empty it and call again.
        """
        cdef uint32_t i
        self.now = now
        for i in range(self.records.fresh):
            if RECORD_FREE < self.records.slab[i].state < RECORD_ENDED:
                if not self.records.journal.has_room():
                    return False
                self._end_call(i, ENDED_STOP, self.records.slab[i].status)
        return True

    cdef void expire(self, uint64_t now) noexcept:
        cdef uint32_t ids[64]
        cdef int n, i
        UserAgent.expire(self, now)
        n = self.records.wheel.expire(now, ids, 64)
        for i in range(n):
            self._stop_waiting(ids[i])

    cdef uint64_t next_deadline(self) noexcept nogil:
        cdef uint64_t a = UserAgent.next_deadline(self), b = self.records.wheel.next_deadline()
        return a if a < b else b

    def end_silent(self, uint32_t record_slot, uint32_t generation, uint64_t now):
        """End the call of a record whose media has stopped: its ports and its place are given back, its line is logged.

        Nothing is sent: a proxy originates nothing inside a dialog. False where the call is over already.
        """
        cdef Record* r = self.records.get(record_slot, generation)
        if r == NULL or r.state == RECORD_ENDED:
            return False
        self.now = now
        self.counters[C_CALLS_ENDED] += 1
        self._end_call(record_slot, ENDED_MEDIA, r.status)
        return True

    def calls(self, int upstream):
        """Concurrent calls of an upstream."""
        return self.records.calls[upstream] if 0 <= upstream < 256 else 0

    cdef void _open_record(self, uint32_t record_slot, const Address* source, Verdict verdict) noexcept:
        cdef Record* r = &self.records.slab[record_slot]
        cdef Msg* m = &self.msg
        cdef Slice text = msg_value(m, H_CALL_ID)
        cdef Uri uri
        r.began = self.now
        r.caller = source[0]
        if verdict.nat and source.transport == TRANSPORT_UDP:
            r.caller.scope |= SCOPE_FLOW
        r.group = <short>self.group
        r.upstream = <short>verdict.upstream
        r.call_id_n = <uint8_t>min(text.n, CALL_ID_KEPT)
        memcpy(r.call_id, text.p, r.call_id_n)
        if parse_uri(m.from_.uri, &uri) == 0:
            r.from_n = _keep_user(r.from_user, uri.user)
        r.to_n = _keep_user(r.to_user, m.uri.user)
        r.caller_tag = self._tag_hash(m.from_.tag)
        if verdict.max_duration:
            r.expires = self.now + <uint64_t>verdict.max_duration * 1000
        self.records.up += 1
        if 0 <= verdict.upstream < 256:
            self.records.calls[verdict.upstream] += 1
        if verdict.note:
            self.notes[record_slot] = verdict.note.encode("utf-8", "replace")
        self._arm_record(record_slot)

    cdef void _count_at(self, uint32_t record_slot, const Address* target) noexcept:
        """The call of a record is at this target from now on; NULL: it is over."""
        cdef Record* r = &self.records.slab[record_slot]
        cdef uint16_t number = self.targets.find(target) if target != NULL else 0
        if r.target == number:
            return
        if r.target:
            self.targets.cells[r.target].calls -= 1
        if number:
            self.targets.cells[number].calls += 1
            self.targets.cells[number].begun += 1
        r.target = number

    cdef uint32_t _tag_hash(self, Slice tag) noexcept:
        return <uint32_t>siphash13(&self.identity.table_key, tag.p, tag.n)

    cdef void _arm_record(self, uint32_t record_slot) noexcept:
        cdef Record* r = &self.records.slab[record_slot]
        cdef uint64_t at = r.expires if r.state < RECORD_ENDED else 0
        cdef int i
        for i in range(MAX_REFERS):
            if refer_pending(&r.refers[i]) and (at == 0 or r.began + r.refers[i].until < at):
                at = r.began + r.refers[i].until
        if at:
            self.records.wheel.arm(record_slot, at)
        else:
            self.records.wheel.disarm(record_slot)

    cdef void _drop_record(self, uint32_t record_slot) noexcept:
        """Free a record without a log line (its INVITE never left)."""
        cdef Record* r = &self.records.slab[record_slot]
        self.notes.pop(record_slot, None)
        if r.media:
            self.media.end(r.media, False)
        self._count_at(record_slot, NULL)
        self.records.up -= 1
        if 0 <= r.upstream < 256:
            self.records.calls[r.upstream] -= 1
        self._close_record(record_slot)

    cdef void _close_record(self, uint32_t record_slot) noexcept:
        """Free a record. The transactions that would still tell it something must not tell the next one."""
        cdef Record* r = &self.records.slab[record_slot]
        cdef uint32_t slots[2 + MAX_REFERS]
        cdef uint32_t i
        slots[0] = r.begin_tx
        slots[1] = r.end_tx
        for i in range(MAX_REFERS):
            slots[2 + i] = r.refers[i].tx
        for i in range(2 + MAX_REFERS):
            if slots[i] < self.fresh and self.slab[slots[i]].record == record_slot:
                self.slab[slots[i]].record = NO_RECORD
        self.records.close(record_slot)

    cdef void _note_request(self, uint32_t slot, uint32_t record_slot, Verdict verdict) noexcept:
        """An in-dialog request passed: BYE ends the call, REFER and NOTIFY are followed."""
        cdef Msg* m = &self.msg
        cdef Record* r = &self.records.slab[record_slot]
        cdef Tx* tx = &self.slab[slot]
        cdef bint by_caller
        cdef Refer* refer
        cdef int i
        if m.method != METHOD_BYE and m.method != METHOD_REFER and m.method != METHOD_NOTIFY:
            return
        by_caller = self._tag_hash(m.from_.tag) == r.caller_tag
        if m.method == METHOD_BYE and r.state < RECORD_UP:
            # RFC 3261 15: the caller leaves an early dialog. Others may be answered: the INVITE's end is the call's.
            if by_caller:
                r.ended_by = ENDED_CALLER
                r.callee_tag = self._tag_hash(m.to.tag)
        elif m.method == METHOD_BYE:
            if r.callee_tag and self._tag_hash(m.to.tag if by_caller else m.from_.tag) != r.callee_tag:
                # RFC 3261 13.2.2.4: a fork whose 2xx came second is told goodbye, the call goes on.
                return
            if r.state < RECORD_ENDING:
                r.state = RECORD_ENDING
                r.ended_by = ENDED_CALLER if by_caller else ENDED_CALLEE
                tx.flags |= TX_ENDS
                tx.record = record_slot
                r.end_tx = slot
                for i in range(MAX_REFERS):
                    if refer_pending(&r.refers[i]) and r.refers[i].by_caller != by_caller:
                        # transfers.md 7.6: the referee leaves without having said how it went.
                        r.refers[i].state = REFER_UNKNOWN
                        self._refer_over(record_slot, &r.refers[i])
        elif m.method == METHOD_REFER:
            refer = refer_sent(r, m.cseq, by_caller)
            if refer != NULL:
                tx.flags |= TX_REFER
                tx.record = record_slot
                refer.tx = slot
                refer.until = <uint32_t>(self.now - r.began + self.outcome_ms)
                self._describe(record_slot, refer, tx.request_n, verdict)
                self._arm_record(record_slot)
        else:
            refer = refer_notified(r, m, by_caller)
            if refer != NULL and not refer_pending(refer):
                self._refer_over(record_slot, refer)

    cdef void _describe(self, uint32_t record_slot, Refer* refer, uint32_t size, Verdict verdict) noexcept:
        """Keep what the line of a REFER says of it besides its outcome, as members of a JSON object."""
        target = slice_bytes(msg_value(&self.msg, H_REFER_TO)).partition(b"?")[0].strip(b"<>")[:120]
        cdef dict about = {"target": target.decode("utf-8", "replace"), "size": size}
        if verdict is not None and verdict.budget:
            about["budget"] = verdict.budget
        if verdict is not None and verdict.note:
            about["note"] = verdict.note[:300]
        members = json.dumps(about, separators=(",", ":"))[1:-1]
        self.refer_notes[_refer_number(self.records, record_slot, refer)] = f",{members}".encode()

    cdef void _refer_over(self, uint32_t record_slot, Refer* refer) noexcept:
        """A followed REFER has its outcome: count it, log it, and let an ended record go."""
        cdef Record* r = &self.records.slab[record_slot]
        cdef bytes about = self.refer_notes.pop(_refer_number(self.records, record_slot, refer), b"")
        if refer.state == REFER_COMPLETED:
            self.counters[C_REFERS_COMPLETED] += 1
        elif refer.state == REFER_FAILED:
            self.counters[C_REFERS_FAILED] += 1
        elif refer.state == REFER_REFUSED:
            self.counters[C_REFERS_REFUSED] += 1
        else:
            self.counters[C_REFERS_UNKNOWN] += 1
        self.records.write_refer(r, refer, self.now, slice_from(about))
        if r.state == RECORD_ENDED and not refers_pending(r):
            self._close_record(record_slot)
        else:
            self._arm_record(record_slot)

    cdef void _note_response(self, uint32_t slot, uint32_t status) noexcept:
        """A response went upstream (or none ever will): ringing, answer, end of the call, answer to a REFER."""
        cdef Tx* tx = &self.slab[slot]
        cdef Record* r
        cdef Refer* refer
        cdef bint left
        if tx.record == NO_RECORD or not tx.flags & (TX_BEGINS | TX_ENDS | TX_REFER):
            return
        r = &self.records.slab[tx.record]
        if tx.flags & TX_BEGINS:
            left = status == 487 and r.ended_by == ENDED_CALLER
            if 200 <= status < 300 and r.state < RECORD_UP and msg_to(&self.msg) == 0:
                # Was it the dialog that the caller has left? Then its answer only crossed the BYE.
                left = r.ended_by == ENDED_CALLER and r.callee_tag == self._tag_hash(self.msg.to.tag)
                r.ended_by = ENDED_NOT
                r.callee_tag = self._tag_hash(self.msg.to.tag)
            self._note_begun(tx.record, status, left or tx.flags & TX_CANCELLED)
            if left and status < 300:
                self.counters[C_CALLS_ENDED] += 1
                self._end_call(tx.record, ENDED_CALLER, status)
        elif status >= 200 and tx.flags & TX_ENDS:
            if r.state != RECORD_ENDING:
                return
            if status == 401 or status == 407:
                # The BYE will come again with credentials; until then the call is up.
                r.state = RECORD_UP
                r.ended_by = ENDED_NOT
                return
            self.counters[C_CALLS_ENDED] += 1
            self._end_call(tx.record, r.ended_by, r.status)
        elif status >= 200 and status != 408:
            # 408: nobody knows whether the REFER arrived. A NOTIFY may tell, or the bounded wait ends.
            refer = refer_answered(r, slot, status)
            if refer != NULL:
                if status < 300:
                    self.counters[C_REFERS_ACCEPTED] += 1
                elif refer.state == REFER_REFUSED:
                    self._refer_over(tx.record, refer)

    cdef void _note_begun(self, uint32_t record_slot, uint32_t status, bint cancelled) noexcept:
        """The INVITE that begins a call was answered, as its caller sees it: it rings, is up, or has failed."""
        cdef Record* r = &self.records.slab[record_slot]
        if status < 200:
            if not r.rang:
                r.rang = True
                r.ring_ms = <uint32_t>(self.now - r.began)
            if r.state == RECORD_TRYING:
                r.state = RECORD_RINGING
        elif r.state >= RECORD_UP:
            return
        elif status < 300:
            r.state = RECORD_UP
            r.status = <uint16_t>status
            r.answered = self.now
            self.counters[C_CALLS_ANSWERED] += 1
        else:
            self.counters[C_CALLS_FAILED] += 1
            self._end_call(record_slot, ENDED_CALLER if cancelled
                           else ENDED_TIMEOUT if status == 408 else ENDED_REFUSED, status)

    cdef void _end_call(self, uint32_t record_slot, int by, uint32_t status) noexcept:
        """Log the call, and free its record unless the outcome of a REFER is still awaited."""
        cdef Record* r = &self.records.slab[record_slot]
        cdef bytes note
        cdef Slice media = slice_of(r.call_id, 0)
        if r.state == RECORD_ENDED or r.state == RECORD_FREE:
            return
        if r.media:
            media = self.media.end(r.media, self.records.journal.enabled)
            r.media = 0
        elif self.figures:
            media = slice_from(self.figures)
        r.ended_by = <uint8_t>by
        r.status = <uint16_t>status
        note = self.notes.pop(record_slot, b"") if self.notes else b""
        self.records.write_call(r, self.now, slice_from(note), media)
        self._count_at(record_slot, NULL)
        self.records.up -= 1
        if 0 <= r.upstream < 256:
            self.records.calls[r.upstream] -= 1
        r.state = RECORD_ENDED
        if refers_pending(r):
            self._arm_record(record_slot)
        else:
            self._close_record(record_slot)

    cdef void _stop_waiting(self, uint32_t record_slot) noexcept:
        """A record's time is up: its maximum duration, or the bounded wait for a REFER's outcome."""
        cdef Record* r = &self.records.slab[record_slot]
        cdef int i
        if r.state == RECORD_FREE:
            return
        for i in range(MAX_REFERS):
            if (r.state != RECORD_FREE and refer_pending(&r.refers[i])
                    and self.now >= r.began + r.refers[i].until):
                r.refers[i].state = REFER_UNKNOWN
                self._refer_over(record_slot, &r.refers[i])
        if r.state != RECORD_FREE and r.state < RECORD_ENDED and r.expires and self.now >= r.expires:
            self.counters[C_CALLS_EXPIRED] += 1
            self._end_call(record_slot, ENDED_DURATION, r.status)
        elif r.state != RECORD_FREE:
            self._arm_record(record_slot)
