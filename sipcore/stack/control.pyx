"""Controlled calls on an edge: their INVITE becomes a transaction of the edge's own, and so does what follows in their
dialogs.

Whose an in-dialog request is shows the tag in To. Where it has the form of one of ours, the dialog is looked up by
Call-ID and both tags, before anything that concerns forwarding; a proxied call pays one comparison of a length. An
unlisted peer has to prove that we were there before, as on proxied calls: by the keyed token of the Contact that its
request is addressed to.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport Address, address_same_host
from sipcore.base.slice cimport Slice, slice_bytes, slice_empty
from sipcore.stack.admission cimport ADMIT_FORBID
from sipcore.stack.callrecord cimport CallRecord
from sipcore.stack.counters cimport *
from sipcore.stack.record cimport RECORD_UP, Record
from sipcore.stack.seeking cimport Seeking
from sipcore.stack.tx cimport (
    CLIENT_CALLING, NO_RECORD, NO_TX, ROLE_ATTEMPT, ROLE_UAC, ROLE_UAS, SERVER_TRYING, TX_BEGINS, TX_GAVE_UP,
    TX_HEARD_OF, TX_PROBE, Tx,
)
from sipcore.stack.uas cimport ServerTransaction
from sipcore.stack.useragent cimport UserAgent
from sipcore.stack.verdict cimport ACTION_REJECT, SCOPE_GROUP, Verdict
from sipcore.wire.index cimport Msg, header_value, msg_has
from sipcore.wire.tables cimport H_RETRY_AFTER, METHOD_ACK, METHOD_COUNT, METHOD_INVITE, METHOD_OTHER
from sipcore.wire.uri cimport SCHEME_SIP, uri_param
from sipcore.wire.values cimport msg_from

from sipcore.wire.tables import METHODS


cdef class Controlling(Seeking):
    """A Seeking whose calls may begin and end here."""

    cdef Verdict _decide(self, uint32_t listener, const Address* source, bint in_dialog,
                         uint32_t record_slot=NO_RECORD):
        """The policy's Verdict, from the memo where it may come from there; None after an error in the policy.

        record_slot: of the dialog that self.msg is inside.
        """
        cdef Verdict verdict
        cdef Py_ssize_t place = -1
        cdef Slice flow
        cdef bint routed = not in_dialog and self.routing.own < self.routing.count and not self._has_flow(&flow)
        # What is remembered stands for sip: alone: sips: must not be sent on over UDP, nor tel: without a template.
        # Whether Route may lead elsewhere is asked each time.
        if not in_dialog and not routed and self.msg.method and self.msg.uri.scheme == SCHEME_SIP:
            place = (listener * self.admission.groups + self.group) * METHOD_COUNT + self.msg.method
            if place < len(self.memo) and self.memo[place] is not None:
                self.counters[C_DECIDED_BY_MEMO] += 1
                return <Verdict>self.memo[place]
        self.counters[C_DECIDED] += 1
        self.asked.point(&self.msg, self.group, <int>listener, source, in_dialog)
        self.asked.now = self.now
        self.asked.routed = routed
        self._know(record_slot)
        try:
            verdict = self.decide(self.asked)
            if verdict is None:
                raise TypeError("decide returned None, expected a Verdict")
        except Exception as error:
            self.counters[C_DECIDE_ERRORS] += 1
            self._trouble(f"decide failed: {type(error).__name__}: {error}")
            verdict = None
        self.asked.msg = NULL
        if verdict is not None and verdict.scope == SCOPE_GROUP and 0 <= place < len(self.memo):
            self.memo[place] = verdict
        return verdict

    cdef bint _has_flow(self, Slice* text) noexcept nogil:
        """Whether the first Route value is a Path of ours, which says where its phone is, and what lies behind it.

        text: what it says, not yet proven to be ours."""
        return self.routing.own > 0 and uri_param(&self.routing.values[0].uri, b"f", 1, text)

    cdef void _know(self, uint32_t record_slot) noexcept:
        """Tell self.asked who is at the other end of the dialog of self.msg."""
        cdef Record* record
        if record_slot == NO_RECORD or msg_from(&self.msg) != 0:
            return
        record = &self.records.slab[record_slot]
        self.asked.has_far = True
        if self._tag_hash(self.msg.from_.tag) == record.caller_tag:
            self.asked.far_address = record.callee
            self.asked.upstream = record.upstream
        else:
            self.asked.far_address = record.caller

    cdef void _stranger(self, uint32_t listener, const Address* source) noexcept:
        """An unlisted source that proved nothing: silence, or 403 where the configuration wants it."""
        self.counters[C_UNLISTED_DROPPED] += 1
        if (self.admission.unlisted_admittance == ADMIT_FORBID and self.msg.method != METHOD_ACK
                and self.admission.may_answer(self.now)):
            self._refuse(listener, source, 403, b"", b"")

    cdef bytes _allow(self, uint32_t methods):
        return b"Allow: " + ", ".join(
            METHODS[i] for i in range(1, METHOD_COUNT) if methods >> i & 1).encode() + b"\r\n"

    cdef bint _is_full(self, Verdict verdict) noexcept:
        """Whether one call more would be one too many: over all, or for the verdict's upstream."""
        return (self.max_calls and self.records.up >= self.max_calls) or (
            verdict.max_calls and 0 <= verdict.upstream < 256
            and self.records.calls[verdict.upstream] >= verdict.max_calls)

    cdef void _control(self, uint32_t listener, const Address* source, uint64_t key, Verdict verdict) noexcept:
        """An INVITE that begins a controlled call: its place among the calls, 100, and then it is its handler's."""
        cdef ServerTransaction server
        cdef uint32_t record_slot
        if self._is_full(verdict):
            self.counters[C_CALLS_REFUSED] += 1
            self._refuse(listener, source, 503, b"Service Unavailable - concurrent call limit", b"Retry-After: 10\r\n")
            return
        record_slot = self.records.open()
        if record_slot == NO_RECORD:
            self.counters[C_RECORDS_FULL] += 1
            self._refuse(listener, source, 503, b"", b"Retry-After: 10\r\n")
            return
        self._open_record(record_slot, source, verdict)
        # Its owner ends the call when its time is up, and says so.
        self.records.slab[record_slot].expires = 0
        self._arm_record(record_slot)
        server = self._take(listener, source, key, None)
        if server is None:
            self._drop_record(record_slot)
            return
        self.counters[C_CALLS] += 1
        server.verdict = verdict
        server.group = self.group
        server.record = CallRecord.of(self, record_slot)
        self.answer(listener, source, 100, slice_empty(), slice_empty())
        self._hand(server)

    cdef void on_silent(self, uint32_t slot) noexcept:
        if self.slab[slot].client == CLIENT_CALLING and not self.slab[slot].flags & TX_GAVE_UP:
            self._tell_of(slot, 0)
            self.slab[slot].flags |= TX_GAVE_UP

    cdef void on_responded(self, ServerTransaction server, uint32_t status) noexcept:
        cdef CallRecord record = <CallRecord>server.record
        cdef Record* r = self.records.get(record.slot, record.generation)
        if r == NULL or r.state >= RECORD_UP or status <= 100:
            return
        self._note_begun(record.slot, status, server.cancelled)

    cdef bint _knows_contact(self, const Msg* m) noexcept:
        """Whether the request URI carries the token of a Contact of this worker."""
        cdef Slice token
        cdef uint8_t worker
        if not uri_param(&m.uri, b"t", 1, &token):
            return False
        return self.identity.get_contact(token, &worker) and worker == self.identity.worker

    cdef bint _request_inside(self, uint32_t listener, const Address* source, uint64_t key) noexcept:
        """Take self.msg, whose To tag looks like ours, where it belongs to a dialog of ours; False where it does not,
        and never did."""
        cdef Msg* m = &self.msg
        cdef ServerTransaction server
        cdef Verdict verdict
        cdef uint32_t methods
        cdef bint proven = self._knows_contact(m)
        dialog = self._dialog_of(m)
        if dialog is None and not proven:
            return False
        if not self.listed:
            if not proven:
                self.counters[C_FORGED_TOKENS] += 1
                self._stranger(listener, source)
                return True
            self.counters[C_UNLISTED_PASSED] += 1
        if dialog is None:
            self._refuse(listener, source, 481, b"", b"")
            return True
        methods = self.admission.dialog_methods_of(self.group)
        if not methods >> m.method & 1:
            self.counters[C_METHOD_CLOSED] += 1
            self._refuse(listener, source, 405, b"", self._allow(methods))
            return True
        if m.method == METHOD_OTHER:
            # Which ones without a number are open, the policy tells by their names.
            verdict = self._decide(listener, source, True)
            if verdict is None or verdict.action == ACTION_REJECT:
                self._refuse(listener, source, 500 if verdict is None else <uint32_t>verdict.status, b"",
                             b"" if verdict is None else verdict.headers)
                return True
        server = self._take(listener, source, key, dialog)
        if server is not None:
            server.group = self.group
            self._hand(server)
            if m.method == METHOD_INVITE and server.slot != NO_TX and self.slab[server.slot].server == SERVER_TRYING:
                # 13.3.1.1: the answer waits for the other leg.
                self.answer(listener, source, 100, slice_empty(), slice_empty())
        return True

    cdef bint _ack_inside(self) noexcept:
        """Whether self.msg acknowledged a 2xx of ours. From an unlisted source it needs our token, as all else does."""
        return (self.listed or self._knows_contact(&self.msg)) and self._acknowledged()

    cdef void on_cancel(self, uint32_t listener, const Address* source, uint32_t slot) noexcept:
        if slot != NO_TX and self.slab[slot].role == ROLE_UAS and address_same_host(source, &self.slab[slot].source):
            UserAgent.on_cancel(self, listener, source, slot)
        else:
            Seeking.on_cancel(self, listener, source, slot)

    cdef void _tell_of(self, uint32_t slot, int status) noexcept:
        """Tell who judges targets what became of a request that chose this one: status 0 for silence, -1 for no way.

        Requests inside dialogs do not count: a stranger's Contact may have led them there.
        """
        cdef Tx* tx = &self.slab[slot]
        cdef uint16_t number
        if self.targets.told is None or tx.flags & TX_PROBE or not (
                tx.role == ROLE_ATTEMPT or tx.flags & TX_BEGINS
                or (tx.role == ROLE_UAC and tx.method == METHOD_INVITE)):
            return
        number = self.targets.find(&tx.target)
        if number == 0:
            return
        if status > 0 and status != 503:
            # One answer a request: a call that rings is no better than one that is busy.
            if not self.targets.cells[number].suspect or tx.flags & TX_HEARD_OF:
                return
            tx.flags |= TX_HEARD_OF
        try:
            self.targets.told(number, status, self._retry_after() if status == 503 else "")
        except Exception as error:
            self._trouble(f"health of a target: {type(error).__name__}: {error}")

    cdef str _retry_after(self):
        """What the response in self.msg says of when to come again."""
        return slice_bytes(header_value(&self.msg, self.msg.first[H_RETRY_AFTER])).decode("ascii", "replace") \
            if msg_has(&self.msg, H_RETRY_AFTER) else ""

    cdef void on_response(self, uint32_t slot) noexcept:
        if self.targets.suspects or self.msg.status == 503:
            self._tell_of(slot, <int>self.msg.status)
        if self.slab[slot].role == ROLE_UAC:
            UserAgent.on_response(self, slot)
        else:
            Seeking.on_response(self, slot)

    cdef void on_timeout(self, uint32_t slot, bint transport) noexcept:
        if self.slab[slot].client == CLIENT_CALLING and not self.slab[slot].flags & TX_GAVE_UP:
            self._tell_of(slot, -1 if transport else 0)
        if self.slab[slot].role == ROLE_UAC:
            UserAgent.on_timeout(self, slot, transport)
        else:
            Seeking.on_timeout(self, slot, transport)

    cdef void on_slow(self, uint32_t slot) noexcept:
        if self.slab[slot].role != ROLE_UAC:
            Seeking.on_slow(self, slot)
