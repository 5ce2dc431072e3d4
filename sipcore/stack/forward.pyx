"""Stateful forwarding of requests (RFC 3261 16.3-16.6) with Record-Route and loop detection (RFC 5393).

What belongs to something that is known already (a response by its branch, an in-dialog request by its token) is
forwarded without Python. What begins something is decided by `decide`, once, and its Verdict is remembered for
the listener, group and method where the policy read nothing else.

Long because one request's passage (admission, Route, loops, decision, plan, send, 100) is one text that follows the
RFC's steps.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport (
    SCOPE_FLOW, Address, TRANSPORT_TLS, TRANSPORT_UDP, address_from, address_same_host, is_secure, is_websocket,
)
from sipcore.base.siphash cimport SipState, siphash_final, siphash_init, siphash_update, siphash_update_word
from sipcore.base.slice cimport Slice, slice_bytes, slice_empty, slice_from, slice_of
from sipcore.stack.admission cimport ADMIT_FORBID, ADMIT_LISTED, ADMIT_SILENT, Admission
from sipcore.stack.counters cimport *
from sipcore.stack.guarding cimport Guarding
from sipcore.stack.hop cimport HOP_NAME, HOP_OK, default_port
from sipcore.stack.identity cimport BRANCH_TEXT, BranchParts, Identity, NO_SLOT, TAG_TEXT
from sipcore.stack.relay cimport Search
from sipcore.stack.headerfilter cimport HeaderFilter
from sipcore.stack.mediahook cimport HOOK_LEAVE, HOOK_REPLACE, MediaHook
from sipcore.stack.plan cimport Passage, plan_request, plan_routing
from sipcore.stack.realmfilter cimport RealmFilter
from sipcore.stack.record cimport Record, Records
from sipcore.stack.tx cimport NO_RECORD, NO_TX, ROLE_PROXY, SERVER_TRYING, TX_BEGINS, TX_MEDIA, Tx
from sipcore.stack.targettable cimport TargetTable
from sipcore.stack.useragent cimport UserAgent
from sipcore.stack.verdict cimport ACTION_FORWARD, ACTION_LOCAL, ACTION_REJECT, Request, Target, Verdict
from sipcore.wire.edit cimport edit_size
from sipcore.wire.fault cimport FAULT_VERSION, fault_text
from sipcore.wire.message cimport (
    Msg, NO_HEADER, header_value, index_message, msg_has, msg_max_forwards, msg_uri, msg_value, msg_via,
)
from sipcore.wire.nameaddr cimport next_value
from sipcore.wire.tables cimport (
    H_CALL_ID, H_PROXY_AUTHORIZATION, H_PROXY_REQUIRE, H_ROUTE, H_VIA, METHOD_ACK, METHOD_COUNT, METHOD_INVITE,
    METHOD_OTHER, METHOD_PRACK, METHOD_REFER, METHOD_UPDATE,
)
from sipcore.wire.stun cimport is_stun
from sipcore.wire.uri cimport SCHEME_SIPS, uri_param
from sipcore.wire.via cimport Via, parse_via

from sipcore.base.place import Unresolved
from sipcore.wire.tables import METHODS

cdef object _unheard(object outcome, object now):
    """For a name that nobody waits for."""


cdef bytes _ALLOW = b"Allow: " + ", ".join(name for name in METHODS if name).encode() + b"\r\n"


cdef inline void _hash_header(SipState* s, const Msg* m, uint8_t id) noexcept nogil:
    cdef uint32_t i = m.first[id]
    while i != NO_HEADER:
        siphash_update(s, header_value(m, i).p, header_value(m, i).n)
        i = m.headers[i].next


cdef class Proxy(Guarding):
    """The edge's core. decide(request) -> Verdict; oversize(request, verdict, size) -> Verdict.

    internal: header names or X-Internal-* patterns that never leave to an untrusted peer. outcome_ms: how long the
    outcome of a forwarded REFER is waited for. media: anchors the media of calls whose verdict asks for it. handler:
    a Handler that gets the INVITEs of controlled calls; extensions: option tags that their requests may require.
    """

    def __init__(self, Identity identity=None, *, Admission admission not None, decide, oversize=None,
                 uint32_t dialogs=1 << 18, internal=(), uint32_t outcome_ms=300_000, MediaHook media=None,
                 handler=None, extensions=(), **_):
        UserAgent.__init__(self, identity, handler=handler, extensions=extensions)
        self.keyed = True
        self.records = Records(dialogs)
        self.targets = TargetTable()
        self.asked = Request()
        self.notes = {}
        self.media = media
        self.configure(admission, decide, oversize, internal=internal, outcome_ms=outcome_ms)

    def configure(self, Admission admission not None, decide, oversize=None, *, internal=(),
                  uint32_t outcome_ms=300_000, uint32_t max_calls=0, uint32_t dialog_budget=0, groups=(), upstreams=(),
                  realms=(), certified=()):
        """Take over another configuration: one assignment, calls in progress go on as they were decided.

        dialog_budget: bytes above which a request inside a dialog is decided too; 0 for never. realms: credentials for
        them are taken out of what goes on. certified: by listener, the number of a group by the name (lower case) that
        a server has to prove which it connects to: what comes by such a connection is that group's.
        """
        self.admission = admission
        self.decide = decide
        self.oversize = oversize
        self.internal = HeaderFilter(internal) if internal else None
        self.realms = RealmFilter(realms) if realms else None
        self.outcome_ms = outcome_ms
        self.max_calls = max_calls
        self.dialog_budget = dialog_budget
        self.certified = tuple(certified)
        self.records.set_names(groups, upstreams)
        self.memo = [None] * (max(1, len(admission.tries)) * max(1, admission.groups) * METHOD_COUNT)

    def statistics(self):
        found = Guarding.statistics(self)
        found["dialogs"] = self.records.live
        found["calls_up"] = self.records.up
        found["controlled_dialogs"] = len(self.dialogs)
        found["journal_dropped"] = self.records.journal.dropped
        return found

    def keep_alive(self, uint32_t listener, str host not None, int port):
        """Send an empty packet (RFC 5626 3.5.1), so that a NAT on the way keeps its binding."""
        cdef Address address
        address_from(host, port, &address)
        if listener < self.listener_count and self.listeners[listener].bound.transport == TRANSPORT_UDP:
            self.send(listener, &address, <const uint8_t*>b"\r\n\r\n", 4)

    def drain_calls(self, bint on=True):
        """Begin nothing any more: what would begin something gets 503; what is under way goes on. on=False ends it."""
        self.draining = on

    def forget_decisions(self):
        """Ask the policy again for what its verdict was remembered of: what it reads has changed."""
        self.memo = [None] * len(self.memo)

    @property
    def busy(self):
        """Transactions that still wait for something, without those that only linger."""
        return self.live - self.linger.count

    cdef void receive(self, uint32_t listener, const Address* source, const uint8_t* data, uint32_t n,
                      uint64_t now) noexcept:
        cdef int admittance
        self.now = now
        self.counters[C_DATAGRAMS_IN] += 1
        if self.proven_group < 0 and self.certified and source.scope and not source.scope & SCOPE_FLOW \
                and is_secure(source.transport):
            self.proven_group = self._group_of_server(listener, source.scope)
        if self.proven_group >= 0:
            # What a certificate proved goes before the address.
            self.group = self.proven_group
            self.proven_group = -1
            admittance = self.admission.rules[self.group].admittance if self.group < <int>self.admission.groups \
                else ADMIT_SILENT
        else:
            admittance = self.admission.admit(listener, source, now, &self.group)
        self.listed = self._is_listed(source, admittance == ADMIT_LISTED)
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
        if source.transport == TRANSPORT_UDP and is_stun(data, n):
            self._take_stun(listener, source, data, n)
            return
        self.receive_admitted(listener, source, data, n)
        self.outbox.call = 0

    cdef int _group_of_server(self, uint32_t listener, uint32_t number) noexcept:
        """The group of a server that the edge has connected to, which had to prove the name of that number (RFC 5922
        7.4) before anything was read of it, and asks by that connection (RFC 5923 8.2); -1 for none."""
        name = self.names.name(number)
        if not name or listener >= <uint32_t>len(self.certified):
            return -1
        return (<dict>self.certified[listener]).get(name, -1)

    cdef void _forbid(self, uint32_t listener, const Address* source, const uint8_t* data, uint32_t n) noexcept:
        """403 to a request of a group that is denied aloud."""
        if index_message(&self.msg, data, n, &self.limits) == 0 and self.msg.method_text.n \
                and self.msg.method != METHOD_ACK and msg_via(&self.msg) == 0:
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
        cdef int fault
        if m.via.alias and self.listed:
            # RFC 5923 7.2. Whether the connection is one that may be used so is for the streams to say.
            self.alias_port = m.via.port if m.via.port else default_port(TRANSPORT_TLS)
        if m.to.tag.n == TAG_TEXT and self.identity.is_own_tag(m.to.tag) and not self._goes_through(m) \
                and self._request_inside(listener, source, key):
            return
        if self._turn_away(listener, source, key):
            return
        fault = plan_routing(m, &self.routing, self.listeners, self.listener_count)
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
            self._apply(listener, source, key, loop, self._decide(listener, source, True, record_slot), record_slot,
                        True)
        else:
            self._forward(listener, source, key, loop, None, record_slot, True)

    cdef bint _goes_through(self, Msg* m) noexcept:
        """Whether a request for a dialog of our own comes by one that we forward: whom we have called has called on
        through us, and its Route leads there first (16.4)."""
        return (msg_has(m, H_ROUTE) and plan_routing(m, &self.routing, self.listeners, self.listener_count) == 0
                and self.routing.token.n != 0)

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

    cdef void _apply(self, uint32_t listener, const Address* source, uint64_t key, uint32_t loop, Verdict verdict,
                     uint32_t record_slot, bint in_dialog) noexcept:
        if verdict is None:
            self._refuse(listener, source, 500, b"", b"")
        elif verdict.action == ACTION_FORWARD:
            if verdict.control and self.msg.method == METHOD_INVITE and not in_dialog:
                self._control(listener, source, key, verdict)
            else:
                self._forward(listener, source, key, loop, verdict, record_slot, in_dialog)
        elif verdict.action == ACTION_REJECT:
            if self.msg.method == METHOD_REFER:
                self.counters[C_REFERS_REFUSED] += 1
            self._refuse(listener, source, <uint32_t>verdict.status, verdict.reason.encode("ascii", "replace"),
                         verdict.headers)
        elif verdict.action == ACTION_LOCAL:
            self._refuse(listener, source, 200, b"", _ALLOW + verdict.headers)

    cdef int _resolve(self, Slice text, Address* out, Record* record) noexcept:
        """Where a URI leads, as far as it says so itself; 0, HOP_NAME, or the status to answer with.

        record: of the dialog that the request is inside, NULL for none. Its far end may have connected to us: then the
        connection is the way there, as long as it stands, and the only one to a WebSocket client: its Contact names no
        address, or none that is its own, and says ws for wss as well (RFC 7118 5.3, 8.1).
        """
        cdef int status = self.where(text, out)
        cdef Address* end
        cdef bint connected
        if record == NULL or (status != HOP_OK and status != HOP_NAME):
            return status
        end = &record.callee if self._tag_hash(self.msg.from_.tag) == record.caller_tag else &record.caller
        connected = end.scope & SCOPE_FLOW != 0
        if out.transport == TRANSPORT_UDP:
            if not connected or end.transport != TRANSPORT_UDP:
                return status
            # It is behind NAT: only where its requests come from can it be reached.
            out[0] = end[0]
            out.scope &= ~SCOPE_FLOW
        elif connected and is_websocket(end.transport) and is_websocket(out.transport):
            out[0] = end[0]
        elif end.transport != out.transport or not (address_same_host(end, out) if status == HOP_OK else connected):
            return status
        elif connected:
            out[0] = end[0]
        elif out.scope == 0:
            # One server, one certificate: what its name was when the dialog began, it still is.
            out.scope = end.scope
        return HOP_OK

    cdef int _flow(self, Address* to) noexcept:
        """Where a Path of ours, which comes back in Route, leads (RFC 3327 5.3, RFC 5626 5.3): the listener to send
        from; -1 where there is none, -2 where it is not ours."""
        cdef Slice text
        cdef uint8_t listener
        if not uri_param(&self.routing.values[0].uri, b"f", 1, &text):
            return -1
        if not self.identity.get_flow(text, &listener, to) or listener >= self.listener_count:
            return -2
        return listener

    cdef bint _stays_secure(self, const Address* source, const Address* to) noexcept nogil:
        """Whether what asked for TLS on every hop came and goes that way (RFC 5630 3.1.3, 5.1.1)."""
        return is_secure(source.transport) and is_secure(to.transport)

    cdef bytes _no_way(self, int status):
        """The reason phrase of a request that cannot be sent on."""
        if status == 480:
            return b"Temporarily Unavailable - sips needs TLS on every hop"
        if status == 416 and self.msg.uri.scheme == SCHEME_SIPS:
            return b"SIPS Needs TLS, Which Is Not Available"
        return b"Service Unavailable - no address or listener for the next hop" if status == 503 else b""

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
        """RFC 3261 16.6: one copy to the first target, its server transaction opened, 100 for an INVITE; where a name
        stands there that nobody knows yet, the same without the copy."""
        cdef Msg* m = &self.msg
        cdef Target target = None
        cdef tuple targets = ()
        cdef Slice uri
        cdef Address to
        cdef int status = 0, out, wanted, flow = -1
        cdef bint by_tcp = False, retold = False
        cdef Address noted
        cdef uint32_t slot, attempt, n
        cdef Tx* tx
        cdef Record* record = NULL if record_slot == NO_RECORD else &self.records.slab[record_slot]
        cdef bint begins_call = (verdict is not None and verdict.record_route and not in_dialog
                                 and m.method == METHOD_INVITE)
        wanted = self.routing.out if self.routing.out != 255 else -1
        if self.routing.own and not in_dialog:
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
        if begins_call and verdict.anchor and self.media.retells(self.records.slab[record_slot].media):
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
            if status == 0 and in_dialog and verdict is None and self.dialog_budget and n > self.dialog_budget:
                # What the dialog forwards without a decision is decided after all when it is big.
                verdict = self._decide(listener, source, True, record_slot)
                if verdict is not None and verdict.action != ACTION_FORWARD:
                    verdict = None
            # On a stream nothing is fragmented.
            if (status == 0 and verdict is not None and verdict.budget and n > verdict.budget
                    and self.oversize is not None and (to.transport == TRANSPORT_UDP or len(targets) > 1)):
                verdict = self._shrink(listener, source, verdict, n, in_dialog, record_slot)
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
                if verdict.targets and target is not None and (<Target>verdict.targets[0]).place is None:
                    target = <Target>verdict.targets[0]
                    targets = verdict.targets
                if by_tcp and attempt == slot:
                    attempt = self._open_search(slot, verdict, targets, loop)
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
            self._note_request(slot, record_slot)
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

    cdef bint _may_begin(self, uint32_t owner, uint32_t slot, int* out, Address* to, Target target,
                         Search search) except -1:
        """What `_forward` looks at where it knows the target from the start: who may send there, and the size."""
        cdef Tx* tx = &self.slab[owner]
        cdef uint32_t record_slot = self._record_of(owner, search), n = edit_size(&self.edit)
        cdef Verdict verdict = search.verdict
        cdef bint in_dialog
        if not search.listed and not self._may_go(
                to, NULL if record_slot == NO_RECORD else &self.records.slab[record_slot]):
            self.counters[C_UNLISTED_DROPPED] += 1
            search.status = 403
            return False
        if tx.flags & TX_BEGINS and record_slot != NO_RECORD:
            self.records.slab[record_slot].callee = to[0]
        in_dialog = self.stored.to.tag.n > 0 and not tx.flags & TX_BEGINS
        if n <= (verdict.budget if verdict is not None else self.dialog_budget) or self.oversize is None:
            return True
        if index_message(&self.msg, tx.request, tx.request_n, &self.limits) != 0 or msg_uri(&self.msg) != 0:
            raise ValueError("the stored request does not parse")
        self.group = search.group
        if verdict is None and in_dialog and self.dialog_budget:
            verdict = self._decide(tx.listener_in, &tx.source, True, record_slot)
            if verdict is not None and verdict.action != ACTION_FORWARD:
                verdict = None
        if (verdict is None or verdict.budget == 0 or n <= verdict.budget
                or (to.transport != TRANSPORT_UDP and search.next == len(search.targets))):
            return True
        verdict = self._shrink(tx.listener_in, &tx.source, verdict, n, in_dialog, record_slot)
        search.verdict = verdict
        if verdict.tcp:
            if self._by_tcp(to, out, tx.listener_in):
                self._try_tcp_first(search, verdict, search.next - 1)
            else:
                search.verdict = verdict = verdict.fallback
        if verdict.action == ACTION_REJECT:
            self.counters[C_OVERSIZE_REFUSED] += 1
            search.refusal = verdict
            return False
        return self._plan(&self.stored, slot, search.loop, tx.listener_in, <uint32_t>out[0], &tx.source, to, verdict,
                          target, record_slot, in_dialog) == 0

    cdef Verdict _shrink(self, uint32_t listener, const Address* source, Verdict verdict, uint32_t size,
                         bint in_dialog, uint32_t record_slot):
        """Ask the policy for a verdict under which the request fits its budget (transfers.md 4)."""
        cdef Verdict smaller
        self.counters[C_OVERSIZE] += 1
        self.asked.point(&self.msg, self.group, <int>listener, source, in_dialog)
        if in_dialog:
            self._know(record_slot)
        self.asked.body_replaced = self.body_replaced
        self.asked.body_growth = self.body_growth
        try:
            smaller = self.oversize(self.asked, verdict, size)
        finally:
            self.asked.msg = NULL
        if smaller is None:
            raise TypeError("oversize returned None, expected a Verdict")
        if smaller.action != ACTION_REJECT and smaller.warn:
            self.counters[C_FRAGMENTED] += 1
        if smaller.note or smaller.warn:
            self._trouble("; ".join(text for text in (smaller.note, smaller.warn) if text))
        return smaller

    cdef bint _ack_way(self, Address* to, Record* record) noexcept:
        """Where an ACK goes; False where it leads nowhere. It waits for no name: the next one, which the far end's next
        2xx brings, finds it known."""
        cdef int status = self._resolve(self.routing.next_hop, to, record)
        cdef tuple targets
        cdef Target target
        if status != HOP_NAME:
            return status == 0
        try:
            targets = (self._named(self.routing.next_hop, -1),)
            if self.msg.uri.scheme == SCHEME_SIPS:
                targets = self._secured(targets)
            target = <Target>self._as_known(targets, &self.msg)[0]
            if target.place is None:
                to[0] = target.address
                if target.name:
                    to.scope = <uint32_t>self.names.number(target.name)
                return True
            self.naming.resolve(target.place, _unheard)
        except Unresolved:
            pass
        except Exception as error:
            self._trouble(f"ACK not forwarded: {type(error).__name__}: {error}")
        return False

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
