"""Stateful forwarding of a request (RFC 3261 16.6), with Record-Route: its passage from where it goes to the 100.

Where a name stands that nobody knows yet, the passage begins without the copy, and waits. An ACK goes on its token,
without a transaction.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport SCOPE_FLOW, Address, TRANSPORT_UDP, is_secure
from sipcore.base.siphash cimport siphash13
from sipcore.base.slice cimport Slice, slice_empty, slice_from, slice_of
from sipcore.stack.counters cimport *
from sipcore.stack.failover cimport Search
from sipcore.stack.hop cimport HOP_NAME
from sipcore.stack.identity cimport BRANCH_TEXT, BranchParts, NO_SLOT, TAG_TEXT
from sipcore.stack.listener cimport is_listener
from sipcore.stack.mediahook cimport HOOK_LEAVE, HOOK_REPLACE
from sipcore.stack.plan cimport Passage, plan_request
from sipcore.stack.record cimport Record
from sipcore.stack.routing cimport plan_routing
from sipcore.stack.tx cimport NO_RECORD, NO_TX, ROLE_PROXY, SERVER_TRYING, TX_BEGINS, TX_MEDIA, Tx
from sipcore.stack.verdict cimport ACTION_FORWARD, ACTION_REJECT, Target, Verdict
from sipcore.wire.edit cimport edit_size
from sipcore.wire.index cimport Msg, msg_value
from sipcore.wire.tables cimport H_CALL_ID, METHOD_INVITE, METHOD_PRACK, METHOD_UPDATE
from sipcore.wire.uri cimport SCHEME_SIPS
from sipcore.wire.values cimport msg_max_forwards

from sipcore.base.place import Unresolved

cdef enum:
    # Bytes: BRANCH_TEXT, Max-Forwards, received and rport, the brackets around what a strict router takes out of Route.
    ACK_GROWTH = 256


cdef class Forwarding(Sizing):
    """Takes what Guarding takes."""

    cdef void _forward(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop,
                       Verdict verdict, uint32_t record_slot, bint in_dialog) noexcept:
        """RFC 3261 16.6: one copy to the first target, its server transaction opened, 100 for an INVITE; where a name
        stands there that nobody knows yet, the same without the copy."""
        cdef Msg* m = &self.msg
        cdef Target target = None
        cdef tuple targets = ()
        cdef Slice uri
        cdef Address to
        cdef int status = 0, out, wanted, flow = -1
        cdef bint by_tcp = False, retold = False
        cdef Verdict decided
        cdef Address noted
        cdef uint32_t slot, attempt, n
        cdef Tx* tx
        cdef Record* record = NULL if record_slot == NO_RECORD else &self.records.slab[record_slot]
        cdef bint begins_call = (verdict is not None and verdict.record_route and not in_dialog
                                 and m.method == METHOD_INVITE)
        wanted = self.routing.out if self.routing.out != 255 else -1
        if not in_dialog:
            flow = self._flow(&to)
        if flow >= 0:
            wanted = flow
        elif flow == -2:
            self.counters[C_FORGED_TOKENS] += 1
            self._refuse(listener, source, 403, b"", b"")
            return
        elif verdict is not None and verdict.targets and self.routing.own == self.routing.count:
            targets = verdict.targets
        else:
            uri = self.routing.next_hop
            if verdict is not None and verdict.uri and self.routing.own == self.routing.count:
                uri = slice_from(verdict.uri)
            status = self._resolve(uri, &to, record)
            if status == HOP_NAME:
                status = 0
                targets = (self._named(uri, wanted),)
            elif status == 0 and not in_dialog and self.routing.own == self.routing.count \
                    and is_listener(self.listeners, self.listener_count, &to):
                # It would come back to be decided in the same way again.
                self.counters[C_LOOPS] += 1
                self._refuse(listener, source, 482, b"", b"")
                return
        if targets:
            if m.uri.scheme == SCHEME_SIPS:
                targets = self._secured(targets)
            target = <Target>targets[0]
            if target.place is not None:
                try:
                    targets = self._as_known(targets, m)
                except Unresolved as unresolved:
                    self.counters[C_UNROUTABLE] += 1
                    self._refuse(listener, source, unresolved.status, unresolved.reason.encode("ascii", "replace"), b"")
                    return
                target = <Target>targets[0]
            to = target.address
            wanted = target.listener
            if target.name:
                to.scope = <uint32_t>self.names.number(target.name)
            if target.place is not None:
                self._wait(listener, source, key, loop, verdict, targets, record_slot, begins_call)
                return
        if status == 0:
            out = self._listener_for(&to, listener, wanted)
            if out < 0:
                status = 416 if m.uri.scheme == SCHEME_SIPS else 503
            elif m.uri.scheme == SCHEME_SIPS and not self._stays_secure(source, &to):
                status = 480
        if status:
            self.counters[C_UNROUTABLE] += 1
            self._refuse(listener, source, <uint32_t>status, self._no_way(status), b"")
            return
        if not self.listed and not self._may_go(&to, record):
            self.counters[C_UNLISTED_DROPPED] += 1
            self._refuse(listener, source, 403, b"", b"")
            return
        slot = self._open_passage(listener, source, verdict, begins_call, &record_slot)
        if slot == NO_TX:
            return
        tx = &self.slab[slot]
        attempt = slot
        if (begins_call and verdict.anchor and to.transport != TRANSPORT_UDP
                and self.media.retells(self.records.slab[record_slot].media)):
            # It may be sent there a second time.
            retold = True
            if not targets:
                targets = (self._target_at(&to, out),)
        if len(targets) > 1 or retold:
            attempt = self._open_search(slot, verdict, targets, loop)
            if attempt == NO_TX:
                self._undo(slot, record_slot, begins_call)
                self._refuse(listener, source, 503, b"", b"Retry-After: 10\r\n")
                return
        try:
            status = self._plan(m, attempt, loop, listener, <uint32_t>out, source, &to, verdict, target, record_slot,
                                in_dialog)
            n = edit_size(&self.edit)
            if (status == 0 and in_dialog and verdict is None and self.dialog_budget
                    and self._exceeds(&to, n, self.dialog_budget)):
                # What the dialog forwards without a decision is decided after all when it is big.
                verdict = self._decide(listener, source, True, record_slot)
                if verdict is not None and verdict.action != ACTION_FORWARD:
                    verdict = None
            if (status == 0 and verdict is not None and verdict.budget and self.oversize is not None
                    and self._exceeds(&to, n, verdict.budget)):
                decided = verdict
                verdict = self._shrink(listener, source, verdict, n, in_dialog, record_slot,
                                       target if target is not None else self._target_at(&to, out), out)
                if verdict.tcp and not targets:
                    targets = (self._target_at(&to, out),)
                by_tcp = verdict.tcp and self._by_tcp(&to, &out, listener)
                if verdict.tcp and not by_tcp:
                    verdict = verdict.fallback
                if verdict.action == ACTION_REJECT:
                    self.counters[C_OVERSIZE_REFUSED] += 1
                    self._undo(slot, record_slot, begins_call)
                    self._refuse(listener, source, <uint32_t>verdict.status,
                                 verdict.reason.encode("ascii", "replace"), verdict.headers)
                    return
                if by_tcp and attempt == slot:
                    attempt = self._open_search(slot, decided, targets, loop)
                    if attempt == NO_TX:
                        raise MemoryError("no room for a request that may have to be sent twice")
                    self._remember_record(<Search>tx.context, record_slot)
                if attempt != slot:
                    (<Search>tx.context).verdict = verdict
                    (<Search>tx.context).targets = targets
                if by_tcp:
                    self._try_tcp_first(<Search>tx.context, verdict, 0)
                status = self._plan(m, attempt, loop, listener, <uint32_t>out, source, &to, verdict, target,
                                    record_slot, in_dialog)
        except Exception as error:
            self.counters[C_DECIDE_ERRORS] += 1
            self._trouble(f"request not forwarded: {type(error).__name__}: {error}")
            self._undo(slot, record_slot, begins_call)
            self._refuse(listener, source, 500, b"", b"")
            return
        if status:
            self._undo(slot, record_slot, begins_call)
            self._refuse(listener, source, <uint32_t>status, self.media.reason, self.media.headers)
            return
        if not self.send_request(&self.slab[attempt], <uint32_t>out, &to):
            self._undo(slot, record_slot, begins_call)
            self._refuse(listener, source, 503, b"", b"Retry-After: 10\r\n")
            return
        self.counters[C_FORWARDED] += 1
        if verdict is not None:
            self.slab[attempt].ring = <uint16_t>min((verdict.ring_timeout + 999) // 1000, 65535)
        if begins_call:
            # By TCP for its size alone: the call is with who is reached by UDP.
            noted = to
            noted.transport = <uint8_t>(TRANSPORT_UDP if by_tcp else to.transport)
            self.records.slab[record_slot].callee = noted
            self._count_at(record_slot, &noted)
            if flow >= 0 and to.transport == TRANSPORT_UDP:
                self.records.slab[record_slot].callee.scope |= SCOPE_FLOW
        self._take_passage(slot, listener, source, key, verdict, record_slot, begins_call)
        if attempt != slot and len(targets) > 1:
            self.slab[attempt].until = self.now + self._try_ms(<Search>tx.context)
        self.rearm(attempt)
        if m.method == METHOD_INVITE:
            self.answer(listener, source, 100, slice_empty(), slice_empty())

    cdef uint32_t _open_passage(self, uint32_t listener, const Address* source, Verdict verdict, bint begins_call,
                                uint32_t* record_slot) noexcept:
        """A head for self.msg, and a record where it begins a call; NO_TX where there is no room, and its sender was
        told."""
        cdef uint32_t slot
        if begins_call and self._is_full(verdict):
            self.counters[C_CALLS_REFUSED] += 1
            self._refuse(listener, source, 503, b"Service Unavailable - concurrent call limit", b"Retry-After: 10\r\n")
            return NO_TX
        slot = self.open(ROLE_PROXY, self.msg.method)
        if slot == NO_TX:
            self._refuse(listener, source, 503, b"", b"Retry-After: 10\r\n")
            return NO_TX
        if begins_call:
            record_slot[0] = self.records.open()
            if record_slot[0] == NO_RECORD:
                self.counters[C_RECORDS_FULL] += 1
                self.close(slot)
                self._refuse(listener, source, 503, b"", b"Retry-After: 10\r\n")
                return NO_TX
            self._open_record(record_slot[0], source, verdict)
            if verdict.anchor and not self._begin_media(record_slot[0], verdict.anchor):
                self._undo(slot, record_slot[0], True)
                self._refuse(listener, source, 503, b"Service Unavailable - no room for its media",
                             b"Retry-After: 10\r\n")
                return NO_TX
        return slot

    cdef void _take_passage(self, uint32_t slot, uint32_t listener, const Address* source, uint64_t key,
                            Verdict verdict, uint32_t record_slot, bint begins_call) noexcept:
        """Begin the server side of a head, and note what self.msg begins or ends."""
        cdef Tx* tx = &self.slab[slot]
        cdef uint8_t method = self.msg.method
        tx.listener_in = <uint8_t>listener
        self.reply_address(source, &tx.source)
        tx.server = SERVER_TRYING
        self.remember(slot, key)
        if begins_call:
            tx.flags |= TX_BEGINS | TX_MEDIA if verdict.anchor else TX_BEGINS
            tx.record = record_slot
            self.records.slab[record_slot].begin_tx = slot
            self.counters[C_CALLS] += 1
        elif record_slot != NO_RECORD:
            self._note_request(slot, record_slot, verdict)
            if self.records.slab[record_slot].media and (
                    method == METHOD_INVITE or method == METHOD_UPDATE or method == METHOD_PRACK):
                tx.flags |= TX_MEDIA
                tx.record = record_slot

    cdef void _wait(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop, Verdict verdict,
                    tuple targets, uint32_t record_slot, bint begins_call) noexcept:
        """Take self.msg, and let it wait until the name that is its first target is known."""
        cdef Msg* m = &self.msg
        cdef uint32_t slot
        if m.uri.scheme == SCHEME_SIPS and not is_secure(source.transport):
            self._refuse(listener, source, 480, self._no_way(480), b"")
            return
        if not self._may_wait(source):
            self.counters[C_UNROUTABLE] += 1
            self._refuse(listener, source, 503, b"Service Unavailable - too many requests wait for names",
                         b"Retry-After: 5\r\n")
            return
        slot = self._open_passage(listener, source, verdict, begins_call, &record_slot)
        if slot == NO_TX:
            return
        if not self.keep_request(&self.slab[slot], m.base + m.start, m.n - m.start):
            self._undo(slot, record_slot, begins_call)
            self._refuse(listener, source, 503, b"", b"Retry-After: 10\r\n")
            return
        self._take_passage(slot, listener, source, key, verdict, record_slot, begins_call)
        if not self._seek(slot, verdict, targets, loop, record_slot):
            self._fail(slot)
        elif m.method == METHOD_INVITE:
            self.answer(listener, source, 100, slice_empty(), slice_empty())

    cdef bint _may_begin(self, uint32_t owner, const Address* to, Search search) except -1:
        """Who may send there, which `_forward` looks at where it knows the target from the start."""
        cdef Tx* tx = &self.slab[owner]
        cdef uint32_t record_slot = self._record_of(owner, search)
        if not search.listed and not self._may_go(
                to, NULL if record_slot == NO_RECORD else &self.records.slab[record_slot]):
            self.counters[C_UNLISTED_DROPPED] += 1
            search.status = 403
            return False
        if tx.flags & TX_BEGINS and record_slot != NO_RECORD:
            self.records.slab[record_slot].callee = to[0]
        return True

    cdef void on_ack(self, uint32_t listener, const Address* source, uint32_t slot, uint64_t key) noexcept:
        """The ACK to a 2xx: forwarded on its token, without a transaction (16.11); any other ends here."""
        cdef Msg* m = &self.msg
        cdef BranchParts parts
        cdef Passage passage
        cdef Address to
        cdef Slice body
        cdef int out, outcome
        cdef uint32_t n
        cdef Record* record
        if m.to.tag.n == TAG_TEXT and self.awaited and not self._goes_through(m) and self._ack_inside():
            return
        if (plan_routing(m, &self.routing, self.listeners, self.listener_count) != 0 or self.routing.token.n == 0
                or not self.identity.get_token(self.routing.token, msg_value(m, H_CALL_ID), &parts)
                or msg_max_forwards(m) != 0 or m.max_forwards == 0):
            self.counters[C_STRAY_ACKS] += 1
            return
        record = self.records.get(parts.slot, parts.generation) if parts.worker == self.identity.worker else NULL
        if not self._ack_way(&to, record) or (
                m.uri.scheme == SCHEME_SIPS and not self._stays_secure(source, &to)):
            self.counters[C_STRAY_ACKS] += 1
            return
        out = self._listener_for(&to, listener, self.routing.out if self.routing.out != 255 else -1)
        if out < 0 or (not self.listed and not self._may_go(&to, record)):
            self.counters[C_STRAY_ACKS] += 1
            return
        passage.listener_in = &self.listeners[listener]
        passage.listener_out = passage.listener_route = &self.listeners[out]
        passage.source = source
        # The same ACK again must get the same branch (16.11), which tells nobody where the table keeps what. That it
        # loops Max-Forwards alone says.
        key = siphash13(&self.identity.table_key, <uint8_t*>&key, sizeof(key))
        self.identity.put_branch(self.branch_text, NO_SLOT, <uint32_t>key, <uint32_t>(key >> 32))
        passage.branch = slice_of(self.branch_text, BRANCH_TEXT)
        passage.token = slice_of(self.token_text, 0)
        passage.body = NULL
        body.n = 0
        if record != NULL and record.media:
            outcome = self._anchor_request(m, listener, <uint32_t>out, source, None, record, False, &body)
            if outcome > HOOK_REPLACE:
                # An ACK cannot be refused: it goes on without the answer that makes no sense.
                self._trouble(f"answer in ACK left out: {self.media.reason.decode()}")
                body.n = 0
            if outcome != HOOK_LEAVE:
                passage.body = &body
        try:
            plan_request(&self.edit, m, &self.routing, &passage, None, None)
            self._strip(m, <uint32_t>out, &to)
            # Measured only where its size as it came, and the most that we add, are too much.
            n = m.n - m.start + passage.listener_out.via_n + ACK_GROWTH + body.n
            if self.dialog_budget and self._exceeds(&to, n, self.dialog_budget):
                self._shorten_ack(listener, source, parts.slot if record != NULL else NO_RECORD, &passage,
                                  <uint32_t>out, &to)
        except Exception as error:
            self._trouble(f"ACK not forwarded: {type(error).__name__}: {error}")
            return
        if self.render(<uint32_t>out, &to, &n) != NULL:
            self.counters[C_FORWARDED] += 1
