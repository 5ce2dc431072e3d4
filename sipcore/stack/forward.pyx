"""Stateful forwarding of requests (RFC 3261 16.3-16.6) with Record-Route and loop detection (RFC 5393).

What belongs to something that is known already (a response by its branch, an in-dialog request by its token) is
forwarded without Python. What begins something is decided by `decide`, once, and its Verdict is remembered for
the listener, group and method where the policy read nothing else.

Long because one request's passage (admission, Route, loops, decision, plan, send, 100) is one text that follows the
RFC's steps.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport Address, TRANSPORT_UDP, address_same_host, parse_ip
from sipcore.base.siphash cimport SipState, siphash_final, siphash_init, siphash_update, siphash_update_word
from sipcore.base.slice cimport Slice, slice_bytes, slice_from, slice_iis, slice_of
from sipcore.stack.admission cimport ADMIT_FORBID, ADMIT_LISTED, ADMIT_SILENT, Admission
from sipcore.stack.counters cimport *
from sipcore.stack.identity cimport BRANCH_TEXT, BranchParts, Identity, NO_SLOT
from sipcore.stack.relay cimport Relay, Search
from sipcore.stack.headerfilter cimport HeaderFilter
from sipcore.stack.mediahook cimport HOOK_LEAVE, HOOK_REPLACE, MediaHook
from sipcore.stack.plan cimport Passage, plan_request, plan_routing
from sipcore.stack.record cimport Record, Records
from sipcore.stack.tx cimport NO_RECORD, NO_TX, ROLE_PROXY, SERVER_TRYING, TX_BEGINS, TX_MEDIA, Tx
from sipcore.stack.verdict cimport ACTION_FORWARD, ACTION_LOCAL, ACTION_REJECT, Request, SCOPE_GROUP, Target, Verdict
from sipcore.wire.edit cimport edit_size
from sipcore.wire.fault cimport FAULT_VERSION, fault_text
from sipcore.wire.message cimport (
    Msg, NO_HEADER, header_value, index_message, msg_has, msg_max_forwards, msg_value, msg_via,
)
from sipcore.wire.nameaddr cimport next_value
from sipcore.wire.tables cimport (
    H_CALL_ID, H_PROXY_AUTHORIZATION, H_PROXY_REQUIRE, H_ROUTE, H_VIA, METHOD_ACK, METHOD_COUNT, METHOD_INVITE,
    METHOD_OTHER, METHOD_PRACK, METHOD_REFER, METHOD_UPDATE,
)
from sipcore.wire.uri cimport SCHEME_SIP, SCHEME_SIPS, SCHEME_TEL, Uri, parse_uri
from sipcore.wire.via cimport Via, parse_via

from sipcore.wire.tables import METHODS

cdef bytes _ALLOW = b"Allow: " + ", ".join(name for name in METHODS if name).encode() + b"\r\n"


cdef inline void _hash_header(SipState* s, const Msg* m, uint8_t id) noexcept nogil:
    cdef uint32_t i = m.first[id]
    while i != NO_HEADER:
        siphash_update(s, header_value(m, i).p, header_value(m, i).n)
        i = m.headers[i].next


cdef class Proxy(Relay):
    """The edge's core. decide(request) -> Verdict; oversize(request, verdict, size) -> Verdict.

    internal: header names or X-Internal-* patterns that never leave to an untrusted peer. outcome_ms: how long the
    outcome of a forwarded REFER is waited for. media: anchors the media of calls whose verdict asks for it.
    """

    def __init__(self, Identity identity=None, *, Admission admission not None, decide, oversize=None,
                 uint32_t dialogs=1 << 18, internal=(), uint32_t outcome_ms=300_000, MediaHook media=None, **_):
        self.records = Records(dialogs)
        self.request = Request()
        self.troubles = []
        self.notes = {}
        self.media = media
        self.configure(admission, decide, oversize, internal=internal, outcome_ms=outcome_ms)

    def configure(self, Admission admission not None, decide, oversize=None, *, internal=(),
                  uint32_t outcome_ms=300_000, uint32_t max_calls=0, uint32_t dialog_budget=0, groups=(), upstreams=()):
        """Take over another configuration: one assignment, calls in progress go on as they were decided.

        dialog_budget: bytes above which a request inside a dialog is decided too; 0 for never.
        """
        self.admission = admission
        self.decide = decide
        self.oversize = oversize
        self.internal = HeaderFilter(internal) if internal else None
        self.outcome_ms = outcome_ms
        self.max_calls = max_calls
        self.dialog_budget = dialog_budget
        self.records.set_names(groups, upstreams)
        self.memo = [None] * (max(1, len(admission.tries)) * max(1, admission.groups) * METHOD_COUNT)

    def statistics(self):
        found = Relay.statistics(self)
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
        self.outbox.call = 0

    cdef void _forbid(self, uint32_t listener, const Address* source, const uint8_t* data, uint32_t n) noexcept:
        """403 to a request of a group that is denied aloud."""
        if index_message(&self.msg, data, n, &self.limits) == 0 and self.msg.method_text.n \
                and self.msg.method != METHOD_ACK and msg_via(&self.msg) == 0:
            self._refuse(listener, source, 403, b"", b"")

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
        elif parts.anchored and self._offers(m) and (
                record_slot == NO_RECORD or self.records.slab[record_slot].media == 0):
            # The call is over for the edge, or forgotten: end to end, each phone would be told the other's address.
            self.counters[C_MEDIA_FORGOTTEN] += 1
            self._refuse(listener, source, 481, b"", b"")
        elif m.method == METHOD_REFER or m.method == METHOD_OTHER:
            self.counters[C_REFERS] += m.method == METHOD_REFER
            self._apply(listener, source, key, loop, self._decide(listener, source, True), record_slot, True)
        else:
            self._forward(listener, source, key, loop, None, record_slot, True)

    cdef bint _offers(self, const Msg* m) noexcept nogil:
        """Whether a request inside a dialog may bring an offer, or ask for one."""
        return m.method == METHOD_INVITE or (m.method == METHOD_UPDATE and m.n > m.body)

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
            if verdict.anchor and not self._begin_media(record_slot, verdict.anchor):
                self._undo(slot, record_slot, True)
                self._refuse(listener, source, 503, b"Service Unavailable - no room for its media",
                             b"Retry-After: 10\r\n")
                return
        tx = &self.slab[slot]
        attempt = slot
        if target is not None and len(verdict.targets) > 1:
            attempt = self._open_search(slot, verdict, loop)
            if attempt == NO_TX:
                self._undo(slot, record_slot, begins_call)
                self._refuse(listener, source, 503, b"", b"Retry-After: 10\r\n")
                return
        try:
            status = self._plan(m, attempt, loop, listener, <uint32_t>out, source, &to, verdict, target, record_slot,
                                in_dialog)
            n = edit_size(&self.edit)
            if status == 0 and in_dialog and verdict is None and self.dialog_budget and n > self.dialog_budget:
                # What the dialog forwards without a decision is decided after all when it is big.
                verdict = self._decide(listener, source, True)
                if verdict is not None and verdict.action != ACTION_FORWARD:
                    verdict = None
            if (status == 0 and verdict is not None and verdict.budget and n > verdict.budget
                    and self.oversize is not None):
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
        tx.listener_in = <uint8_t>listener
        self.reply_address(source, &tx.source)
        tx.server = SERVER_TRYING
        self.remember(slot, key)
        if verdict is not None:
            self.slab[attempt].ring = <uint16_t>min((verdict.ring_timeout + 999) // 1000, 65535)
        if begins_call:
            tx.flags |= TX_BEGINS | TX_MEDIA if verdict.anchor else TX_BEGINS
            tx.record = record_slot
            self.records.slab[record_slot].callee = to
            self.records.slab[record_slot].begin_tx = slot
            self.counters[C_CALLS] += 1
        elif record != NULL:
            self._note_request(slot, record_slot)
            if record.media and (m.method == METHOD_INVITE or m.method == METHOD_UPDATE or m.method == METHOD_PRACK):
                tx.flags |= TX_MEDIA
                tx.record = record_slot
        if attempt != slot:
            self.slab[attempt].until = self.now + verdict.try_timeout
        self.rearm(attempt)
        if m.method == METHOD_INVITE:
            self.answer(listener, source, 100, slice_of(m.base, 0), slice_of(m.base, 0))

    cdef Verdict _shrink(self, uint32_t listener, const Address* source, Verdict verdict, uint32_t size,
                         bint in_dialog):
        """Ask the policy for a verdict under which the request fits its budget (transfers.md 4)."""
        cdef Verdict smaller
        self.counters[C_OVERSIZE] += 1
        self.request.point(&self.msg, self.group, <int>listener, source, in_dialog)
        self.request.body_replaced = self.body_replaced
        self.request.body_growth = self.body_growth
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

    cdef void on_ack(self, uint32_t listener, const Address* source, uint32_t slot) noexcept:
        """The ACK to a 2xx: forwarded on its token, without a transaction (16.11); any other ends here."""
        cdef Msg* m = &self.msg
        cdef BranchParts parts
        cdef Passage passage
        cdef Address to
        cdef Slice body
        cdef int out, outcome
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
        passage.body = NULL
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
        except Exception as error:
            self._trouble(f"ACK not forwarded: {type(error).__name__}: {error}")
            return
        if self.render(<uint32_t>out, &to, &n) != NULL:
            self.counters[C_FORWARDED] += 1
