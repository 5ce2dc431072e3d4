"""Requests that are too big for UDP (transfers.md 4): each is measured as it leaves for the target at hand, and made
smaller by the policy before it is sent.

Cost: one comparison for a request that fits; one look into a table where the kernel may know of a narrow way to it.
"""
from libc.stdint cimport uint32_t
from sipcore.base.address cimport Address, TRANSPORT_UDP
from sipcore.stack.counters cimport *
from sipcore.stack.failover cimport Search
from sipcore.stack.pathlimits cimport LEAST_LIMIT
from sipcore.stack.plan cimport Passage, plan_request
from sipcore.stack.tx cimport NO_TX, TX_BEGINS, Tx
from sipcore.stack.verdict cimport ACTION_FORWARD, ACTION_REJECT, Target, Verdict
from sipcore.wire.edit cimport edit_size
from sipcore.wire.index cimport Msg, index_message
from sipcore.wire.values cimport msg_uri, msg_via

cdef enum:
    UDP_IPV4 = 65507        # bytes that a datagram can carry
    UDP_IPV6 = 65487

cdef Verdict _SHORT = Verdict(compact=True)


cdef class Sizing(Wayfinding):
    """A Wayfinding that looks at sizes."""

    cdef bint _exceeds(self, const Address* to, uint32_t size, uint32_t budget) noexcept:
        """Whether a request is over its budget, or over what the kernel knows of the way; on a stream nothing is
        fragmented."""
        return to.transport == TRANSPORT_UDP and (
            size > budget or (size > LEAST_LIMIT and self.paths is not None and size > self.paths.limit(to, self.now)))

    cdef Verdict _shrink(self, uint32_t listener, const Address* source, Verdict verdict, uint32_t size,
                         bint in_dialog, uint32_t record_slot, Target target, int out):
        """Ask the policy for a verdict under which the request fits its budget on the way to a target (transfers.md
        4)."""
        cdef Verdict smaller
        self.counters[C_OVERSIZE] += 1
        self.asked.point(&self.msg, self.group, <int>listener, source, in_dialog)
        if in_dialog:
            self._know(record_slot)
        self.asked.body_replaced = self.body_replaced
        self.asked.body_growth = self.body_growth
        self.asked.towards = target
        self.asked.realms = self.realms
        if self.internal is not None and not self._may_pass_internal(<uint32_t>out, &target.address):
            self.asked.internal = self.internal
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

    cdef bint _fits(self, uint32_t owner, uint32_t slot, int* out, Address* to, Target target,
                    Search search) except -1:
        """The size, which `_forward` looks at for the first target (transfers.md 4)."""
        cdef Tx* tx = &self.slab[owner]
        cdef Verdict verdict = search.verdict
        cdef uint32_t record_slot, budget = verdict.budget if verdict is not None else self.dialog_budget
        cdef bint in_dialog
        if budget == 0 or self.oversize is None or not self._exceeds(to, edit_size(&self.edit), budget):
            return True
        record_slot = self._record_of(owner, search)
        in_dialog = self.stored.to.tag.n > 0 and not tx.flags & TX_BEGINS
        verdict = self._smaller(owner, search, target, out[0], in_dialog, record_slot)
        if verdict is None:
            return True
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

    cdef Verdict _smaller(self, uint32_t owner, Search search, Target target, int out, bint in_dialog,
                          uint32_t record_slot):
        """The verdict for a stored request that is too big for a target; None where it is not. self.msg, which may be
        the answer of the target before it, is lent to it."""
        cdef Tx* tx = &self.slab[owner]
        cdef Msg lent = self.msg
        cdef uint32_t size = edit_size(&self.edit)
        cdef Verdict verdict = search.verdict
        try:
            if (index_message(&self.msg, tx.request, tx.request_n, &self.limits) != 0 or msg_uri(&self.msg) != 0
                    or msg_via(&self.msg) != 0):
                raise ValueError("the stored request does not parse")
            self.group = search.group
            if verdict is None and in_dialog and self.dialog_budget:
                verdict = self._decide(tx.listener_in, &tx.source, True, record_slot)
            if (verdict is None or verdict.action != ACTION_FORWARD or verdict.budget == 0
                    or not self._exceeds(&target.address, size, verdict.budget)):
                return None
            return self._shrink(tx.listener_in, &tx.source, verdict, size, in_dialog, record_slot, target, out)
        finally:
            self.msg = lent

    cdef bint _end_too_big(self, uint32_t owner, Search search) noexcept:
        if search.refusal is None or self._still_trying(owner, NO_TX, True):
            return False
        self._finish(owner, <uint32_t>search.refusal.status, search.refusal.reason.encode("ascii", "replace"),
                     search.refusal.headers)
        return True

    cdef int _shorten_ack(self, uint32_t listener, const Address* source, uint32_t record_slot, const Passage* passage,
                          uint32_t out, const Address* to) except -1:
        """An ACK that is too big gets short names; nobody can be told that it is still too big but the log."""
        cdef Msg* m = &self.msg
        cdef uint32_t size, n = edit_size(&self.edit), budget = self.dialog_budget
        cdef Verdict verdict = self._decide(listener, source, True, record_slot)
        if verdict is not None and verdict.action == ACTION_FORWARD and verdict.budget:
            budget = verdict.budget
        if self.paths is not None:
            budget = min(budget, self.paths.limit(to, self.now))
        if n <= budget:
            return 0
        self.counters[C_OVERSIZE] += 1
        plan_request(&self.edit, m, &self.routing, passage, _SHORT, None)
        self._strip(m, out, to)
        size = edit_size(&self.edit)
        outcome = "compact header names"
        if size > (UDP_IPV6 if to.family == 6 else UDP_IPV4):
            outcome += ", too big for UDP, not sent"
        elif size > budget:
            self.counters[C_FRAGMENTED] += 1
            outcome += ", sent over budget"
        self._trouble(f"size {n:,} of {budget:,} bytes (ACK): {outcome}; now {size:,}")
        return 0
