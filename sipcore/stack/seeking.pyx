"""Requests whose next hop is a host name (RFC 3263), on their way through a Relay.

A name that is known costs a look into a cache, and the request goes on as if the addresses stood in its verdict. One
that is not known makes it wait: its server transaction is there, so its sender hears 100 (INVITE), may send it again or
CANCEL it, and what was found for it later is tried target by target as any serial search. Nothing else waits with it.

  waits      the name leads somewhere                  the next target is tried
             it leads nowhere, nobody answers in time  the target after it; without one 480, 482 or 503, with the reason
             CANCEL                                    487 at once; what is found later is for nobody
             a final answer of another target          as that search goes
"""
from libc.stdint cimport uint32_t, uint64_t
from cpython.ref cimport Py_INCREF, PyObject
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice, slice_bytes, slice_of
from sipcore.stack.counters cimport C_UNROUTABLE
from sipcore.stack.failover cimport Search
from sipcore.stack.naming cimport Pending, place_of
from sipcore.stack.relay cimport Relay
from sipcore.stack.tx cimport (
    NO_RECORD, NO_TX, ROLE_PROXY, SERVER_PROCEEDING, SERVER_TRYING, TX_CANCELLED, Tx,
)
from sipcore.stack.verdict cimport Target, Verdict
from sipcore.wire.index cimport Msg, index_message, msg_value
from sipcore.wire.tables cimport H_CALL_ID

from functools import partial

from sipcore.base.place import Unresolved, in_order, seed_of

cdef tuple _SECURE = ("tls", "wss")


cdef class Seeking(Relay):
    """pending: the requests that wait for a name."""

    def __cinit__(self, *_, **__):
        self.pending = Pending()

    cdef tuple _reached(self, Target target, object outcome, Msg* m):
        """A target for each address that a name led to, in the order for this call."""
        call_id = slice_bytes(msg_value(m, H_CALL_ID)).decode("utf-8", "surrogateescape")
        return tuple([
            Target(one.ip, one.port, target.listener, target.uri, one.transport,
                   (target.name or one.name) if one.transport in _SECURE else "")
            for one in in_order(outcome, seed_of(call_id))])

    cdef Target _named(self, Slice uri, int listener):
        """The target that a URI with a host name stands for."""
        cdef Target target = Target.__new__(Target)
        target.place = place_of(uri)
        target.listener = listener
        target.uri = b""
        target.name = ""
        return target

    cdef tuple _secured(self, tuple targets):
        """The targets of a request that asks for TLS on every hop: names lead to what is reached by that alone."""
        cdef Target target, copy
        secured = []
        for target in targets:
            if target.place is not None:
                copy = Target.__new__(Target)
                copy.place = target.place._replace(secure=True)
                copy.listener, copy.uri, copy.name = target.listener, target.uri, target.name
                target = copy
            secured.append(target)
        return tuple(secured)

    cdef tuple _as_known(self, tuple targets, Msg* m):
        """The targets with the addresses of a name in front, where they are known; a name stays in front where it has
        to be asked for. Raises Unresolved where none of them leads anywhere."""
        cdef Target target
        unresolved = None
        while targets:
            target = <Target>targets[0]
            if target.place is None:
                return targets
            outcome = self.naming.known(target.place)
            if outcome is None:
                return targets
            targets = targets[1:]
            if not isinstance(outcome, Unresolved):
                return self._reached(target, outcome, m) + targets
            unresolved = outcome
        raise unresolved

    cdef bint _seek(self, uint32_t slot, Verdict verdict, tuple targets, uint32_t loop, uint32_t record_slot) noexcept:
        """Begin the search for a request that is kept already, and whose first target is a name that has to be asked
        for; False where it cannot wait, see `_fail`."""
        cdef Search search = Search()
        cdef Tx* tx = &self.slab[slot]
        search.verdict = search.decided = verdict
        search.targets = targets
        search.loop = loop
        search.attempts = []
        search.record = record_slot
        if record_slot != NO_RECORD:
            search.record_generation = self.records.slab[record_slot].generation
        search.group = self.group
        search.upstream = verdict.upstream if verdict is not None else -1
        search.listed = self.listed
        search.begins = True
        Py_INCREF(search)
        tx.context = <void*><PyObject*>search
        return self._try_next(slot)

    cdef Target _next_target(self, uint32_t owner, Search search):
        cdef Target target
        cdef Tx* tx = &self.slab[owner]
        while search.next < len(search.targets):
            target = <Target>search.targets[search.next]
            if target.place is None:
                search.next += 1
                return target
            outcome = self.naming.known(target.place)
            if outcome is None:
                outcome = self._ask(owner, search, target)
                if outcome is None:
                    return None
            self._put(search, target, outcome, tx)
        return None

    cdef bint _may_wait(self, const Address* source) noexcept:
        """Whether there is room for one more request of an address that waits."""
        return self.pending.has_room(slice_bytes(slice_of(source.ip, 16)))

    cdef object _ask(self, uint32_t owner, Search search, Target target):
        """Ask for a name, and let the search wait for it; the outcome where that is known after all."""
        cdef Tx* tx = &self.slab[owner]
        cdef uint64_t handle = <uint64_t>tx.generation << 32 | owner
        if not self._may_wait(&tx.source):
            return Unresolved(target.place, "does not resolve: too many requests wait for names")
        try:
            alarm = self.alarms.at(self.now + self.pending.deadline_ms, partial(self._give_up, handle, target.place))
            outcome = self.naming.resolve(target.place, partial(self.resolved, handle))
        except Exception as error:
            self._trouble(f"{target.place} not looked up: {type(error).__name__}: {error}")
            return Unresolved(target.place, "does not resolve")
        if outcome is not None:
            alarm.cancel()
            return outcome
        self.pending.add(handle, slice_bytes(slice_of(tx.source.ip, 16)), alarm)
        search.waiting = True
        return None

    cdef void _put(self, Search search, Target target, object outcome, Tx* tx) noexcept:
        """The addresses take the place of the name that is next."""
        cdef tuple found = ()
        cdef int at = search.next
        if isinstance(outcome, Unresolved):
            search.why = outcome
        elif tx.request != NULL and index_message(&self.stored, tx.request, tx.request_n, &self.limits) == 0:
            found = self._reached(target, outcome, &self.stored)
        search.targets = search.targets[:at] + found + search.targets[at + 1:]

    def _give_up(self, uint64_t handle, place):
        self.resolved(handle, Unresolved(place, "does not resolve: no answer in time"), self.now)

    def resolved(self, uint64_t handle, outcome, uint64_t now):
        """Take the outcome for a name that a request waits for, by the handle that the Naming was given. now: ms."""
        cdef uint32_t slot = <uint32_t>(handle & 0xFFFFFFFF)
        cdef Search search
        cdef Tx* tx = &self.slab[slot]
        if not self.pending.take(handle):
            return
        self.now = now
        if tx.role != ROLE_PROXY or tx.generation != <uint32_t>(handle >> 32) or tx.context == NULL:
            return
        search = <Search>tx.context
        search.waiting = False
        if search.settled or (tx.server != SERVER_TRYING and tx.server != SERVER_PROCEEDING):
            return
        self._put(search, <Target>search.targets[search.next], outcome, tx)
        if not self._try_next(slot):
            self._fail(slot)

    cdef void _fail(self, uint32_t slot) noexcept:
        """Nothing can be sent any more for a request that waited for a name."""
        cdef Search search = <Search>self.slab[slot].context
        if self._still_trying(slot, NO_TX, True):
            return
        if search.refusal is not None:
            self._finish(slot, <uint32_t>search.refusal.status, search.refusal.reason.encode("ascii", "replace"),
                         search.refusal.headers)
            return
        if search.status:
            self._end_with_best(slot, search, False)
            return
        self.counters[<int>C_UNROUTABLE] += 1
        if search.why is None:
            self._finish(slot, 503, b"", b"")
        else:
            self._finish(slot, search.why.status, search.why.reason.encode("ascii", "replace"), b"")

    cdef void on_cancel(self, uint32_t listener, const Address* source, uint32_t slot) noexcept:
        cdef Search search
        Relay.on_cancel(self, listener, source, slot)
        if (slot == NO_TX or self.slab[slot].role != ROLE_PROXY or self.slab[slot].context == NULL
                or not self.slab[slot].flags & TX_CANCELLED):
            return
        search = <Search>self.slab[slot].context
        if not search.waiting:
            return
        search.waiting = False
        self.pending.take(<uint64_t>self.slab[slot].generation << 32 | slot)
        if not self._still_trying(slot, NO_TX, True):
            self._finish(slot, 487, b"", b"")
