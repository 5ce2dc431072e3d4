"""The streams of anchored calls: a relay session for each media section, opened, aimed and closed."""
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from sipcore.anchor.description cimport CODEC_TEXT, MAX_SECTIONS, RECEIVES, SENDS, TREAT_ANCHOR, goes_nowhere
from sipcore.anchor.exchange cimport EXCHANGE_OFFERED, EXCHANGES
from sipcore.base.address cimport address_equal
from sipcore.media.session cimport NO_SESSION, SIDES, Aim


cdef class Streams(MediaHook):
    """A media hook with calls and a relay. calls: how many at once."""

    def __cinit__(self, MediaRelay relay not None, uint32_t calls=4096):
        self.relay = relay
        self.capacity = calls
        self.calls = <Call*>calloc(calls, sizeof(Call))
        self.owners = <uint32_t*>calloc(relay.sessions, sizeof(uint32_t))
        if self.calls == NULL or self.owners == NULL:
            raise MemoryError
        self.pools_of = ()
        self.hosts = []

    def __dealloc__(self):
        free(self.calls)
        free(self.owners)

    cdef void _begin_again(self, Call* call) noexcept:
        """The offer goes to another target: what the one before answered is void.

        Where that is reached by a listener whose peers are told other media addresses, the ports are given back.
        """
        cdef uint32_t i
        cdef int side
        for i in range(MAX_SECTIONS):
            call.streams[i].agreed = False
        for side in range(2):
            if call.pools[side] != NO_POOL and call.pools[side] not in self._pools(call.listeners[side]):
                for i in range(MAX_SECTIONS):
                    self._close(call, i)
                call.pools[CALLER] = call.pools[CALLEE] = NO_POOL

    cdef bint _ready(self, Call* call, uint32_t i) noexcept:
        """A relay session with ports towards both sides for section i; False where there is none to be had."""
        cdef Stream* stream = &call.streams[i]
        cdef uint8_t masks[SIDES]
        if stream.session != NO_SESSION:
            return True
        stream.session = self.relay.open()
        if stream.session == NO_SESSION:
            return False
        self.owners[stream.session] = <uint32_t>(call - self.calls) + 1
        if not self._bind(call, i, CALLER) or not self._bind(call, i, CALLEE):
            self._close(call, i)
            return False
        if call.rules.kept:
            self.relay.capture(stream.session)
        memset(masks, 0, sizeof(masks))
        masks[CALLER] = 1 << CALLEE
        masks[CALLEE] = 1 << CALLER
        self.relay.hear(stream.session, masks)
        return True

    cdef tuple _pools(self, uint8_t listener):
        """Media addresses that the peers of a listener may be told."""
        return self.pools_of[listener] if listener < len(self.pools_of) else ()

    cdef bint _bind(self, Call* call, uint32_t i, int side) noexcept:
        """A port towards one side, from the first media address of its listener that has one free.

        All sections of one side share one address, because most descriptions have one c= for all.
        """
        cdef Stream* stream = &call.streams[i]
        cdef int port, pool, chosen = call.pools[side]
        for pool in self._pools(call.listeners[side]) if chosen == NO_POOL else range(len(self.hosts)):
            if chosen != NO_POOL and self.hosts[pool] != self.hosts[chosen]:
                continue
            port = self.relay.bind(stream.session, side, pool)
            if port >= 0:
                stream.ports[side] = <uint16_t>port
                call.pools[side] = <int16_t>pool
                return True
        return False

    cdef void _close(self, Call* call, uint32_t i) noexcept:
        cdef Stream* stream = &call.streams[i]
        if stream.session != NO_SESSION:
            self.owners[stream.session] = 0
            self.relay.close(stream.session)
            memset(stream, 0, sizeof(Stream))
            stream.session = NO_SESSION

    cdef void _close_unused(self, Call* call) noexcept:
        """Close what only a refused offer wanted."""
        cdef uint32_t i
        cdef int k
        cdef bint wanted
        for i in range(MAX_SECTIONS):
            wanted = call.streams[i].agreed
            for k in range(EXCHANGES):
                wanted = wanted or (call.exchanges[k].state == EXCHANGE_OFFERED and i < call.exchanges[k].count
                                    and call.exchanges[k].sections[i].open)
            if not wanted:
                self._close(call, i)

    cdef void _commit(self, Call* call, const Exchange* exchange, uint8_t answerer, const Section* answers,
                      bint final) noexcept:
        """Let flow what offer and answer agree on; answers: MAX_SECTIONS."""
        cdef uint32_t i
        cdef const Section* offer
        cdef const Section* answer
        for i in range(MAX_SECTIONS):
            if call.streams[i].session == NO_SESSION:
                continue
            offer = &exchange.sections[i]
            answer = &answers[i]
            if i < exchange.count and offer.open and answer.open and offer.treatment == TREAT_ANCHOR:
                self._aim(call, i, exchange.offerer, offer, answer, answer)
                self._aim(call, i, answerer, answer, offer, answer)
                call.streams[i].agreed = True
                memcpy(call.streams[i].codec, answer.codec, CODEC_TEXT)
            elif final:
                self._close(call, i)

    cdef void _aim(self, Call* call, uint32_t i, uint8_t side, const Section* own, const Section* other,
                   const Section* answer) noexcept:
        cdef Stream* stream = &call.streams[i]
        cdef Aim aim
        memset(&aim, 0, sizeof(Aim))
        aim.mux = own.mux and other.mux
        if goes_nowhere(&own.rtp):
            aim.rtp = stream.rtp[side]
            aim.rtcp = aim.rtp
            aim.rtcp.port += not aim.mux
        else:
            aim.rtp = own.rtp
            aim.rtcp = own.rtp if aim.mux else own.rtcp
            aim.moved = stream.aimed >> side & 1 and not address_equal(&own.rtp, &stream.rtp[side])
            stream.rtp[side] = own.rtp
        stream.aimed |= 1 << side
        aim.signalling = call.signalling[side]
        aim.learning = call.rules.learning
        aim.active = True
        aim.sends = own.direction & SENDS and other.direction & RECEIVES
        aim.receives = own.direction & RECEIVES != 0
        aim.payload = answer.payload
        aim.event_payload = other.event_payload
        aim.clock = answer.clock
        aim.ptime = own.ptime
        self.relay.aim(stream.session, side, &aim)
