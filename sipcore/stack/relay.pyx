"""A request's further copies and its way back: serial failover, responses, CANCEL, time-outs (RFC 3261 16.7-16.10).

A request that is too big for UDP may go to its target by TCP first; where no connection comes about, the search goes on
with that target by UDP, under the verdict that the size policy made for that case.

Long because what is tried next and what is told upstream are one decision.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from cpython.ref cimport PyObject, Py_INCREF
from sipcore.base.address cimport (
    SCOPE_FLOW, Address, TRANSPORT_TCP, TRANSPORT_UDP, address_host, address_same_host, is_secure,
)
from sipcore.base.slice cimport Slice, slice_bytes, slice_empty, slice_from, slice_of
from sipcore.stack.anchoring cimport Anchoring
from sipcore.stack.counters cimport *
from sipcore.stack.identity cimport BRANCH_TEXT, NO_SLOT, TOKEN_TEXT
from sipcore.stack.listener cimport choose_listener
from sipcore.stack.mediahook cimport HOOK_LEAVE, HOOK_REPLACE, Passing
from sipcore.stack.path cimport put_path
from sipcore.stack.plan cimport Passage, plan_body, plan_normal_form, plan_request, plan_routing
from sipcore.stack.record cimport CALL_ID_KEPT, Record
from sipcore.stack.servertx cimport server_on_response
from sipcore.stack.tx cimport (
    CLIENT_CALLING, CLIENT_PROCEEDING, CLIENT_TERMINATED, NO_RECORD, NO_TX, ROLE_ATTEMPT, ROLE_PROXY,
    SERVER_PROCEEDING, SERVER_TERMINATED, SERVER_TRYING, STEP_PASS, TX_BEGINS, TX_CANCELLED, TX_CANCEL_SENT,
    TX_GAVE_UP, TX_HEARD, TX_MEDIA, TX_OVERTIME, TX_SENT_100, Tx,
)
from sipcore.stack.verdict cimport ACTION_REJECT, Target, Verdict
from sipcore.wire.edit cimport edit_begin, edit_delete, edit_replace
from sipcore.wire.index cimport NO_HEADER, Msg, index_message, msg_value
from sipcore.wire.tables cimport (
    H_CALL_ID, H_REASON, H_VIA, METHOD_INVITE, METHOD_REFER, METHOD_REGISTER, METHOD_SUBSCRIBE,
)
from sipcore.wire.uri cimport SCHEME_SIPS
from sipcore.wire.values cimport msg_from, msg_to, msg_uri, msg_via

cdef enum:
    TRY_MS = 2000           # until the next address is tried, where no verdict says more

cdef tuple _RETOLD = (415, 488, 606)    # what may be said of an offer's profile


cdef class Search:
    pass


cdef void _keep_best(Search search, uint32_t status) noexcept:
    """16.7 step 6: which final response counts where none of the targets takes the request."""
    if search.status == 0 or status < search.status < 600 or status >= 600:
        search.status = <uint16_t>status


cdef class Relay(Anchoring):
    """Carries responses back and tries the targets of a verdict one after the other."""

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

    cdef void _note_flow(self, uint32_t owner) noexcept:
        """A registrar has taken a REGISTER that came over UDP."""
        cdef Tx* tx = &self.slab[owner]
        if tx.source.transport != TRANSPORT_UDP:
            return
        try:
            message = slice_bytes(slice_of(self.msg.base + self.msg.start, self.msg.n - self.msg.start))
            self.flows.note(tx.listener_in, address_host(&tx.source), tx.source.port, message, self.now)
        except Exception as error:
            self._trouble(f"no keepalive: {type(error).__name__}: {error}")

    cdef void _tell_refused(self, Msg* m, int status) noexcept:
        """A session description was refused: the log says why, and of which call."""
        if status != 491:
            call_id = slice_bytes(msg_value(m, H_CALL_ID))[:CALL_ID_KEPT].decode("ascii", "replace")
            self._trouble(f"session description refused with {status}: {self.media.reason.decode()}; Call-ID {call_id}")

    cdef void _strip(self, Msg* m, uint32_t listener, const Address* to) noexcept:
        """Take out credentials for realms of ours, and the internal headers of a message that goes to a peer which is
        not trusted with them."""
        cdef int group
        if self.realms is not None:
            self.realms.remove(&self.edit, m)
        if self.internal is not None:
            group = self.admission.group_of(listener, to)
            if group < 0 or not self.admission.rules[group].trusted:
                self.internal.remove(&self.edit, m)

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
        if verdict is not None:
            self.targets.earn(verdict.upstream)
        Py_INCREF(search)
        self.slab[slot].context = <void*><PyObject*>search
        return attempt

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

    cdef void on_cancel(self, uint32_t listener, const Address* source, uint32_t slot) noexcept:
        """RFC 3261 16.10. A CANCEL is believed only from the host that sent the INVITE."""
        cdef Tx* tx
        if slot == NO_TX or not address_same_host(source, &self.slab[slot].source):
            self.counters[C_STRAY_CANCELS] += 1
            if self.listed:
                self._refuse(listener, source, 481, b"", b"")
            return
        self._refuse(listener, source, 200, b"", b"")
        tx = &self.slab[slot]
        if tx.server != SERVER_TRYING and tx.server != SERVER_PROCEEDING:
            return
        if not tx.flags & TX_CANCELLED:
            self.counters[C_CANCELLED] += 1
        tx.flags |= TX_CANCELLED
        self._cancel_all(slot, NO_TX, self._reason_lines())

    cdef Slice _reason_lines(self) noexcept nogil:
        """Why the CANCEL at hand was sent (RFC 3326): its Reason lines as they came, the first ones that adjoin.

        A phone shows no missed call where it reads that another one has taken it.
        """
        cdef const Msg* m = &self.msg
        cdef uint32_t i = m.first[H_REASON], begin, end
        if i == NO_HEADER or m.forms:
            return slice_empty()
        begin = m.headers[i].name
        end = m.headers[i].end
        i = m.headers[i].next
        while i != NO_HEADER and m.headers[i].name == end:
            end = m.headers[i].end
            i = m.headers[i].next
        return slice_of(m.base + begin, end - begin)

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

    cdef void on_response(self, uint32_t slot) noexcept:
        """RFC 3261 16.7."""
        cdef Tx* tx = &self.slab[slot]
        cdef uint32_t status = self.msg.status, owner = self._owner(slot)
        cdef Search search = None
        cdef Slice body
        cdef int step, outcome = HOOK_LEAVE
        if tx.flags & TX_CANCELLED and status < 200:
            self.send_cancel(slot, slice_empty())
        if status == 100 or owner == NO_TX:
            return
        if self.slab[owner].context != NULL:
            search = <Search>self.slab[owner].context
        if status < 200:
            if search is not None and search.settled:
                return
            if self.media is not None:
                outcome = self._anchor_response(slot, owner, &body)
                if outcome > HOOK_REPLACE:
                    self._trouble(f"provisional response not forwarded: {self.media.reason.decode()}")
                    return
            step = server_on_response(&self.slab[owner], status, self.now, &self.timers)
            if step & STEP_PASS and self._relay(owner, status, True, &body if outcome == HOOK_REPLACE else NULL):
                self._note_response(owner, status)
            return
        if status >= 300:
            if search is not None and not search.settled:
                self._pass_tcp(search)
                if status in _RETOLD and self._retell(slot, owner, search):
                    return
                _keep_best(search, status)
                if search.refused and status == 482:
                    # Whoever it reached by UDP behind the target takes our second INVITE for the first (8.2.2.2).
                    self._finish(owner, search.refused, b"", b"")
                    return
                if status == 503 and not tx.flags & TX_GAVE_UP and not self.slab[owner].flags & TX_CANCELLED \
                        and self._try_next(owner):
                    return
                # 16.7 step 4: not before the others are done, but nobody waits for a target that never said a word.
                if self._still_trying(owner, slot, tx.flags & TX_GAVE_UP):
                    return
                if search.status >= 600 and status < 600:
                    self._finish(owner, search.status, b"", b"")
                    return
            if status == 408 and self.slab[owner].method != METHOD_INVITE:
                # RFC 4320 4.2: no 408 ever goes back for a request that is no INVITE.
                self._finish(owner, 0, b"", b"")
                return
            if tx.flags & TX_OVERTIME and status == 487:
                # We cancelled for Timer C; the caller did not, and hears that nobody answered.
                self._finish(owner, 408, b"", b"")
                return
        elif self.media is not None:
            outcome = self._anchor_response(slot, owner, &body)
            if outcome > HOOK_REPLACE:
                # The far end does not hear that its answer was of no use; without an ACK it gives up (13.3.1.4).
                self._tell_refused(&self.msg, outcome)
                self._finish(owner, <uint32_t>outcome, self.media.reason, self.media.headers)
                return
        step = server_on_response(&self.slab[owner], status, self.now, &self.timers)
        if search is not None:
            self._cancel_all(owner, slot, slice_empty())
        if step & STEP_PASS:
            if search is not None:
                search.settled = True
                if status < 300 and self.slab[owner].record != NO_RECORD and self.slab[owner].flags & TX_BEGINS:
                    self.records.slab[self.slab[owner].record].callee = tx.target
                    self._count_at(self.slab[owner].record, &tx.target)
            if status >= 300 and self.slab[owner].flags & TX_MEDIA:
                self._void_offer(owner)
                outcome = self._refusal_body(&body)
            self._relay(owner, 500 if status == 503 else status,
                        status >= 300 or self.slab[owner].method != METHOD_INVITE,
                        &body if outcome == HOOK_REPLACE else NULL)
            self._note_response(owner, status)
            if status < 300 and self.flows is not None and self.slab[owner].method == METHOD_REGISTER:
                self._note_flow(owner)
            if slot != owner:
                self.settle(owner)
                self.rearm(owner)
        elif status < 300 and self.slab[owner].method == METHOD_INVITE:
            # 16.7 step 5: a 2xx always goes upstream, also after another final response did.
            self.counters[C_LATE_ANSWERS] += 1
            self._relay(owner, status, False, &body if outcome == HOOK_REPLACE else NULL)

    cdef bint _retell(self, uint32_t slot, uint32_t owner, Search search) noexcept:
        """Send the INVITE that a target has refused there once more, where the media hook can tell its offer in another
        way; once a target.

        Not by UDP: a proxy cannot change CSeq, and until Timer I fires the target would take it for a merged request
        (8.2.2.2). Over a connection that timer is 0 (17.2.1): nothing is left of the first after its ACK.
        """
        cdef Tx* tx = &self.slab[owner]
        cdef Record* record
        cdef Passing p
        cdef uint32_t status = self.msg.status
        if (self.slab[slot].target.transport == TRANSPORT_UDP or search.refused or search.settled or search.waiting
                or search.next == 0 or search.attempts[len(search.attempts) - 1] != slot or tx.record == NO_RECORD
                or tx.flags & TX_CANCELLED or tx.flags & (TX_BEGINS | TX_MEDIA) != TX_BEGINS | TX_MEDIA):
            return False
        record = &self.records.slab[tx.record]
        if (record.media == 0 or not self._passing(&self.msg, record, METHOD_INVITE, &p)
                or not self.media.on_offer_refused(&self.msg, &p)):
            return False
        call_id = slice_bytes(msg_value(&self.msg, H_CALL_ID))[:CALL_ID_KEPT].decode("ascii", "replace")
        self._trouble(f"an offer of SRTP was refused with {status}: it is made in another profile; Call-ID {call_id}")
        search.refused = <uint16_t>status
        search.next -= 1
        search.again = True
        if not self._try_next(owner):
            # self.msg may be the request by now.
            self._finish(owner, status, b"", b"")
        return True

    cdef void _leave_refused(self, uint32_t owner, Search search) noexcept:
        """Another target has not refused anything yet: it is offered what the first one was."""
        cdef uint32_t record = self.slab[owner].record
        _keep_best(search, search.refused)
        search.refused = 0
        if record != NO_RECORD and self.records.slab[record].media:
            self.media.on_other_target(self.records.slab[record].media)

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

    cdef bint _relay(self, uint32_t slot, uint32_t status, bint keep, const Slice* body) noexcept:
        """Send self.msg upstream without our Via (16.7 steps 3 and 9); keep it where it may be asked for again.

        body: takes the place of its own, NULL where that stays.
        """
        cdef Msg* m = &self.msg
        cdef Tx* tx = &self.slab[slot]
        cdef uint32_t n, i = m.first[H_VIA]
        cdef uint8_t* room
        edit_begin(&self.edit, m.base, m.start, m.n)
        if m.via_rest.n:
            edit_delete(&self.edit, <uint32_t>(m.via.text.p - m.base), <uint32_t>(m.via_rest.p - m.via.text.p))
        elif m.headers[i].next != NO_HEADER:
            edit_delete(&self.edit, m.headers[i].name, <uint32_t>m.headers[i].end - m.headers[i].name)
        else:
            self.counters[C_STRAY_RESPONSES] += 1
            return False
        if status != m.status:
            # Proxied 503 becomes 500 (16.7 step 6); the reason stays what the far end wrote.
            edit_replace(&self.edit, m.start + 8, 3, slice_of(<const uint8_t*>b"500", 3))
        if body != NULL:
            plan_body(&self.edit, m, body[0])
        plan_normal_form(&self.edit, m)
        try:
            self._strip(m, tx.listener_in, &tx.source)
        except Exception as error:
            self._trouble(f"response not forwarded: {type(error).__name__}: {error}")
            return False
        room = self.render(tx.listener_in, &tx.source, &n)
        if room == NULL:
            return False
        self.counters[C_FORWARDED_RESPONSES] += 1
        if keep:
            self.keep_response(tx, room, n)
        return True

    cdef Target _next_target(self, uint32_t owner, Search search):
        """The target that is to be tried now; None where none is left, or the search waits."""
        if search.next >= len(search.targets):
            return None
        search.next += 1
        return <Target>search.targets[search.next - 1]

    cdef bint _may_begin(self, uint32_t owner, uint32_t slot, int* out, Address* to, Target target,
                         Search search) except -1:
        """Whether the first request of a search that began with a name may go where it turned out to lead, as it stands
        in self.edit; or one that is offered again. self.msg is the request then, maybe."""
        return True

    cdef uint32_t _record_of(self, uint32_t owner, Search search) noexcept nogil:
        """The dialog record that a further request of a search belongs to, NO_RECORD for none."""
        if self.slab[owner].flags & TX_BEGINS:
            return self.slab[owner].record
        if search.record != NO_RECORD and self.records.get(search.record, search.record_generation) != NULL:
            return search.record
        return NO_RECORD

    cdef uint32_t _try_ms(self, Search search) noexcept:
        return search.verdict.try_timeout if search.verdict is not None else TRY_MS

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
        if again:
            # By its own size, as if it were the first.
            search.again = False
            search.verdict = search.decided
        elif same:
            search.by_tcp = False
            self._trouble(f"no connection by TCP; {search.verdict.warn or search.verdict.note}")
        if search is not None and search.verdict is not None and search.verdict.action == ACTION_REJECT:
            # The size policy refuses what no connection came about for.
            search.refusal = search.verdict
            return False
        if search is not None and not same and not again and not search.begins and search.verdict is not None \
                and search.next < len(search.targets) \
                and not self.targets.may_retry(search.verdict.upstream, self.now):
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
            try:
                if (index_message(&self.stored, tx.request, tx.request_n, &self.limits) != 0
                        or msg_via(&self.stored) != 0 or msg_uri(&self.stored) != 0
                        or msg_to(&self.stored) != 0 or msg_from(&self.stored) != 0
                        or plan_routing(&self.stored, &self.routing, self.listeners, self.listener_count) != 0):
                    raise ValueError("the stored request does not parse")
                if self.stored.uri.scheme == SCHEME_SIPS and not is_secure(to.transport):
                    raise ValueError("sips needs TLS on every hop")
                status = self._plan(&self.stored, slot, search.loop, tx.listener_in, <uint32_t>out, &tx.source, &to,
                                    search.verdict, target, self._record_of(owner, search),
                                    self.stored.to.tag.n > 0 and not tx.flags & TX_BEGINS)
                if status:
                    search.status = search.status or <uint16_t>status
                    raise ValueError(self.media.reason.decode("utf-8", "replace"))
                if (search.begins or again) and not self._may_begin(owner, slot, &out, &to, target, search):
                    self.close(slot)
                    return False
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

    cdef void on_timeout(self, uint32_t slot, bint transport) noexcept:
        """try_timeout, Timers B, C and F, and transport errors (16.8, 16.9)."""
        cdef Tx* tx = &self.slab[slot]
        cdef uint32_t owner = self._owner(slot)
        cdef Search search = None
        cdef bint more, fresh
        if owner != NO_TX and self.slab[owner].context != NULL:
            search = <Search>self.slab[owner].context
        if search is not None and not transport:
            self._pass_tcp(search)
        more = search is not None and search.next < len(search.targets)
        fresh = not tx.flags & (TX_GAVE_UP | TX_HEARD)
        if more and fresh and not transport and (tx.client == CLIENT_CALLING or tx.method != METHOD_INVITE):
            # try_timeout has passed. Without any answer: go on, and keep listening for a late one.
            tx.until = self.now + 64 * self.timers.t1 - self._try_ms(search)
            if tx.client == CLIENT_PROCEEDING:
                tx.flags |= TX_HEARD
                return
            tx.flags |= TX_GAVE_UP
            if not search.settled and not self.slab[owner].flags & TX_CANCELLED:
                self._try_next(owner)
            return
        if tx.client == CLIENT_PROCEEDING and tx.method == METHOD_INVITE and not tx.flags & TX_CANCEL_SENT:
            tx.flags |= TX_OVERTIME
            self.send_cancel(slot, slice_empty())
            return
        tx.client = CLIENT_TERMINATED
        self.counters[C_TIMEOUTS] += not transport
        if owner == NO_TX or (search is not None and search.settled):
            return
        if more and fresh and not self.slab[owner].flags & TX_CANCELLED and self._try_next(owner):
            return
        if search is not None and self._still_trying(owner, slot, True):
            return
        if self.slab[owner].flags & TX_CANCELLED:
            self._finish(owner, 487, b"", b"")
        elif search is not None and search.refusal is not None:
            self._finish(owner, <uint32_t>search.refusal.status, search.refusal.reason.encode("ascii", "replace"),
                         search.refusal.headers)
        elif search is not None and search.status:
            self._finish(owner, 500 if search.status == 503 else search.status, b"", b"")
        elif transport and tx.target.transport != TRANSPORT_UDP and tx.target.scope & SCOPE_FLOW:
            # Whoever keeps a way to us over it may forget it (RFC 5626 5.3.1).
            self._finish(owner, 430, b"Flow Failed - its connection is gone", b"")
        elif transport:
            self._finish(owner, 503, b"Service Unavailable - target unreachable", b"")
        else:
            self._finish(owner, 408 if self.slab[owner].method == METHOD_INVITE else 0, b"", b"")

    cdef void _finish(self, uint32_t slot, uint32_t status, bytes reason, bytes headers) noexcept:
        """End a server transaction that no response of a target ends; status 0: without an answer (RFC 4320)."""
        cdef Tx* tx = &self.slab[slot]
        if tx.context != NULL:
            (<Search>tx.context).settled = True
            self._cancel_all(slot, NO_TX, slice_empty())
        if tx.server != SERVER_TRYING and tx.server != SERVER_PROCEEDING:
            return
        if tx.flags & TX_MEDIA:
            self._void_offer(slot)
        if status:
            self.respond(slot, status, slice_from(reason), slice_from(headers))
        if tx.server == SERVER_TRYING or tx.server == SERVER_PROCEEDING:
            tx.server = SERVER_TERMINATED
        self._note_response(slot, status if status else 408)
        self.settle(slot)
        self.rearm(slot)

    cdef void on_slow(self, uint32_t slot) noexcept:
        """RFC 4320 4.2: the sender of a request that is no INVITE learns in time that we are waiting."""
        cdef uint32_t owner = self._owner(slot)
        if owner != NO_TX and self.slab[owner].server == SERVER_TRYING and not self.slab[owner].flags & TX_SENT_100:
            self.slab[owner].flags |= TX_SENT_100
            self.respond(owner, 100, slice_empty(), slice_empty())

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
