"""Stateful forwarding (RFC 3261 16) with Record-Route, loop detection (RFC 5393) and serial failover.

What belongs to something that is known already (a response by its branch, an in-dialog request by its token) is
forwarded here without Python. What begins something is decided by `decide`, once, and its Verdict is remembered
for the listener, group and method where the policy read nothing else.

Long because the order of one request's passage (admission, Route, loops, decision, plan, send,
100) and of its responses is one text that follows RFC 3261 16.3 to 16.11.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from cpython.ref cimport PyObject, Py_INCREF
from sipcore.base.address cimport Address, TRANSPORT_UDP, address_same_host, parse_ip
from sipcore.base.siphash cimport SipState, siphash_final, siphash_init, siphash_update, siphash_update_word
from sipcore.base.slice cimport Slice, slice_bytes, slice_from, slice_iis, slice_of
from sipcore.stack.admission cimport ADMIT_FORBID, ADMIT_LISTED, ADMIT_SILENT, Admission
from sipcore.stack.counters cimport *
from sipcore.stack.identity cimport BRANCH_TEXT, BranchParts, Identity, NO_SLOT, TOKEN_TEXT
from sipcore.stack.layer cimport Layer
from sipcore.stack.headerfilter cimport HeaderFilter
from sipcore.stack.plan cimport Passage, plan_normal_form, plan_request, plan_routing
from sipcore.stack.record cimport (
    CALL_ID_KEPT, ENDED_CALLEE, ENDED_CALLER, ENDED_DURATION, ENDED_NOT, ENDED_REFUSED, ENDED_STOP, ENDED_TIMEOUT,
    MAX_REFERS, RECORD_ENDED, RECORD_ENDING, RECORD_FREE, RECORD_RINGING, RECORD_TRYING, RECORD_UP,
    REFER_COMPLETED, REFER_FAILED, REFER_REFUSED, REFER_UNKNOWN, Record, Records, Refer, USER_KEPT,
)
from sipcore.stack.refer cimport refer_answered, refer_notified, refer_pending, refer_sent, refers_pending
from sipcore.stack.servertx cimport server_on_response
from sipcore.stack.tx cimport (
    CLIENT_CALLING, CLIENT_PROCEEDING, CLIENT_TERMINATED, NO_RECORD, NO_TX, ROLE_ATTEMPT, ROLE_PROXY,
    SERVER_PROCEEDING, SERVER_TERMINATED, SERVER_TRYING, STEP_PASS, TX_BEGINS, TX_CANCELLED, TX_CANCEL_SENT, TX_ENDS,
    TX_GAVE_UP, TX_HEARD, TX_OVERTIME, TX_REFER, TX_SENT_100, Tx,
)
from sipcore.stack.verdict cimport ACTION_FORWARD, ACTION_LOCAL, ACTION_REJECT, Request, SCOPE_GROUP, Target, Verdict
from sipcore.wire.edit cimport edit_begin, edit_delete, edit_replace, edit_size
from sipcore.wire.fault cimport FAULT_VERSION, fault_text
from sipcore.wire.message cimport (
    Msg, NO_HEADER, header_value, index_message, msg_from, msg_has, msg_max_forwards, msg_to, msg_uri, msg_value,
    msg_via,
)
from sipcore.wire.nameaddr cimport next_value
from sipcore.wire.tables cimport (
    H_CALL_ID, H_PROXY_AUTHORIZATION, H_PROXY_REQUIRE, H_ROUTE, H_VIA, METHOD_ACK, METHOD_BYE, METHOD_COUNT,
    METHOD_INVITE, METHOD_NOTIFY, METHOD_OTHER, METHOD_REFER, METHOD_SUBSCRIBE,
)
from sipcore.wire.uri cimport SCHEME_SIP, SCHEME_SIPS, SCHEME_TEL, Uri, parse_uri
from sipcore.wire.via cimport Via, parse_via

from sipcore.wire.tables import METHODS, canonical_name

cdef enum:
    TROUBLES = 100          # texts kept for the log between two takings

cdef bytes _ALLOW = b"Allow: " + ", ".join(name for name in METHODS if name).encode() + b"\r\n"


cdef inline void _hash_header(SipState* s, const Msg* m, uint8_t id) noexcept nogil:
    cdef uint32_t i = m.first[id]
    while i != NO_HEADER:
        siphash_update(s, header_value(m, i).p, header_value(m, i).n)
        i = m.headers[i].next


cdef class Search:
    pass


cdef class Proxy(Layer):
    """The edge's core. decide(request) -> Verdict; oversize(request, verdict, size) -> Verdict.

    internal: header names or X-Internal-* patterns that never leave to an untrusted peer. outcome_ms: how long the
    outcome of a forwarded REFER is waited for.
    """

    def __init__(self, Identity identity=None, *, Admission admission not None, decide, oversize=None,
                 uint32_t dialogs=1 << 18, internal=(), uint32_t outcome_ms=300_000, **_):
        self.records = Records(dialogs)
        self.request = Request()
        self.troubles = []
        self.configure(admission, decide, oversize, internal=internal, outcome_ms=outcome_ms)

    def configure(self, Admission admission not None, decide, oversize=None, *, internal=(),
                  uint32_t outcome_ms=300_000, uint32_t max_calls=0, groups=(), upstreams=()):
        """Take over another configuration: one assignment, calls in progress go on as they were decided."""
        self.admission = admission
        self.decide = decide
        self.oversize = oversize
        self.internal = HeaderFilter(internal) if internal else None
        self.outcome_ms = outcome_ms
        self.max_calls = max_calls
        self.records.set_names(groups, upstreams)
        self.memo = [None] * (max(1, len(admission.tries)) * max(1, admission.groups) * METHOD_COUNT)

    def take_troubles(self):
        """Texts about policy mistakes since the last call, for the log."""
        taken = self.troubles[:]
        self.troubles.clear()
        return taken

    def calls(self, int upstream):
        """Concurrent calls of an upstream."""
        return self.records.calls[upstream] if 0 <= upstream < 256 else 0

    def statistics(self):
        found = Layer.statistics(self)
        found["dialogs"] = self.records.live
        found["calls_up"] = self.records.up
        found["journal_dropped"] = self.records.journal.dropped
        return found

    def drain_calls(self):
        """Begin nothing any more: what would begin something gets 503; what is under way goes on."""
        self.draining = True

    @property
    def busy(self):
        """Transactions that still wait for something, without those that only linger."""
        return self.live - self.linger.count

    def finish(self, uint64_t now):
        """Write the log lines of the calls that are still up when the edge stops."""
        cdef uint32_t i
        self.now = now
        for i in range(self.records.fresh):
            if RECORD_FREE < self.records.slab[i].state < RECORD_ENDED:
                self._end_call(i, ENDED_STOP, self.records.slab[i].status)

    # --- in

    cdef void receive(self, uint32_t listener, const Address* source, const uint8_t* data, uint32_t n,
                      uint64_t now) noexcept:
        cdef int admittance
        self.now = now
        self.counters[C_DATAGRAMS_IN] += 1
        admittance = self.admission.admit(listener, source, now, &self.group)
        self.listed = admittance == ADMIT_LISTED
        if not self.listed:
            if admittance == ADMIT_SILENT:
                self.counters[C_DENIED] += 1
                return
            self.group = -1
            if admittance == ADMIT_FORBID:
                self.counters[C_FORBIDDEN] += 1
                if self.admission.may_answer(now):
                    self._forbid(listener, source, data, n)
                return
            if not self.admission.may_look(source, now):
                self.counters[C_RATE_LIMITED] += 1
                return
        self.receive_admitted(listener, source, data, n)

    cdef void _forbid(self, uint32_t listener, const Address* source, const uint8_t* data, uint32_t n) noexcept:
        """403 to a request of a group that is denied aloud."""
        if index_message(&self.msg, data, n, &self.limits) == 0 and self.msg.method_text.n \
                and self.msg.method != METHOD_ACK and msg_via(&self.msg) == 0:
            self._refuse(listener, source, 403, b"", b"")

    cdef void _refuse(self, uint32_t listener, const Address* source, uint32_t status, bytes reason,
                      bytes headers) noexcept:
        self.answer(listener, source, status, slice_from(reason), slice_from(headers))

    cdef void _stranger(self, uint32_t listener, const Address* source) noexcept:
        """An unlisted source that proved nothing: silence, or 403 where the configuration wants it."""
        self.counters[C_UNLISTED_DROPPED] += 1
        if (self.admission.unlisted_admittance == ADMIT_FORBID and self.msg.method != METHOD_ACK
                and self.admission.may_answer(self.now)):
            self._refuse(listener, source, 403, b"", b"")

    cdef void on_malformed(self, uint32_t listener, const Address* source, int fault) noexcept:
        cdef bytes text
        if not self.listed:
            self._stranger(listener, source)
            return
        if fault == FAULT_VERSION:
            self._refuse(listener, source, 505, b"", b"")
            return
        text = f"Bad Request - {fault_text(fault)}".encode("ascii", "replace")
        self._refuse(listener, source, 400, text, b"")

    cdef void on_request(self, uint32_t listener, const Address* source, uint64_t key) noexcept:
        """RFC 3261 16.3 and 16.4: what must hold before a request is looked at further."""
        cdef Msg* m = &self.msg
        cdef BranchParts parts
        cdef uint32_t loop, record_slot = NO_RECORD
        cdef bint proven = False
        cdef int fault = plan_routing(m, &self.routing, self.listeners, self.listener_count)
        if fault:
            self.counters[C_MALFORMED_REQUESTS] += 1
            self.on_malformed(listener, source, fault)
            return
        if self.routing.token.n:
            if self.identity.get_token(self.routing.token, msg_value(m, H_CALL_ID), &parts):
                proven = m.to.tag.n > 0
                if parts.worker == self.identity.worker and self.records.get(parts.slot, parts.generation) != NULL:
                    record_slot = parts.slot
            else:
                self.counters[C_FORGED_TOKENS] += 1
        if not self.listed:
            if not proven:
                self._stranger(listener, source)
                return
            self.counters[C_UNLISTED_PASSED] += 1
        fault = msg_max_forwards(m)
        if fault:
            self.counters[C_MALFORMED_REQUESTS] += 1
            self.on_malformed(listener, source, fault)
            return
        if m.max_forwards == 0:
            self.counters[C_TOO_MANY_HOPS] += 1
            self._refuse(listener, source, 483, b"", b"")
            return
        if msg_has(m, H_PROXY_REQUIRE):
            # 16.3 step 5: there is no option tag that this proxy understands.
            values = b", ".join(self._proxy_require())
            self._refuse(listener, source, 420, b"", b"Unsupported: " + values + b"\r\n")
            return
        loop = self._loop_hash(m)
        if self._loops(loop):
            self.counters[C_LOOPS] += 1
            self._refuse(listener, source, 482, b"", b"")
            return
        if not proven:
            self._begin(listener, source, key, loop)
        elif not self.admission.dialog_methods_of(self.group) >> m.method & 1:
            self.counters[C_METHOD_CLOSED] += 1
            self._refuse(listener, source, 405, b"", self._allow(self.admission.dialog_methods_of(self.group)))
        elif m.method == METHOD_REFER or m.method == METHOD_OTHER:
            self.counters[C_REFERS] += m.method == METHOD_REFER
            self._apply(listener, source, key, loop, self._decide(listener, source, True), record_slot, True)
        else:
            self._forward(listener, source, key, loop, None, record_slot, True)

    cdef list _proxy_require(self):
        cdef uint32_t i = self.msg.first[H_PROXY_REQUIRE]
        cdef Slice rest, item
        found = []
        while i != NO_HEADER:
            rest = header_value(&self.msg, i)
            while next_value(&rest, &item) > 0:
                found.append(slice_bytes(item).replace(b"\r\n", b""))
            i = self.msg.headers[i].next
        return found

    cdef uint32_t _loop_hash(self, Msg* m) noexcept:
        """RFC 5393 4.2: what decides on a request's way, so that a loop repeats it and a spiral does not."""
        cdef SipState s
        siphash_init(&s, &self.identity.table_key)
        siphash_update(&s, m.uri_text.p, m.uri_text.n)
        siphash_update(&s, m.from_.tag.p, m.from_.tag.n)
        siphash_update(&s, m.to.tag.p, m.to.tag.n)
        siphash_update(&s, msg_value(m, H_CALL_ID).p, msg_value(m, H_CALL_ID).n)
        siphash_update_word(&s, m.cseq)
        _hash_header(&s, m, H_ROUTE)
        _hash_header(&s, m, H_PROXY_REQUIRE)
        _hash_header(&s, m, H_PROXY_AUTHORIZATION)
        return <uint32_t>siphash_final(&s)

    cdef bint _loops(self, uint32_t loop) noexcept:
        """16.3 step 4: one of the Vias is ours and was written when the request was as it is now."""
        cdef Msg* m = &self.msg
        cdef uint32_t i = m.first[H_VIA]
        cdef Slice rest = m.via_rest
        cdef Via via = m.via
        cdef BranchParts parts
        while True:
            if via.branch.n == BRANCH_TEXT and self.identity.get_branch(via.branch, &parts) and parts.loop == loop:
                return True
            if rest.n == 0:
                i = m.headers[i].next
                if i == NO_HEADER:
                    return False
                rest = header_value(m, i)
            if parse_via(&rest, &via) != 0:
                return False

    # --- deciding

    cdef Verdict _decide(self, uint32_t listener, const Address* source, bint in_dialog):
        """The policy's Verdict, from the memo where it may come from there; None after an error in the policy."""
        cdef Verdict verdict
        cdef Py_ssize_t place = -1
        # What is remembered stands for sip: alone: sips: must not be sent on over UDP, nor tel: without a template.
        if not in_dialog and self.msg.method and self.msg.uri.scheme == SCHEME_SIP:
            place = (listener * self.admission.groups + self.group) * METHOD_COUNT + self.msg.method
            if place < len(self.memo) and self.memo[place] is not None:
                self.counters[C_DECIDED_BY_MEMO] += 1
                return <Verdict>self.memo[place]
        self.counters[C_DECIDED] += 1
        self.request.point(&self.msg, self.group, <int>listener, source, in_dialog)
        try:
            verdict = self.decide(self.request)
            if verdict is None:
                raise TypeError("decide returned None, expected a Verdict")
        except Exception as error:
            self.counters[C_DECIDE_ERRORS] += 1
            self._trouble(f"decide failed: {type(error).__name__}: {error}")
            verdict = None
        self.request.msg = NULL
        if verdict is not None and verdict.scope == SCOPE_GROUP and 0 <= place < len(self.memo):
            self.memo[place] = verdict
        return verdict

    cdef void _trouble(self, str text) noexcept:
        if len(self.troubles) < TROUBLES:
            self.troubles.append(text)

    cdef void _begin(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop) noexcept:
        """A request that begins something: methods, limits, and the decision."""
        cdef Verdict verdict
        cdef uint32_t method = self.msg.method
        if self.draining:
            self._refuse(listener, source, 503, b"Service Unavailable - stopping", b"Retry-After: 10\r\n")
            return
        if not self.admission.rules[self.group].methods >> method & 1:
            self.counters[C_METHOD_CLOSED] += 1
            self._refuse(listener, source, 405, b"", self._allow(self.admission.rules[self.group].methods))
            return
        if not self.admission.may_begin(self.group, source, self.now):
            self.counters[C_RATE_LIMITED] += 1
            self._refuse(listener, source, 503, b"Service Unavailable - rate limit", b"Retry-After: 5\r\n")
            return
        verdict = self._decide(listener, source, False)
        self._apply(listener, source, key, loop, verdict, NO_RECORD, False)

    cdef bytes _allow(self, uint32_t methods):
        return b"Allow: " + ", ".join(
            METHODS[i] for i in range(1, METHOD_COUNT) if methods >> i & 1).encode() + b"\r\n"

    cdef void _apply(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop, Verdict verdict,
                     uint32_t record_slot, bint in_dialog) noexcept:
        if verdict is None:
            self._refuse(listener, source, 500, b"", b"")
        elif verdict.action == ACTION_FORWARD:
            self._forward(listener, source, key, loop, verdict, record_slot, in_dialog)
        elif verdict.action == ACTION_REJECT:
            if self.msg.method == METHOD_REFER:
                self.counters[C_REFERS_REFUSED] += 1
            self._refuse(listener, source, <uint32_t>verdict.status, verdict.reason.encode("ascii", "replace"),
                         verdict.headers)
        elif verdict.action == ACTION_LOCAL:
            self._refuse(listener, source, 200, b"", _ALLOW + verdict.headers)

    # --- forwarding

    cdef int _resolve(self, Slice text, Address* out) noexcept:
        """Where a URI leads (RFC 3263, IP literals only); 0, or the status to answer with."""
        cdef Uri uri
        if parse_uri(text, &uri) != 0:
            return 400
        if uri.scheme == SCHEME_TEL:
            return 404
        if uri.scheme != SCHEME_SIP and uri.scheme != SCHEME_SIPS:
            return 416
        if uri.scheme == SCHEME_SIPS or (uri.transport.n and not slice_iis(uri.transport, b"udp", 3)):
            return 503
        if parse_ip(uri.maddr if uri.maddr.n else uri.host, out) != 0:
            return 503
        out.port = uri.port if uri.port else 5060
        out.transport = TRANSPORT_UDP
        return 0

    cdef int _listener_for(self, const Address* to, uint32_t listener_in, int wanted) noexcept:
        """The listener to send from: the wanted one, the one that the request came by, the first of the family."""
        cdef uint32_t i
        if 0 <= wanted < <int>self.listener_count and self.listeners[wanted].bound.family == to.family:
            return wanted
        if self.listeners[listener_in].bound.family == to.family:
            return <int>listener_in
        for i in range(self.listener_count):
            if self.listeners[i].bound.family == to.family:
                return <int>i
        return -1

    cdef bint _may_go(self, const Address* to, Record* record) noexcept:
        """An unlisted peer's token opens the way to listed peers and to the two ends of its own dialog alone."""
        cdef uint32_t i
        cdef int group
        if record != NULL and (address_same_host(to, &record.caller) or address_same_host(to, &record.callee)):
            return True
        for i in range(self.listener_count):
            group = self.admission.group_of(i, to)
            if group >= 0 and self.admission.rules[group].admittance == ADMIT_LISTED:
                return True
        return False

    cdef void _forward(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop,
                       Verdict verdict, uint32_t record_slot, bint in_dialog) noexcept:
        """RFC 3261 16.6: one copy to the first target, its server transaction opened, 100 for an INVITE."""
        cdef Msg* m = &self.msg
        cdef Target target = None
        cdef Address to
        cdef int status = 0, out, wanted
        cdef uint32_t slot, attempt, n
        cdef Tx* tx
        cdef Record* record = NULL if record_slot == NO_RECORD else &self.records.slab[record_slot]
        cdef bint begins_call = (verdict is not None and verdict.record_route and not in_dialog
                                 and m.method == METHOD_INVITE)
        wanted = self.routing.out if self.routing.out != 255 else -1
        if verdict is not None and verdict.targets and self.routing.own == self.routing.count:
            target = <Target>verdict.targets[0]
            to = target.address
            wanted = target.listener
        elif verdict is not None and verdict.uri and self.routing.own == self.routing.count:
            status = self._resolve(slice_from(verdict.uri), &to)
        else:
            status = self._resolve(self.routing.next_hop, &to)
        if status == 0:
            out = self._listener_for(&to, listener, wanted)
            if out < 0:
                status = 503
        if status:
            self.counters[C_UNROUTABLE] += 1
            self._refuse(listener, source, <uint32_t>status,
                         b"" if status != 503 else b"Service Unavailable - next hop is no address reached by UDP", b"")
            return
        if not self.listed and not self._may_go(&to, record):
            self.counters[C_UNLISTED_DROPPED] += 1
            self._refuse(listener, source, 403, b"", b"")
            return
        if begins_call and (self.max_calls and self.records.up >= self.max_calls
                            or verdict.max_calls and 0 <= verdict.upstream < 256
                            and self.records.calls[verdict.upstream] >= verdict.max_calls):
            self.counters[C_CALLS_REFUSED] += 1
            self._refuse(listener, source, 503, b"Service Unavailable - concurrent call limit", b"Retry-After: 10\r\n")
            return
        slot = self.open(ROLE_PROXY, m.method)
        if slot == NO_TX:
            self._refuse(listener, source, 503, b"", b"Retry-After: 10\r\n")
            return
        if begins_call:
            record_slot = self.records.open()
            if record_slot == NO_RECORD:
                self.counters[C_RECORDS_FULL] += 1
                self.close(slot)
                self._refuse(listener, source, 503, b"", b"Retry-After: 10\r\n")
                return
            self._open_record(record_slot, source, verdict)
        tx = &self.slab[slot]
        attempt = slot
        if target is not None and len(verdict.targets) > 1:
            attempt = self._open_search(slot, verdict, loop)
            if attempt == NO_TX:
                self._undo(slot, record_slot, begins_call)
                self._refuse(listener, source, 503, b"", b"Retry-After: 10\r\n")
                return
        try:
            self._plan(m, attempt, loop, listener, <uint32_t>out, source, &to, verdict, target, record_slot, in_dialog)
            n = edit_size(&self.edit)
            if verdict is not None and verdict.budget and n > verdict.budget and self.oversize is not None:
                verdict = self._shrink(listener, source, verdict, n, in_dialog)
                if verdict.action == ACTION_REJECT:
                    self.counters[C_OVERSIZE_REFUSED] += 1
                    self._undo(slot, record_slot, begins_call)
                    self._refuse(listener, source, <uint32_t>verdict.status,
                                 verdict.reason.encode("ascii", "replace"), verdict.headers)
                    return
                if verdict.targets and target is not None:
                    target = <Target>verdict.targets[0]
                    if attempt != slot:
                        (<Search>tx.context).verdict = verdict
                self._plan(m, attempt, loop, listener, <uint32_t>out, source, &to, verdict, target, record_slot,
                           in_dialog)
        except Exception as error:
            self.counters[C_DECIDE_ERRORS] += 1
            self._trouble(f"request not forwarded: {type(error).__name__}: {error}")
            self._undo(slot, record_slot, begins_call)
            self._refuse(listener, source, 500, b"", b"")
            return
        if not self.send_request(&self.slab[attempt], <uint32_t>out, &to):
            self._undo(slot, record_slot, begins_call)
            self._refuse(listener, source, 503, b"", b"Retry-After: 10\r\n")
            return
        self.counters[C_FORWARDED] += 1
        tx.listener_in = <uint8_t>listener
        self.reply_address(source, &tx.source)
        tx.server = SERVER_TRYING
        self.remember(slot, key)
        if verdict is not None:
            self.slab[attempt].ring = <uint16_t>min((verdict.ring_timeout + 999) // 1000, 65535)
        if begins_call:
            tx.flags |= TX_BEGINS
            tx.record = record_slot
            self.records.slab[record_slot].callee = to
            self.records.slab[record_slot].begin_tx = slot
            self.counters[C_CALLS] += 1
        elif record != NULL:
            self._note_request(slot, record_slot)
        if attempt != slot:
            self.slab[attempt].until = self.now + verdict.try_timeout
        self.rearm(attempt)
        if m.method == METHOD_INVITE:
            self.answer(listener, source, 100, slice_of(m.base, 0), slice_of(m.base, 0))

    cdef void _undo(self, uint32_t slot, uint32_t record_slot, bint begins_call) noexcept:
        """Take a request back that was not sent."""
        cdef uint32_t attempt
        if begins_call:
            self._drop_record(record_slot)
        if self.slab[slot].context != NULL:
            for attempt in (<Search>self.slab[slot].context).attempts:
                self.close(attempt)
        self.close(slot)

    cdef uint32_t _open_search(self, uint32_t slot, Verdict verdict, uint32_t loop) noexcept:
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
        search.verdict = verdict
        search.loop = loop
        search.next = 1
        search.attempts = [attempt]
        Py_INCREF(search)
        self.slab[slot].context = <void*><PyObject*>search
        return attempt

    cdef Verdict _shrink(self, uint32_t listener, const Address* source, Verdict verdict, uint32_t size,
                         bint in_dialog):
        """Ask the policy for a verdict under which the request fits its budget (transfers.md 4)."""
        cdef Verdict smaller
        self.counters[C_OVERSIZE] += 1
        self.request.point(&self.msg, self.group, <int>listener, source, in_dialog)
        try:
            smaller = self.oversize(self.request, verdict, size)
        finally:
            self.request.msg = NULL
        if smaller is None:
            raise TypeError("oversize returned None, expected a Verdict")
        if smaller.action != ACTION_REJECT and smaller.warn:
            self.counters[C_FRAGMENTED] += 1
        if smaller.note or smaller.warn:
            self._trouble("; ".join(text for text in (smaller.note, smaller.warn) if text))
        return smaller

    cdef bint _plan(self, Msg* m, uint32_t slot, uint32_t loop, uint32_t listener, uint32_t out,
                    const Address* source, const Address* to, Verdict verdict, Target target, uint32_t record_slot,
                    bint in_dialog) except -1:
        """Fill self.edit for one target."""
        cdef Passage passage
        cdef Record* record
        passage.listener_in = &self.listeners[listener]
        passage.listener_out = &self.listeners[out]
        passage.source = source
        self.identity.put_branch(self.branch_text, slot, self.slab[slot].generation, loop)
        passage.branch = slice_of(self.branch_text, BRANCH_TEXT)
        passage.token = slice_of(self.token_text, 0)
        if not in_dialog and verdict is not None and verdict.record_route \
                and (m.method == METHOD_INVITE or m.method == METHOD_SUBSCRIBE or m.method == METHOD_REFER):
            if record_slot == NO_RECORD:
                self.identity.put_token(self.token_text, NO_SLOT, 0, msg_value(m, H_CALL_ID))
            else:
                record = &self.records.slab[record_slot]
                self.identity.put_token(self.token_text, record_slot, record.generation, msg_value(m, H_CALL_ID))
            passage.token = slice_of(self.token_text, TOKEN_TEXT)
        plan_request(&self.edit, m, &self.routing, &passage, verdict, target)
        self._strip(m, out, to)
        return True

    cdef void _strip(self, Msg* m, uint32_t listener, const Address* to) noexcept:
        """Take out the internal headers of a message that goes to a peer which is not trusted with them."""
        cdef int group
        if self.internal is not None:
            group = self.admission.group_of(listener, to)
            if group < 0 or not self.admission.rules[group].trusted:
                self.internal.remove(&self.edit, m)

    cdef void on_ack(self, uint32_t listener, const Address* source, uint32_t slot) noexcept:
        """The ACK to a 2xx: forwarded on its token, without a transaction (16.11); any other ends here."""
        cdef Msg* m = &self.msg
        cdef BranchParts parts
        cdef Passage passage
        cdef Address to
        cdef int out
        cdef uint32_t n
        cdef Record* record
        if (plan_routing(m, &self.routing, self.listeners, self.listener_count) != 0 or self.routing.token.n == 0
                or not self.identity.get_token(self.routing.token, msg_value(m, H_CALL_ID), &parts)
                or msg_max_forwards(m) != 0 or m.max_forwards == 0 or self._resolve(self.routing.next_hop, &to) != 0):
            self.counters[C_STRAY_ACKS] += 1
            return
        out = self._listener_for(&to, listener, self.routing.out if self.routing.out != 255 else -1)
        record = self.records.get(parts.slot, parts.generation) if parts.worker == self.identity.worker else NULL
        if out < 0 or (not self.listed and not self._may_go(&to, record)):
            self.counters[C_STRAY_ACKS] += 1
            return
        passage.listener_in = &self.listeners[listener]
        passage.listener_out = &self.listeners[out]
        passage.source = source
        # The same ACK again must get the same branch (16.11).
        self.identity.put_branch(self.branch_text, NO_SLOT,
                                 <uint32_t>self.key_of(m, METHOD_ACK, m.method_text), self._loop_hash(m))
        passage.branch = slice_of(self.branch_text, BRANCH_TEXT)
        passage.token = slice_of(self.token_text, 0)
        try:
            plan_request(&self.edit, m, &self.routing, &passage, None, None)
            self._strip(m, <uint32_t>out, &to)
        except Exception as error:
            self._trouble(f"ACK not forwarded: {type(error).__name__}: {error}")
            return
        if self.render(<uint32_t>out, &to, &n) != NULL:
            self.counters[C_FORWARDED] += 1

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
        self._cancel_all(slot, NO_TX)

    cdef void _cancel_all(self, uint32_t slot, uint32_t besides) noexcept:
        """CANCEL every attempt that was answered provisionally; the others when they are (9.1)."""
        cdef uint32_t other
        if self.slab[slot].method != METHOD_INVITE:
            return
        attempts = (<Search>self.slab[slot].context).attempts if self.slab[slot].context != NULL else (slot,)
        for other in attempts:
            if other != besides and self._is_attempt(other, slot):
                self.slab[other].flags |= TX_CANCELLED
                if self.slab[other].client == CLIENT_PROCEEDING:
                    self.send_cancel(other)

    # --- responses

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
        cdef int step
        if tx.flags & TX_CANCELLED and status < 200:
            self.send_cancel(slot)
        if status == 100 or owner == NO_TX:
            return
        if self.slab[owner].context != NULL:
            search = <Search>self.slab[owner].context
        if status < 200:
            if search is not None and search.settled:
                return
            step = server_on_response(&self.slab[owner], status, self.now, &self.timers)
            if step & STEP_PASS and self._relay(owner, status, True):
                self._note_response(owner, status)
            return
        if status >= 300:
            if search is not None and not search.settled:
                if search.status == 0 or (status < search.status < 600) or status >= 600:
                    search.status = <uint16_t>status
                if status == 503 and not tx.flags & TX_GAVE_UP and not self.slab[owner].flags & TX_CANCELLED \
                        and self._try_next(owner):
                    return
                # 16.7 step 4: not before the others are done, but nobody waits for a target that never said a word.
                if self._still_trying(owner, slot, tx.flags & TX_GAVE_UP):
                    return
                if search.status >= 600 and status < 600:
                    self._finish(owner, search.status, b"")
                    return
            if status == 408 and self.slab[owner].method != METHOD_INVITE:
                # RFC 4320 4.2: no 408 ever goes back for a request that is no INVITE.
                self._finish(owner, 0, b"")
                return
            if tx.flags & TX_OVERTIME and status == 487:
                # We cancelled for Timer C; the caller did not, and hears that nobody answered.
                self._finish(owner, 408, b"")
                return
        step = server_on_response(&self.slab[owner], status, self.now, &self.timers)
        if search is not None:
            self._cancel_all(owner, slot)
        if step & STEP_PASS:
            if search is not None:
                search.settled = True
                if status < 300 and self.slab[owner].record != NO_RECORD and self.slab[owner].flags & TX_BEGINS:
                    self.records.slab[self.slab[owner].record].callee = tx.target
            self._relay(owner, 500 if status == 503 else status,
                        status >= 300 or self.slab[owner].method != METHOD_INVITE)
            self._note_response(owner, status)
            if slot != owner:
                self.settle(owner)
                self.rearm(owner)
        elif status < 300 and self.slab[owner].method == METHOD_INVITE:
            # 16.7 step 5: a 2xx always goes upstream, also after another final response did.
            self.counters[C_LATE_ANSWERS] += 1
            self._relay(owner, status, False)

    cdef bint _still_trying(self, uint32_t owner, uint32_t besides, bint unheard) noexcept:
        """Whether another attempt may still be answered; unheard: one without a provisional answer counts too."""
        cdef uint32_t slot
        for slot in (<Search>self.slab[owner].context).attempts:
            if slot != besides and self._is_attempt(slot, owner) and (
                    self.slab[slot].client == CLIENT_PROCEEDING
                    or (unheard and self.slab[slot].client == CLIENT_CALLING)):
                return True
        return False

    cdef bint _relay(self, uint32_t slot, uint32_t status, bint keep) noexcept:
        """Send self.msg upstream without our Via (16.7 steps 3 and 9); keep it where it may be asked for again."""
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

    cdef bint _try_next(self, uint32_t owner) noexcept:
        """Forward the request to the next target; False where none is left."""
        cdef Search search = <Search>self.slab[owner].context if self.slab[owner].context != NULL else None
        cdef Target target
        cdef Tx* tx = &self.slab[owner]
        cdef Address to
        cdef uint32_t slot
        cdef int out
        while search is not None and search.next < len(search.verdict.targets):
            target = <Target>search.verdict.targets[search.next]
            search.next += 1
            to = target.address
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
                self._plan(&self.stored, slot, search.loop, tx.listener_in, <uint32_t>out, &tx.source, &to,
                           search.verdict, target, tx.record if tx.flags & TX_BEGINS else NO_RECORD,
                           self.stored.to.tag.n > 0 and not tx.flags & TX_BEGINS)
            except Exception as error:
                self._trouble(f"no failover: {type(error).__name__}: {error}")
                self.close(slot)
                return False
            if not self.send_request(&self.slab[slot], <uint32_t>out, &to):
                self.close(slot)
                return False
            self.counters[C_FAILOVERS] += 1
            self.slab[slot].key = <uint64_t>tx.generation << 32 | owner
            self.slab[slot].ring = <uint16_t>min((search.verdict.ring_timeout + 999) // 1000, 65535)
            search.attempts.append(slot)
            if search.next < len(search.verdict.targets):
                self.slab[slot].until = self.now + search.verdict.try_timeout
            self.rearm(slot)
            return True
        return False

    cdef void on_timeout(self, uint32_t slot, bint transport) noexcept:
        """try_timeout, Timers B, C and F, and transport errors (16.8, 16.9)."""
        cdef Tx* tx = &self.slab[slot]
        cdef uint32_t owner = self._owner(slot)
        cdef Search search = None
        cdef bint more, fresh
        if owner != NO_TX and self.slab[owner].context != NULL:
            search = <Search>self.slab[owner].context
        more = search is not None and search.next < len(search.verdict.targets)
        fresh = not tx.flags & (TX_GAVE_UP | TX_HEARD)
        if more and fresh and not transport and (tx.client == CLIENT_CALLING or tx.method != METHOD_INVITE):
            # try_timeout has passed. Without any answer: go on, and keep listening for a late one.
            tx.until = self.now + 64 * self.timers.t1 - search.verdict.try_timeout
            if tx.client == CLIENT_PROCEEDING:
                tx.flags |= TX_HEARD
                return
            tx.flags |= TX_GAVE_UP
            if not search.settled and not self.slab[owner].flags & TX_CANCELLED:
                self._try_next(owner)
            return
        if tx.client == CLIENT_PROCEEDING and tx.method == METHOD_INVITE and not tx.flags & TX_CANCEL_SENT:
            tx.flags |= TX_OVERTIME
            self.send_cancel(slot)
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
            self._finish(owner, 487, b"")
        elif search is not None and search.status:
            self._finish(owner, 500 if search.status == 503 else search.status, b"")
        elif transport:
            self._finish(owner, 503, b"Service Unavailable - target unreachable")
        else:
            self._finish(owner, 408 if self.slab[owner].method == METHOD_INVITE else 0, b"")

    cdef void _finish(self, uint32_t slot, uint32_t status, bytes reason) noexcept:
        """End a server transaction that no response of a target ends; status 0: without an answer (RFC 4320)."""
        cdef Tx* tx = &self.slab[slot]
        if tx.context != NULL:
            (<Search>tx.context).settled = True
            self._cancel_all(slot, NO_TX)
        if tx.server != SERVER_TRYING and tx.server != SERVER_PROCEEDING:
            return
        if status:
            self.respond(slot, status, slice_from(reason), slice_from(b""))
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
            self.respond(owner, 100, slice_from(b""), slice_from(b""))

    cdef void expire(self, uint64_t now) noexcept:
        cdef uint32_t ids[64]
        cdef int n, i
        Layer.expire(self, now)
        n = self.records.wheel.expire(now, ids, 64)
        for i in range(n):
            self._stop_waiting(ids[i])

    cdef uint64_t next_deadline(self) noexcept nogil:
        cdef uint64_t a = Layer.next_deadline(self), b = self.records.wheel.next_deadline()
        return a if a < b else b

    # --- what is remembered of a dialog

    cdef void _open_record(self, uint32_t record_slot, const Address* source, Verdict verdict) noexcept:
        cdef Record* r = &self.records.slab[record_slot]
        cdef Msg* m = &self.msg
        cdef Slice text = msg_value(m, H_CALL_ID)
        cdef Uri uri
        r.began = self.now
        r.caller = source[0]
        r.group = <short>self.group
        r.upstream = <short>verdict.upstream
        r.call_id_n = <uint8_t>min(text.n, CALL_ID_KEPT)
        memcpy(r.call_id, text.p, r.call_id_n)
        if parse_uri(m.from_.uri, &uri) == 0:
            r.from_n = <uint8_t>min(uri.user.n, USER_KEPT)
            memcpy(r.from_user, uri.user.p, r.from_n)
        r.to_n = <uint8_t>min(m.uri.user.n, USER_KEPT)
        memcpy(r.to_user, m.uri.user.p, r.to_n)
        r.caller_tag = self._tag_hash(m.from_.tag)
        if verdict.max_duration:
            r.expires = self.now + <uint64_t>verdict.max_duration * 1000
        self.records.up += 1
        if 0 <= verdict.upstream < 256:
            self.records.calls[verdict.upstream] += 1
        self._arm_record(record_slot)

    cdef uint32_t _tag_hash(self, Slice tag) noexcept:
        cdef SipState s
        siphash_init(&s, &self.identity.table_key)
        siphash_update(&s, tag.p, tag.n)
        return <uint32_t>siphash_final(&s)

    cdef void _arm_record(self, uint32_t record_slot) noexcept:
        cdef Record* r = &self.records.slab[record_slot]
        cdef uint64_t at = r.expires if r.state < RECORD_ENDED else 0
        if r.until and (at == 0 or r.until < at):
            at = r.until
        if at:
            self.records.wheel.arm(record_slot, at)
        else:
            self.records.wheel.disarm(record_slot)

    cdef void _drop_record(self, uint32_t record_slot) noexcept:
        """Free a record without a log line (its INVITE never left)."""
        cdef Record* r = &self.records.slab[record_slot]
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

    cdef void _note_request(self, uint32_t slot, uint32_t record_slot) noexcept:
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
        if m.method == METHOD_BYE:
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
                r.until = self.now + self.outcome_ms
                self._arm_record(record_slot)
        else:
            refer = refer_notified(r, m, by_caller)
            if refer != NULL and not refer_pending(refer):
                self._refer_over(record_slot, refer)

    cdef void _refer_over(self, uint32_t record_slot, Refer* refer) noexcept:
        """A followed REFER has its outcome: count it, log it, and let an ended record go."""
        cdef Record* r = &self.records.slab[record_slot]
        if refer.state == REFER_COMPLETED:
            self.counters[C_REFERS_COMPLETED] += 1
        elif refer.state == REFER_FAILED:
            self.counters[C_REFERS_FAILED] += 1
        elif refer.state == REFER_REFUSED:
            self.counters[C_REFERS_REFUSED] += 1
        else:
            self.counters[C_REFERS_UNKNOWN] += 1
        self.records.write_refer(r, refer, self.now)
        if not refers_pending(r):
            r.until = 0
            if r.state == RECORD_ENDED:
                self._close_record(record_slot)
            else:
                self._arm_record(record_slot)

    cdef void _note_response(self, uint32_t slot, uint32_t status) noexcept:
        """A response went upstream (or none ever will): ringing, answer, end of the call, answer to a REFER."""
        cdef Tx* tx = &self.slab[slot]
        cdef Record* r
        cdef Refer* refer
        if tx.record == NO_RECORD or not tx.flags & (TX_BEGINS | TX_ENDS | TX_REFER):
            return
        r = &self.records.slab[tx.record]
        if tx.flags & TX_BEGINS:
            if status < 200:
                if not r.rang:
                    r.rang = True
                    r.ring_ms = <uint32_t>(self.now - r.began)
                if r.state == RECORD_TRYING:
                    r.state = RECORD_RINGING
            elif status < 300:
                if r.state < RECORD_UP:
                    r.state = RECORD_UP
                    r.status = <uint16_t>status
                    r.answered = self.now
                    self.counters[C_CALLS_ANSWERED] += 1
            elif r.state < RECORD_UP:
                self.counters[C_CALLS_FAILED] += 1
                self._end_call(tx.record, ENDED_CALLER if tx.flags & TX_CANCELLED
                               else ENDED_TIMEOUT if status == 408 else ENDED_REFUSED, status)
        elif status >= 200 and tx.flags & TX_ENDS:
            if r.state != RECORD_ENDING:
                return
            if status == 401 or status == 407:
                # The BYE will come again with credentials; until then the call is up.
                r.state = RECORD_UP if r.answered else RECORD_RINGING
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

    cdef void _end_call(self, uint32_t record_slot, int by, uint32_t status) noexcept:
        """Log the call, and free its record unless the outcome of a REFER is still awaited."""
        cdef Record* r = &self.records.slab[record_slot]
        if r.state == RECORD_ENDED or r.state == RECORD_FREE:
            return
        r.ended_by = <uint8_t>by
        r.status = <uint16_t>status
        self.records.write_call(r, self.now, slice_from(b""))
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
        if r.until and self.now >= r.until:
            r.until = 0
            for i in range(MAX_REFERS):
                if r.state != RECORD_FREE and refer_pending(&r.refers[i]):
                    r.refers[i].state = REFER_UNKNOWN
                    self._refer_over(record_slot, &r.refers[i])
        if r.state != RECORD_FREE and r.state < RECORD_ENDED and r.expires and self.now >= r.expires:
            self.counters[C_CALLS_EXPIRED] += 1
            self._end_call(record_slot, ENDED_DURATION, r.status)
        elif r.state != RECORD_FREE:
            self._arm_record(record_slot)
