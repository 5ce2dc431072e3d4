"""The streams of anchored calls: a relay session for each media section, opened, aimed and closed."""
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from sipcore.anchor.callkeys cimport callkeys_agree, callkeys_forget, callkeys_free
from sipcore.anchor.description cimport CODEC_TEXT, MAX_SECTIONS, RECEIVES, SENDS, TREAT_ANCHOR, goes_nowhere
from sipcore.anchor.exchange cimport EXCHANGE_OFFERED, EXCHANGES
from sipcore.base.address cimport Address, address_equal
from sipcore.media.session cimport NO_SESSION, SIDES, Aim
from sipcore.media.srtpkey cimport AES_CM_128_HMAC_SHA1_80, SUITE_NONE


cdef void aim_at(Aim* aim, int side, const Section* own, const Section* told, const Section* answer, Address* rtp,
                 Address* rtcp, uint8_t* aimed) noexcept:
    """What a side's section comes to for the relay, but for its signalling and who may be learned.

    own: what the far end said, told: what it was told, answer: the later one of both. rtp, rtcp: where its media and
    its reports went so far, once the side's bit of aimed is set; all three are brought up to date.
    """
    cdef bint known = aimed[0] >> side & 1
    memset(aim, 0, sizeof(Aim))
    aim.mux = own.mux and told.mux
    if goes_nowhere(&own.rtp):
        aim.rtp = rtp[0]
        aim.rtcp = rtp[0] if aim.mux else rtcp[0]
    else:
        aim.rtp = own.rtp
        aim.rtcp = own.rtp if aim.mux else own.rtcp
        aim.moved = known and not address_equal(&own.rtp, rtp)
        aim.rtcp_moved = known and not address_equal(&aim.rtcp, rtcp)
        rtp[0] = own.rtp
        rtcp[0] = aim.rtcp
    aimed[0] |= 1 << side
    aim.active = True
    aim.sends = own.direction & SENDS and told.direction & RECEIVES
    aim.receives = own.direction & RECEIVES != 0
    aim.payload = answer.payload
    # It sends by the numbers that it was told.
    aim.event_payload = told.event_payload
    aim.clock = answer.clock
    aim.ptime = own.ptime


cdef class Streams(MediaHook):
    """A media hook with calls and a relay. calls: how many at once."""

    def __cinit__(self, MediaRelay relay not None, uint32_t calls=4096):
        self.relay = relay
        self.capacity = calls
        self.calls = <Call*>calloc(calls, sizeof(Call))
        self.exchanges = <Exchange*>calloc(calls, EXCHANGES * sizeof(Exchange))
        self.owners = <uint32_t*>calloc(relay.sessions, sizeof(uint32_t))
        if self.calls == NULL or self.exchanges == NULL or self.owners == NULL:
            raise MemoryError
        self.pools_of = ()
        self.hosts = []
        self.suites = bytes([AES_CM_128_HMAC_SHA1_80])
        self.plain_listeners = b""

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.capacity if self.calls != NULL else 0):
            callkeys_free(self.calls[i].keys)
        free(self.calls)
        free(self.exchanges)
        free(self.owners)

    cdef void _begin_again(self, Call* call) noexcept:
        """The offer goes to another target: what the one before answered is void.

        Where that is reached by a listener whose peers are told other media addresses, the ports are given back.
        """
        cdef uint32_t i
        cdef int side
        for i in range(MAX_SECTIONS):
            call.streams[i].agreed = False
        if call.keys != NULL:
            callkeys_forget(call.keys, CALLEE)
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

    cdef bint _keys_pass(self, int listener) noexcept:
        """Whether the peers of a listener may be told keys, and tell theirs."""
        return not 0 <= listener < len(self.plain_listeners) or not self.plain_listeners[listener]

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
                if call.keys != NULL:
                    self._protect(call, exchange, answerer, i, answer)
                self._aim(call, i, exchange.offerer, offer, answer, answer)
                self._aim(call, i, answerer, answer, offer, answer)
                call.streams[i].agreed = True
                memcpy(call.streams[i].codec, answer.codec, CODEC_TEXT)
            elif final:
                self._close(call, i)

    cdef void _protect(self, Call* call, const Exchange* exchange, uint8_t answerer, uint32_t i,
                       const Section* answer) noexcept:
        """Give the relay the keys that offer and answer agree on."""
        cdef CallKeys* keys = call.keys
        cdef int number = exchange.number, offerer = 1 - answerer
        cdef uint32_t session = call.streams[i].session
        callkeys_agree(keys, number, answerer, i, exchange.sections[i].savp, answer.savp)
        if keys.suite[offerer][i] != SUITE_NONE:
            self.relay.protect(session, offerer, &keys.offered[number][i].key,
                               &keys.own[offerer][i][keys.suite[offerer][i]])
        if keys.suite[answerer][i] != SUITE_NONE:
            self.relay.protect(session, answerer, &keys.answered[i].key,
                               &keys.own[answerer][i][keys.suite[answerer][i]])

    cdef void _aim(self, Call* call, uint32_t i, uint8_t side, const Section* own, const Section* other,
                   const Section* answer) noexcept:
        cdef Stream* stream = &call.streams[i]
        cdef Aim aim
        aim_at(&aim, side, own, other, answer, &stream.rtp[side], &stream.rtcp[side], &stream.aimed)
        aim.signalling = call.signalling[side]
        aim.learning = call.rules.learning
        aim.secure = call.keys != NULL and call.keys.suite[side][i] != SUITE_NONE
        self.relay.aim(stream.session, side, &aim)
