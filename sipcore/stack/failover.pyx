"""A request's copies: planned for a target, and the serial search over further targets (RFC 3261 16.5, 16.6).

A request that is too big for UDP may go to its target by TCP first; where no connection comes about, the search goes on
with that target by UDP, under the verdict that the size policy made for that case.
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from cpython.ref cimport PyObject, Py_INCREF
from sipcore.base.address cimport Address, TRANSPORT_TCP, TRANSPORT_UDP, is_secure
from sipcore.base.slice cimport Slice, slice_bytes, slice_of
from sipcore.stack.anchoring cimport Anchoring
from sipcore.stack.counters cimport *
from sipcore.stack.identity cimport BRANCH_TEXT, NO_SLOT, TOKEN_TEXT
from sipcore.stack.listener cimport choose_listener
from sipcore.stack.mediahook cimport HOOK_REPLACE
from sipcore.stack.path cimport put_path
from sipcore.stack.plan cimport Passage, plan_request
from sipcore.stack.record cimport CALL_ID_KEPT, Record
from sipcore.stack.routing cimport plan_routing
from sipcore.stack.tx cimport (
    CLIENT_CALLING, CLIENT_PROCEEDING, NO_RECORD, NO_TX, ROLE_ATTEMPT, ROLE_PROXY, TX_BEGINS, TX_CANCELLED, Tx,
)
from sipcore.stack.verdict cimport ACTION_REJECT, Target, Verdict
from sipcore.wire.index cimport Msg, index_message, msg_value
from sipcore.wire.tables cimport H_CALL_ID, METHOD_INVITE, METHOD_REFER, METHOD_REGISTER, METHOD_SUBSCRIBE
from sipcore.wire.uri cimport SCHEME_SIPS
from sipcore.wire.values cimport msg_from, msg_to, msg_uri, msg_via

cdef enum:
    TRY_MS = 2000           # until the next address is tried, where no verdict says more


cdef class Search:
    pass


cdef bint _is_better(Search search, uint32_t status) noexcept:
    return search.status == 0 or status < search.status < 600 or status >= 600


cdef void keep_best(Search search, const Msg* m, int group) noexcept:
    """16.7 step 6: which final response counts where none of the targets takes the request. group: of who sent it."""
    if _is_better(search, m.status):
        search.best_group = group
        search.status = m.status
        search.best = slice_bytes(slice_of(m.base + m.start, m.n - m.start))


cdef class Failover(Anchoring):
    """Sends a request on, to the targets of a verdict one after the other."""

    cdef int _listener_for(self, const Address* to, uint32_t listener_in, int wanted) noexcept:
        return choose_listener(self.listeners, self.listener_count, to, listener_in, wanted)

    cdef int _plan(self, Msg* m, uint32_t slot, uint32_t loop, uint32_t listener, uint32_t out,
                   const Address* source, const Address* to, Verdict verdict, Target target, uint32_t record_slot,
                   bint in_dialog) except -1:
        """Fill self.edit for one target; 0, or the status that the media hook refuses the request with."""
        cdef Passage passage
        cdef Record* record
        cdef Slice body
        cdef int outcome
        cdef Address usual
        cdef int route = <int>out
        if verdict is not None and verdict.tcp and to.transport == TRANSPORT_TCP:
            # This request alone leaves so: what follows in the dialog, and its media, go as if it had not.
            usual = to[0]
            usual.transport = TRANSPORT_UDP
            route = self._listener_for(&usual, listener, target.listener if target is not None else -1)
            route = <int>out if route < 0 else route
        passage.body = NULL
        self.body_replaced = False
        self.body_growth = 0
        if record_slot != NO_RECORD and self.records.slab[record_slot].media:
            outcome = self._anchor_request(m, listener, <uint32_t>route, source, verdict,
                                           &self.records.slab[record_slot], not in_dialog, &body)
            if outcome > HOOK_REPLACE:
                self._tell_refused(m, outcome)
                return outcome
            if outcome == HOOK_REPLACE:
                passage.body = &body
        passage.listener_in = &self.listeners[listener]
        passage.listener_out = &self.listeners[out]
        passage.listener_route = &self.listeners[route]
        passage.source = source
        self.identity.put_branch(self.branch_text, slot, self.slab[slot].generation, loop)
        passage.branch = slice_of(self.branch_text, BRANCH_TEXT)
        passage.token = slice_of(self.token_text, 0)
        if not in_dialog and verdict is not None and verdict.record_route \
                and (m.method == METHOD_INVITE or m.method == METHOD_SUBSCRIBE or m.method == METHOD_REFER):
            if record_slot == NO_RECORD:
                self.identity.put_token(self.token_text, NO_SLOT, 0, msg_value(m, H_CALL_ID), False)
            else:
                record = &self.records.slab[record_slot]
                self.identity.put_token(self.token_text, record_slot, record.generation, msg_value(m, H_CALL_ID),
                                        record.media != 0)
            passage.token = slice_of(self.token_text, TOKEN_TEXT)
        plan_request(&self.edit, m, &self.routing, &passage, verdict, target)
        if m.method == METHOD_REGISTER and verdict is not None and verdict.nat:
            put_path(&self.edit, m, self.identity, listener, &self.listeners[out], source)
        self._strip(m, out, to)
        return 0

    cdef void _tell_refused(self, Msg* m, int status) noexcept:
        """A session description was refused: the log says why, and of which call."""
        if status != 491:
            call_id = slice_bytes(msg_value(m, H_CALL_ID))[:CALL_ID_KEPT].decode("ascii", "replace")
            self._trouble(f"session description refused with {status}: {self.media.reason.decode()}; Call-ID {call_id}")

    cdef void _strip(self, Msg* m, uint32_t listener, const Address* to) noexcept:
        """Take out credentials for realms of ours, and internal headers that do not pass."""
        if self.realms is not None:
            self.realms.remove(&self.edit, m)
        if self.internal is not None and not self._may_pass_internal(listener, to):
            self.internal.remove(&self.edit, m)

    cdef bint _may_pass_internal(self, uint32_t listener, const Address* to) noexcept:
        """Whether both the sender (of self.group) and the peer that it goes to are trusted with internal headers."""
        cdef int group = self.admission.group_of(listener, to)
        return (group >= 0 and self.admission.rules[group].trusted
                and self.group >= 0 and self.admission.rules[self.group].trusted)

    cdef uint32_t _open_search(self, uint32_t slot, Verdict verdict, tuple targets, uint32_t loop) noexcept:
        """Keep what further targets need, and open the first target's head; NO_TX where there is no room."""
        cdef Search search
        cdef uint32_t attempt
        if not self.keep_request(&self.slab[slot], self.msg.base + self.msg.start, self.msg.n - self.msg.start):
            return NO_TX
        attempt = self.open(ROLE_ATTEMPT, self.slab[slot].method)
        if attempt == NO_TX:
            return NO_TX
        self.slab[attempt].key = <uint64_t>self.slab[slot].generation << 32 | slot
        search = Search()
        search.verdict = search.decided = verdict
        search.targets = targets
        search.record = NO_RECORD
        search.loop = loop
        search.next = 1
        search.attempts = [attempt]
        search.group = self.group
        search.listed = self.listed
        search.upstream = verdict.upstream if verdict is not None else -1
        self.targets.earn(search.upstream)
        Py_INCREF(search)
        self.slab[slot].context = <void*><PyObject*>search
        return attempt

    cdef uint32_t _owner(self, uint32_t slot) noexcept:
        """The head with the server side of an attempt; NO_TX where it is gone."""
        cdef Tx* tx = &self.slab[slot]
        cdef uint32_t owner
        if tx.role == ROLE_PROXY:
            return slot
        owner = <uint32_t>(tx.key & 0xFFFFFFFF)
        if self.slab[owner].role != ROLE_PROXY or self.slab[owner].generation != <uint32_t>(tx.key >> 32):
            return NO_TX
        return owner

    cdef bint _is_attempt(self, uint32_t slot, uint32_t owner) noexcept:
        """Whether the head is still a client side of that server side."""
        return slot == owner or (self.slab[slot].role == ROLE_ATTEMPT and self._owner(slot) == owner)

    cdef void _cancel_all(self, uint32_t slot, uint32_t besides, Slice lines) noexcept:
        """CANCEL every attempt that was answered provisionally; the others when they are (9.1), without `lines`."""
        cdef uint32_t other
        if self.slab[slot].method != METHOD_INVITE:
            return
        attempts = (<Search>self.slab[slot].context).attempts if self.slab[slot].context != NULL else (slot,)
        for other in attempts:
            if other != besides and self._is_attempt(other, slot):
                self.slab[other].flags |= TX_CANCELLED
                if self.slab[other].client == CLIENT_PROCEEDING:
                    self.send_cancel(other, lines)

    cdef bint _still_trying(self, uint32_t owner, uint32_t besides, bint unheard) noexcept:
        """Whether another attempt may still be answered; unheard: one without a provisional answer counts too."""
        cdef uint32_t slot
        if (<Search>self.slab[owner].context).waiting:
            return True
        for slot in (<Search>self.slab[owner].context).attempts:
            if slot != besides and self._is_attempt(slot, owner) and (
                    self.slab[slot].client == CLIENT_PROCEEDING
                    or (unheard and self.slab[slot].client == CLIENT_CALLING)):
                return True
        return False

    cdef uint32_t _record_of(self, uint32_t owner, Search search) noexcept nogil:
        """The dialog record that a further request of a search belongs to, NO_RECORD for none."""
        if self.slab[owner].flags & TX_BEGINS:
            return self.slab[owner].record
        if search.record != NO_RECORD and self.records.get(search.record, search.record_generation) != NULL:
            return search.record
        return NO_RECORD

    cdef uint32_t _try_ms(self, Search search) noexcept:
        return search.verdict.try_timeout if search.verdict is not None else TRY_MS

    cdef Target _next_target(self, uint32_t owner, Search search):
        """The target that is to be tried now; None where none is left, or the search waits."""
        if search.next >= len(search.targets):
            return None
        search.next += 1
        return <Target>search.targets[search.next - 1]

    cdef bint _may_begin(self, uint32_t owner, const Address* to, Search search) except -1:
        """Whether the first request of a search that began with a name may go where it turned out to lead; or one that
        is offered again."""
        return True

    cdef bint _fits(self, uint32_t owner, uint32_t slot, int* out, Address* to, Target target,
                    Search search) except -1:
        """Whether the request in self.edit may go to a further target, made smaller where it is too big."""
        return True

    cdef bint _end_too_big(self, uint32_t owner, Search search) noexcept:
        """End a search with what the size policy refused a further target with; False where others are still tried."""
        return False

    cdef bint _try_next(self, uint32_t owner) noexcept:
        """Forward the request to the next target, or wait for what it is; False where none is left."""
        cdef Search search = <Search>self.slab[owner].context if self.slab[owner].context != NULL else None
        cdef Target target
        cdef Tx* tx = &self.slab[owner]
        cdef Address to
        cdef uint32_t slot
        cdef int out, status
        cdef bint again = search is not None and search.again
        cdef bint same = search is not None and search.by_tcp
        if same:
            search.by_tcp = False
            self._trouble(f"no connection by TCP; {search.verdict.warn or search.verdict.note}")
            if search.verdict.action == ACTION_REJECT:
                # The size policy refuses what no connection came about for.
                search.refusal = search.verdict
                return False
        elif search is not None:
            # By its own size, as if it were the first.
            search.again = False
            search.verdict = search.decided
        if search is not None and not same and not again and not search.begins and search.verdict is not None \
                and search.next < len(search.targets) \
                and not self.targets.may_retry(search.upstream, self.now):
            # It is not asked for again: the call ends with what its targets have answered.
            self.counters[C_RETRIES_REFUSED] += 1
            search.next = <int>len(search.targets)
            return False
        while search is not None:
            target = self._next_target(owner, search)
            if target is None:
                return search.waiting
            if search.refused and not again and not same:
                self._leave_refused(owner, search)
            to = target.address
            if target.name:
                to.scope = <uint32_t>self.names.number(target.name)
            out = self._listener_for(&to, tx.listener_in, target.listener)
            if out < 0:
                continue
            slot = self.open(ROLE_ATTEMPT, tx.method)
            if slot == NO_TX:
                return False
            self.group = search.group
            try:
                if (index_message(&self.stored, tx.request, tx.request_n, &self.limits) != 0
                        or msg_via(&self.stored) != 0 or msg_uri(&self.stored) != 0
                        or msg_to(&self.stored) != 0 or msg_from(&self.stored) != 0
                        or plan_routing(&self.stored, &self.routing, self.listeners, self.listener_count) != 0):
                    raise ValueError("the stored request does not parse")
                if self.stored.uri.scheme == SCHEME_SIPS and not is_secure(to.transport):
                    self._trouble("a target without TLS is passed over: sips needs it on every hop")
                    self.close(slot)
                    continue
                status = self._plan(&self.stored, slot, search.loop, tx.listener_in, <uint32_t>out, &tx.source, &to,
                                    search.verdict, target, self._record_of(owner, search),
                                    self.stored.to.tag.n > 0 and not tx.flags & TX_BEGINS)
                if status:
                    search.status = search.status or <uint16_t>status
                    raise ValueError(self.media.reason.decode("utf-8", "replace"))
                if (search.begins or again) and not self._may_begin(owner, &to, search):
                    self.close(slot)
                    return False
                if not same and not self._fits(owner, slot, &out, &to, target, search):
                    self.close(slot)
                    return not search.begins and not again and self._end_too_big(owner, search)
            except Exception as error:
                self._trouble(f"no failover: {type(error).__name__}: {error}")
                self.close(slot)
                return False
            if not self.send_request(&self.slab[slot], <uint32_t>out, &to):
                self.close(slot)
                return False
            self.counters[C_FORWARDED if search.begins or again else C_FAILOVERS] += 1
            search.begins = False
            if tx.flags & TX_BEGINS and tx.record != NO_RECORD:
                self._count_at(tx.record, &to)
            self.slab[slot].key = <uint64_t>tx.generation << 32 | owner
            if search.verdict is not None:
                self.slab[slot].ring = <uint16_t>min((search.verdict.ring_timeout + 999) // 1000, 65535)
            search.attempts.append(slot)
            if search.next + search.by_tcp < len(search.targets):
                self.slab[slot].until = self.now + self._try_ms(search)
            self.rearm(slot)
            return True
        return False

    cdef void _leave_refused(self, uint32_t owner, Search search) noexcept:
        """Another target has not refused anything yet: it is offered what the first one was."""
        cdef uint32_t record = self.slab[owner].record
        if _is_better(search, search.refused):
            search.status = search.refused
            search.best = None
        search.refused = 0
        if record != NO_RECORD and self.records.slab[record].media:
            self.media.on_other_target(self.records.slab[record].media)

    cdef bint _by_tcp(self, Address* to, int* out, uint32_t listener_in) noexcept:
        """Make a next hop by UDP one by TCP, and choose its listener; False where none reaches it so."""
        cdef Address other = to[0]
        cdef int found
        other.transport = TRANSPORT_TCP
        found = self._listener_for(&other, listener_in, -1) if to.transport == TRANSPORT_UDP else -1
        if found < 0:
            return False
        to[0] = other
        out[0] = found
        return True

    cdef void _try_tcp_first(self, Search search, Verdict verdict, int at) noexcept:
        """Note that the target of that index is being tried by TCP, and by UDP next where no connection comes about."""
        search.by_tcp = True
        search.next = at
        search.verdict = verdict.fallback

    cdef void _pass_tcp(self, Search search) noexcept:
        """There was a connection: whatever comes of it, its target is not tried by UDP."""
        if search.by_tcp:
            search.by_tcp = False
            search.next += 1

    cdef void _remember_record(self, Search search, uint32_t record_slot) noexcept:
        search.record = record_slot
        if record_slot != NO_RECORD:
            search.record_generation = self.records.slab[record_slot].generation

    cdef Target _target_at(self, const Address* to, int listener):
        """The target that an address along the Route or the request URI is."""
        cdef Target target = Target.__new__(Target)
        target.address = to[0]
        target.listener = listener
        target.uri = b""
        target.name = ""
        return target

    cdef void _undo(self, uint32_t slot, uint32_t record_slot, bint begins_call) noexcept:
        """Take a request back that was not sent."""
        cdef uint32_t attempt
        if begins_call:
            self._drop_record(record_slot)
        else:
            self._void_unsent(record_slot)
        if self.slab[slot].context != NULL:
            for attempt in (<Search>self.slab[slot].context).attempts:
                self.close(attempt)
        self.close(slot)
