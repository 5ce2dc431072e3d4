"""Overload control, scanners and bans, before a request is looked at any further.

What begins something is refused in the cheapest way while the worker falls behind. A scanner gets no answer. A ban is
earned by strikes, and only over transports on which an address is proven: a connection has completed its handshake, a
UDP packet has whatever address somebody wrote into it. From a banned address the same passes as from one that is not on
the access list: what proves that the edge was there before, so that calls end as they should.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.address cimport Address, TRANSPORT_TCP, TRANSPORT_UDP, address_from, address_host
from sipcore.base.bans cimport Bans
from sipcore.base.slice cimport slice_from
from sipcore.stack.control cimport Controlling
from sipcore.stack.counters cimport (
    C_BANNED, C_KEEPALIVES, C_OVERLOAD_REFUSED, C_RATE_LIMITED, C_SCANNERS, C_STUN_ANSWERED, C_STUN_MALFORMED,
    C_UNLISTED_DROPPED,
)
from sipcore.stack.overload cimport ALL, Overload
from sipcore.wire.fingerprints cimport Fingerprints
from sipcore.wire.index cimport Msg
from sipcore.wire.stun cimport STUN_INDICATION, STUN_MALFORMED, STUN_ROOM, answer_stun
from sipcore.wire.tables cimport METHOD_OPTIONS

cdef bytes _TOO_MUCH = b"Service Unavailable - overload"


cdef inline bint _is_nearly_full(Guarding guarding) noexcept nogil:
    """Whether the rest of the transactions is for calls in progress: from half-way between the limit and the end. A
    window is too long for that, a flood fills a small table in less."""
    return 2 * ALL * <uint64_t>guarding.live > (ALL + guarding.overload.fill_limit) * <uint64_t>guarding.capacity


cdef class Guarding(Controlling):
    """A Controlling that turns away what it cannot or need not serve."""

    def __cinit__(self, *_, **__):
        self.overload = Overload()
        self.bans = Bans()

    def look_for(self, patterns):
        """Drop requests that look like these (see Fingerprints); ValueError says which pattern is none."""
        self.scanners = Fingerprints(patterns) if patterns else None

    def offend(self, str host not None):
        """A strike against an address that has shown that it receives there; ValueError where it is no IP literal."""
        cdef Address source
        address_from(host, 0, &source)
        source.transport = TRANSPORT_TCP
        self._offend(&source)

    def statistics(self):
        found = Controlling.statistics(self)
        found["overload_share"] = self.overload.share
        found["overload_entered"] = self.overload.entered
        found["lag_us"] = self.overload.take_worst()
        found["bans"] = len(self.bans.all(self.now)) if self.bans.banned else 0
        found["bans_earned"] = self.bans.earned
        return found

    cdef void note_lag(self, uint32_t lag, bint lost, uint64_t now) noexcept:
        # What found no room in the outbox is lost as much as what the kernel dropped on its way in.
        lost |= self.outbox.dropped != self.known_dropped
        self.known_dropped = self.outbox.dropped
        self.overload.note(lag, <uint32_t>(<uint64_t>ALL * self.live // self.capacity), lost, now)

    cdef bint is_banned(self, const Address* source, uint64_t now) noexcept:
        return self.bans.holds(source, now)

    cdef bint _is_listed(self, const Address* source, bint listed) noexcept:
        """Whether a source passes as listed: not while it is banned."""
        self.banned = self.bans.banned and self.bans.holds(source, self.now)
        if not self.banned:
            return listed
        self.counters[<int>C_BANNED] += 1
        return False

    cdef void _take_stun(self, uint32_t listener, const Address* source, const uint8_t* data, uint32_t n) noexcept:
        """Tell a peer on the access list where it sends from (RFC 5626 4.4.2); nobody else, because the source of a
        packet may be forged."""
        cdef uint8_t out[STUN_ROOM]
        cdef int answer_n
        if not self.listed:
            self.counters[<int>C_UNLISTED_DROPPED] += 1
            return
        if not self.admission.may_ask(self.group, source, self.now):
            self.counters[<int>C_RATE_LIMITED] += 1
            return
        answer_n = answer_stun(data, n, source, out)
        if answer_n == STUN_MALFORMED:
            self.counters[<int>C_STUN_MALFORMED] += 1
        elif answer_n == STUN_INDICATION:
            self.counters[<int>C_KEEPALIVES] += 1
        elif self.send(listener, source, out, <uint32_t>answer_n):
            self.counters[<int>C_STUN_ANSWERED] += 1

    cdef bint _turn_away(self, uint32_t listener, const Address* source, uint64_t key) noexcept:
        """Whether self.msg, a request, is refused or dropped here. Requests inside dialogs never are. key: of its
        transaction."""
        cdef Msg* m = &self.msg
        if m.to.tag.n:
            return False
        if self.scanners is not None and self.scanners.match(m):
            self.counters[<int>C_SCANNERS] += 1
            self._offend(source)
            return True
        if self.listed and m.method != METHOD_OPTIONS and (_is_nearly_full(self) or (
                self.overload.share and self.overload.refuses(self.now, <uint32_t>(key >> 32)))):
            self.counters[<int>C_OVERLOAD_REFUSED] += 1
            self.answer(listener, source, 503, slice_from(_TOO_MUCH), slice_from(self.overload.retry_after()))
            return True
        return False

    cdef void _offend(self, const Address* source) noexcept:
        """A strike against an address that is proven; UDP addresses are not."""
        cdef uint64_t before = self.bans.earned
        if source.transport == TRANSPORT_UDP:
            return
        self.bans.strike(source, self.now)
        if self.bans.earned != before and self.on_ban is not None:
            try:
                self.on_ban(address_host(source), self.bans.until(source))
            except Exception as error:
                self._trouble(f"ban: {type(error).__name__}: {error}")

    cdef void _stranger(self, uint32_t listener, const Address* source) noexcept:
        if self.banned:
            return
        self._offend(source)
        Controlling._stranger(self, listener, source)
