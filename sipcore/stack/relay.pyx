"""A forwarded request's way back: responses, CANCEL, time-outs (RFC 3261 16.7-16.10)."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from sipcore.base.address cimport SCOPE_FLOW, Address, TRANSPORT_UDP, address_host, address_same_host
from sipcore.base.slice cimport Slice, slice_bytes, slice_empty, slice_from, slice_of
from sipcore.stack.counters cimport *
from sipcore.stack.failover cimport Failover, Search, keep_best
from sipcore.stack.mediahook cimport HOOK_LEAVE, HOOK_REPLACE, Passing
from sipcore.stack.plan cimport plan_body, plan_normal_form
from sipcore.stack.record cimport CALL_ID_KEPT, Record
from sipcore.stack.servertx cimport server_on_response
from sipcore.stack.tx cimport (
    CLIENT_CALLING, CLIENT_PROCEEDING, CLIENT_TERMINATED, NO_RECORD, NO_TX, SERVER_PROCEEDING, SERVER_TERMINATED,
    SERVER_TRYING, STEP_PASS, TX_BEGINS, TX_CANCELLED, TX_CANCEL_SENT, TX_GAVE_UP, TX_HEARD, TX_MEDIA, TX_OVERTIME,
    TX_SENT_100, Tx,
)
from sipcore.wire.edit cimport edit_begin, edit_delete, edit_replace
from sipcore.wire.index cimport NO_HEADER, Msg, index_message, msg_value
from sipcore.wire.tables cimport H_CALL_ID, H_REASON, H_VIA, METHOD_INVITE, METHOD_REGISTER
from sipcore.wire.values cimport msg_check

cdef tuple _RETOLD = (415, 488, 606)    # what may be said of an offer's profile


cdef class Relay(Failover):
    """Carries responses back, and decides whether the next target is tried."""

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
                keep_best(search, &self.msg, self.group)
                if search.refused and status == 482:
                    # Whoever it reached by UDP behind the target takes our second INVITE for the first (8.2.2.2).
                    self._finish(owner, search.refused, b"", b"")
                    return
                if status >= 600:
                    # 16.7 step 5: nobody else is asked.
                    search.next = <int>len(search.targets)
                    self._cancel_all(owner, slot, slice_empty())
                if status == 503 and not tx.flags & TX_GAVE_UP and not self.slab[owner].flags & TX_CANCELLED \
                        and self._try_next(owner):
                    return
                # 16.7 step 4: not before the others are done, but nobody waits for a target that never said a word.
                if self._still_trying(owner, slot, tx.flags & TX_GAVE_UP and search.status < 600):
                    return
                self._cancel_all(owner, slot, slice_empty())
                self._end_with_best(owner, search, tx.flags & TX_OVERTIME)
                return
            self._pass_failure(owner, search, tx.flags & TX_OVERTIME)
            return
        if self.media is not None:
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
                if self.slab[owner].record != NO_RECORD and self.slab[owner].flags & TX_BEGINS:
                    self.records.slab[self.slab[owner].record].callee = tx.target
                    self._count_at(self.slab[owner].record, &tx.target)
            self._relay(owner, status, self.slab[owner].method != METHOD_INVITE,
                        &body if outcome == HOOK_REPLACE else NULL)
            self._note_response(owner, status)
            if self.flows is not None and self.slab[owner].method == METHOD_REGISTER:
                self._note_flow(owner)
            if slot != owner:
                self.settle(owner)
                self.rearm(owner)
        elif self.slab[owner].method == METHOD_INVITE:
            # 16.7 step 5: a 2xx always goes upstream, also after another final response did.
            self.counters[C_LATE_ANSWERS] += 1
            self._relay(owner, status, False, &body if outcome == HOOK_REPLACE else NULL)

    cdef void _pass_failure(self, uint32_t owner, Search search, bint overtime) noexcept:
        """self.msg, a final response of 300-699, ends the request. overtime: of a target that Timer C has given up."""
        cdef Tx* tx = &self.slab[owner]
        cdef uint32_t status = self.msg.status
        cdef Slice body
        cdef int outcome = HOOK_LEAVE
        if status == 408 and tx.method != METHOD_INVITE:
            # RFC 4320 4.2: no 408 ever goes back for a request that is no INVITE.
            self._finish(owner, 0, b"", b"")
            return
        if overtime and status == 487:
            # We cancelled for Timer C; the caller did not, and hears that nobody answered.
            self._finish(owner, 408, b"", b"")
            return
        if not server_on_response(tx, status, self.now, &self.timers) & STEP_PASS:
            return
        if search is not None:
            search.settled = True
        if tx.flags & TX_MEDIA:
            self._void_offer(owner)
            outcome = self._refusal_body(&body)
        self._relay(owner, 500 if status == 503 else status, True, &body if outcome == HOOK_REPLACE else NULL)
        self._note_response(owner, status)
        self.settle(owner)
        self.rearm(owner)

    cdef void _end_with_best(self, uint32_t owner, Search search, bint overtime) noexcept:
        """No target has taken the request: the best of their answers goes back (16.7 step 6)."""
        if search.best is None:
            self._finish(owner, 500 if search.status == 503 else search.status, b"", b"")
            return
        self.group = search.best_group
        # Copied from what was indexed before.
        index_message(&self.msg, slice_from(search.best).p, <uint32_t>len(search.best), &self.limits)
        msg_check(&self.msg)
        self._pass_failure(owner, search, overtime)

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
            self._end_with_best(owner, search, False)
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
