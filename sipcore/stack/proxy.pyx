"""The proxy core: a request on its way in (RFC 3261 16.3), loop detection (RFC 5393), and the decision.

What belongs to something that is known already (a response by its branch, an in-dialog request by its token) is
forwarded without Python. What begins something is decided by `decide`, once, and its Verdict is remembered for
the listener, group and method where the policy read nothing else.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.address cimport Address, TRANSPORT_TLS, TRANSPORT_UDP, address_from
from sipcore.base.slice cimport Slice, slice_bytes, slice_from
from sipcore.stack.admission cimport ADMIT_FORBID, ADMIT_LISTED, ADMIT_SILENT, Admission
from sipcore.stack.counters cimport *
from sipcore.stack.failover cimport Search
from sipcore.stack.forward cimport Forwarding
from sipcore.stack.guarding cimport Guarding
from sipcore.stack.headerfilter cimport HeaderFilter
from sipcore.stack.hop cimport default_port
from sipcore.stack.identity cimport BranchParts, Identity, TAG_TEXT
from sipcore.stack.loop cimport has_looped, loop_hash
from sipcore.stack.mediahook cimport MediaHook
from sipcore.stack.realmfilter cimport RealmFilter
from sipcore.stack.record cimport CALL_ID_KEPT, Names, Records
from sipcore.stack.routing cimport plan_routing
from sipcore.stack.targettable cimport TargetTable
from sipcore.stack.tx cimport NO_RECORD, NO_TX, ROLE_PROXY, SERVER_TRYING, Tx
from sipcore.stack.useragent cimport UserAgent
from sipcore.stack.verdict cimport ACTION_FORWARD, ACTION_LOCAL, ACTION_REJECT, Request, Verdict
from sipcore.wire.fault cimport FAULT_VERSION, fault_text
from sipcore.wire.index cimport NO_HEADER, Msg, header_value, index_message, msg_has, msg_value
from sipcore.wire.nameaddr cimport next_value
from sipcore.wire.stun cimport is_stun
from sipcore.wire.tables cimport (
    H_CALL_ID, H_PROXY_REQUIRE, METHOD_ACK, METHOD_COUNT, METHOD_INVITE, METHOD_OPTIONS, METHOD_OTHER, METHOD_REFER,
    METHOD_UPDATE,
)
from sipcore.wire.values cimport msg_max_forwards, msg_via

from sipcore.wire.tables import METHODS

cdef bytes _ALLOW = b"Allow: " + ", ".join(name for name in METHODS if name).encode() + b"\r\n"


cdef class Proxy(Forwarding):
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
        self.refer_notes = {}
        self.media = media
        self.configure(admission, decide, oversize, internal=internal, outcome_ms=outcome_ms)

    def configure(self, Admission admission not None, decide, oversize=None, *, internal=(),
                  uint32_t outcome_ms=300_000, uint32_t max_calls=0, uint32_t dialog_budget=0, groups=(), upstreams=(),
                  realms=()):
        """Take over another configuration: one assignment, calls in progress go on as they were decided.

        dialog_budget: bytes above which a request inside a dialog is decided too; 0 for never. realms: credentials for
        them are taken out of what goes on. groups, upstreams: their names by index; calls in progress keep theirs.
        """
        cdef Names groups_before = self.records.groups, upstreams_before = self.records.upstreams
        self.admission = admission
        self.decide = decide
        self.oversize = oversize
        self.internal = HeaderFilter(internal) if internal else None
        self.realms = RealmFilter(realms) if realms else None
        self.outcome_ms = outcome_ms
        self.max_calls = max_calls
        self.dialog_budget = dialog_budget
        if self.records.set_names(groups, upstreams):
            self._renumber(groups_before, upstreams_before)
        self.memo = [None] * (max(1, len(admission.tries)) * max(1, admission.groups) * METHOD_COUNT)

    cdef object _renumber(self, Names groups, Names upstreams):
        """Searches and retry budgets follow what had these names. A group that is gone is none: nothing is trusted."""
        cdef uint32_t slot
        cdef Search search
        for slot in range(self.fresh):
            if self.slab[slot].role == ROLE_PROXY and self.slab[slot].context != NULL:
                search = <Search>self.slab[slot].context
                search.group = self.records.groups.find(groups, search.group)
                search.best_group = self.records.groups.find(groups, search.best_group)
                search.upstream = self.records.upstreams.find(upstreams, search.upstream)
        self.targets.renumber([self.records.upstreams.find(upstreams, i) for i in range(len(upstreams.names))])

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
        cdef bint looked = False
        cdef uint64_t moved = self.moved
        self.now = now
        self.inside = 0
        self.counters[C_DATAGRAMS_IN] += 1
        if self.proven_group >= 0:
            # What a certificate proved goes before the address.
            self.group = self.proven_group
            self.proven_group = -1
            admittance = self.admission.rules[self.group].admittance if self.group < <int>self.admission.groups \
                else ADMIT_SILENT
        else:
            admittance = self.admission.admit(listener, source, &self.group)
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
            # A target may answer however much it is asked, without being in a group.
            looked = not self.targets.find(source)
            if looked and not self.admission.may_look(source, now):
                self.counters[C_RATE_LIMITED] += 1
                return
        if source.transport == TRANSPORT_UDP and is_stun(data, n):
            self._take_stun(listener, source, data, n)
            return
        self.receive_admitted(listener, source, data, n)
        if looked and self.moved != moved:
            self.admission.has_proven(source)
        self.outbox.call = 0

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
                self.inside = key if proven and m.method == METHOD_INVITE else 0
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
        if m.max_forwards == 0 and (m.method != METHOD_OPTIONS or proven or self.routing.own < self.routing.count):
            self._end_hops(listener, source)
            return
        if msg_has(m, H_PROXY_REQUIRE):
            # 16.3 step 5: there is no option tag that this proxy understands.
            values = b", ".join(self._proxy_require())
            if values:
                self._refuse(listener, source, 420, b"", b"Unsupported: " + values + b"\r\n")
                return
        loop = loop_hash(m, <uint32_t>(self.group + 1) << 8 | listener)
        if has_looped(self.identity, m, loop):
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

    cdef void _refuse(self, uint32_t listener, const Address* source, uint32_t status, bytes reason,
                      bytes headers) noexcept:
        """Refuse self.msg. An INVITE inside a dialog gets a transaction for it, where its ACK ends (RFC 3261 17.2.1):
        with the dialog's token it would pass as the ACK to a 2xx."""
        cdef Tx* tx
        cdef uint32_t slot = self.open(ROLE_PROXY, METHOD_INVITE) if self.inside and status >= 300 else NO_TX
        if slot == NO_TX or not self.keep_request(&self.slab[slot], self.msg.base + self.msg.start,
                                                  self.msg.n - self.msg.start):
            if slot != NO_TX:
                self.close(slot)
            Forwarding._refuse(self, listener, source, status, reason, headers)
            return
        tx = &self.slab[slot]
        tx.listener_in = <uint8_t>listener
        self.reply_address(source, &tx.source)
        tx.server = SERVER_TRYING
        self.remember(slot, self.inside)
        self.respond(slot, status, slice_from(reason), slice_from(headers))
        self.settle(slot)
        self.rearm(slot)

    cdef void _end_hops(self, uint32_t listener, const Address* source) noexcept:
        self.counters[C_TOO_MANY_HOPS] += 1
        self._refuse(listener, source, 483, b"", b"")

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
            if self.msg.max_forwards == 0:
                # An OPTIONS: whether we answer it ourselves (11.2) was for the policy to say.
                self._end_hops(listener, source)
            elif verdict.control and self.msg.method == METHOD_INVITE and not in_dialog:
                self._control(listener, source, key, verdict)
            else:
                self._forward(listener, source, key, loop, verdict, record_slot, in_dialog)
        elif verdict.action == ACTION_REJECT:
            if self.msg.method == METHOD_REFER:
                self.counters[C_REFERS_REFUSED] += 1
                call_id = slice_bytes(msg_value(&self.msg, H_CALL_ID))[:CALL_ID_KEPT].decode("utf-8", "replace")
                why = verdict.note or verdict.reason
                self._trouble(f"REFER refused with {verdict.status}: {why}; Call-ID {call_id}")
            self._refuse(listener, source, <uint32_t>verdict.status, verdict.reason.encode("ascii", "replace"),
                         verdict.headers)
        elif verdict.action == ACTION_LOCAL:
            self._refuse(listener, source, 200, b"", _ALLOW + verdict.headers)
