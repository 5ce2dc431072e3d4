"""Offer and answer (RFC 3264) joined to the relay: descriptions get the edge's ports, sessions follow the answers.

An offer opens what it needs, an answer puts it to use, and an offer that is refused leaves no trace. What a message
is (offer, answer, one that was seen before) is told by its CSeq and its sender, so that a repeated message gets the
same bytes again and changes nothing. A description that is not agreed upon never changes what flows.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from sipcore.anchor.callkeys cimport (
    callkeys_free, callkeys_new, callkeys_place_answer, callkeys_place_offer, callkeys_plan, callkeys_refused,
    callkeys_take_answer, callkeys_take_offer,
)
from sipcore.anchor.description cimport MAX_SECTIONS, TREAT_ANCHOR, TREAT_REFUSE, describe
from sipcore.anchor.exchange cimport (
    EXCHANGE_ANSWERED, EXCHANGE_FREE, EXCHANGE_OFFERED, EXCHANGES, exchange_answered, exchange_of, exchange_room,
)
from sipcore.anchor.figures cimport put_figures
from sipcore.anchor.rewrite cimport Host, Place, host_of, rewrite, take_out_dtls
from sipcore.anchor.sdes cimport SRTP_NEVER, SRTP_OFFER, SRTP_PASS, SRTP_REQUIRE
from sipcore.anchor.streams cimport CALLEE, CALLER, NO_POOL
from sipcore.base.slice cimport slice_of
from sipcore.media.relay cimport MediaRelay
from sipcore.media.session cimport NO_SESSION
from sipcore.stack.mediahook cimport HOOK_LEAVE, HOOK_REPLACE
from sipcore.wire.edit cimport edit_begin, edit_render, edit_size
from sipcore.wire.fault cimport fault_text
from sipcore.wire.multipart cimport SDP_ABSENT, SDP_ENCODED, SDP_FAULTY, SDP_FOUND, SdpBody, find_sdp
from sipcore.wire.sdp cimport index_sdp
from sipcore.wire.tables cimport METHOD_ACK, METHOD_INVITE, METHOD_PRACK, METHOD_UPDATE

from sipcore.media.srtpkey import NAMES


cdef class Anchor(Streams):
    """The media hook of a proxy with a relay. calls: how many at once.

    configure() says which media addresses the peers of a listener may be told, and the rules that verdicts name.
    """

    def __cinit__(self, MediaRelay relay not None, uint32_t calls=4096):
        self.room = <uint8_t*>malloc(BODY_ROOM)
        if self.room == NULL:
            raise MemoryError
        self.counts = dict.fromkeys(
            ("media_calls", "media_offers", "media_answers", "media_refused", "media_no_ports", "media_full",
             "media_offers_void", "ice_removed", "srtp_retold"), 0)

    def __dealloc__(self):
        free(self.room)

    def configure(self, pools_of, rules, suites=(), plain_listeners=()):
        """pools_of: for each listener the numbers of media addresses, first choice first.

        rules: (learning, kinds, other) each: a Learning, bits of MediaKind, a Treatment; and whether every packet is
        copied to the relay's tap; and the SrtpMode towards who calls and towards who is called. Calls in progress keep
        theirs. suites: that are offered, by name, in order of preference. plain_listeners: whose peers must not be told
        keys.
        """
        cdef Host host
        cdef uint32_t i
        if len(rules) > MAX_RULES:
            raise ValueError(f"more than {MAX_RULES} rules for media")
        self.hosts = []
        for pool in self.relay.pools:
            host_of(pool.advertised, &host)
            self.hosts.append((<const char*>&host)[:sizeof(Host)])
        self.pools_of = tuple(tuple(numbers) for numbers in pools_of)
        self.suites = bytes([NAMES[name] for name in suites]) or self.suites
        self.plain_listeners = bytes([listener in plain_listeners for listener in range(len(pools_of))])
        for i, (learning, kinds, other, *more) in enumerate(rules):
            self.rules[i].learning = learning
            self.rules[i].kinds = kinds
            self.rules[i].other = other
            self.rules[i].kept = bool(more and more[0])
            srtp = more[1] if len(more) > 1 else (SRTP_PASS, SRTP_PASS)
            self.rules[i].srtp[CALLER], self.rules[i].srtp[CALLEE] = srtp
        self.rule_count = <uint32_t>len(rules)

    def statistics(self):
        """Counters by name."""
        return self.counts | {"media_calls_up": self.live}

    def owner(self, uint32_t session):
        """(record, generation, section) of a relay session, for the relay's events; None where it has no call."""
        cdef uint32_t section = 0
        cdef Call* call = self._of_session(session, &section)
        return None if call == NULL else (call.record, call.generation, section)

    cdef Call* _of_session(self, uint32_t session, uint32_t* section) noexcept:
        """The call of a relay session and the number of its media section; NULL where it has none."""
        cdef uint32_t i
        cdef Call* call = self._call(self.owners[session] if session < self.relay.sessions else 0)
        for i in range(MAX_SECTIONS if call != NULL else 0):
            if call.streams[i].session == session:
                section[0] = i
                return call
        return NULL

    cdef Call* _call(self, uint32_t number) noexcept:
        if number == 0 or number > self.fresh or not self.calls[number - 1].used:
            return NULL
        return &self.calls[number - 1]

    cdef uint32_t begin(self, uint32_t record, uint32_t generation, int profile) noexcept:
        cdef uint32_t slot, i
        cdef Call* call
        cdef Exchange* exchange
        if not 0 < profile <= <int>self.rule_count:
            return 0
        if self.free_head:
            slot = self.free_head - 1
            self.free_head = self.calls[slot].next_free
        elif self.fresh < self.capacity:
            slot = self.fresh
            self.fresh += 1
        else:
            self.counts["media_full"] += 1
            return 0
        call = &self.calls[slot]
        memset(call, 0, sizeof(Call))
        call.used = True
        call.record = record
        call.generation = generation
        call.profile = <uint8_t>profile
        call.rules = self.rules[profile - 1]
        call.pools[CALLER] = call.pools[CALLEE] = NO_POOL
        for i in range(MAX_SECTIONS):
            call.streams[i].session = NO_SESSION
        for i in range(EXCHANGES):
            call.exchanges[i] = exchange = &self.exchanges[i * self.capacity + slot]
            if exchange.state != EXCHANGE_FREE:
                exchange.state = EXCHANGE_FREE
        if call.rules.srtp[CALLER] != SRTP_PASS or call.rules.srtp[CALLEE] != SRTP_PASS:
            call.keys = callkeys_new(call.rules.srtp, self.suites, <uint32_t>len(self.suites))
            if call.keys == NULL:
                call.used = False
                call.next_free = self.free_head
                self.free_head = slot + 1
                self.counts["media_full"] += 1
                return 0
        self.live += 1
        self.counts["media_calls"] += 1
        return slot + 1

    cdef Slice end(self, uint32_t number, bint figures) noexcept:
        cdef Call* call = self._call(number)
        cdef uint8_t* o = self.line
        cdef uint32_t i
        if call == NULL:
            return slice_of(self.line, 0)
        if figures:
            o = put_figures(o, call, self.relay)
        self.relay.hush()
        for i in range(MAX_SECTIONS):
            self._close(call, i)
        self.relay.tell(True)
        callkeys_free(call.keys)
        call.keys = NULL
        call.used = False
        call.next_free = self.free_head
        self.free_head = number
        self.live -= 1
        return slice_of(self.line, <uint32_t>(o - self.line))

    cdef int on_request(self, const Msg* m, const Passing* p, Slice* body) noexcept:
        cdef int outcome
        self.relay.hush()
        outcome = self._take_request(m, p, body)
        # Before the message leaves; the first packet that follows it brings the relay what it says.
        self.relay.tell(True)
        return outcome

    cdef int on_response(self, const Msg* m, const Passing* p, Slice* body) noexcept:
        cdef int outcome
        self.relay.hush()
        outcome = self._take_response(m, p, body)
        self.relay.tell(True)
        return outcome

    cdef int _take_request(self, const Msg* m, const Passing* p, Slice* body) noexcept:
        cdef Call* call = self._call(p.call)
        cdef Exchange* exchange
        cdef Slice sdp
        cdef int status
        if call == NULL or (p.method != METHOD_INVITE and p.method != METHOD_ACK and p.method != METHOD_UPDATE
                            and p.method != METHOD_PRACK):
            return HOOK_LEAVE
        status = self._read(m, body[0], &sdp)
        if status:
            return status if status > 0 else HOOK_LEAVE
        call.listeners[p.side] = p.listener_in
        call.listeners[1 - p.side] = p.listener_out
        call.signalling[p.side] = p.source
        exchange = exchange_answered(call.exchanges, p)
        if exchange != NULL:
            return self._answer(call, exchange, p, p.side, body, sdp)
        if p.method == METHOD_ACK:
            return self._refuse(488, b"Not Acceptable Here", b"399 an answer in ACK, and no offer before it")
        return self._offer(call, p, p.side, body, sdp)

    cdef int _take_response(self, const Msg* m, const Passing* p, Slice* body) noexcept:
        cdef Call* call = self._call(p.call)
        cdef uint8_t sender = 1 - p.side
        cdef Exchange* exchange
        cdef Slice sdp
        cdef int status
        if call == NULL:
            return HOOK_LEAVE
        status = self._read(m, body[0], &sdp)
        if status:
            return status if status > 0 else HOOK_LEAVE
        call.listeners[sender] = p.listener_in
        call.listeners[p.side] = p.listener_out
        call.signalling[sender] = p.source
        exchange = exchange_of(call.exchanges, p)
        if exchange != NULL and exchange.offerer == p.side:
            return self._answer(call, exchange, p, sender, body, sdp)
        return self._offer(call, p, sender, body, sdp)

    cdef void on_refused(self, const Passing* p) noexcept:
        cdef Call* call = self._call(p.call)
        cdef Exchange* exchange
        if call == NULL:
            return
        exchange = exchange_of(call.exchanges, p)
        if exchange != NULL and exchange.state == EXCHANGE_OFFERED:
            exchange.state = EXCHANGE_FREE
            self.counts["media_offers_void"] += 1
            self._close_unused(call)

    cdef bint retells(self, uint32_t number) noexcept:
        cdef Call* call = self._call(number)
        return call != NULL and call.keys != NULL and call.keys.srtp[CALLEE] == SRTP_OFFER

    cdef bint on_offer_refused(self, const Msg* m, const Passing* p) noexcept:
        cdef Call* call = self._call(p.call)
        cdef Exchange* exchange = exchange_of(call.exchanges, p) if call != NULL and call.keys != NULL else NULL
        cdef Slice sdp
        if exchange == NULL or exchange.state != EXCHANGE_OFFERED or exchange.offerer != p.side:
            return False
        if find_sdp(m, slice_of(m.base + m.body, m.n - m.body), &sdp) != SDP_FOUND:
            sdp = slice_of(m.base, 0)
        if not callkeys_refused(call.keys, exchange.number, 1 - p.side, exchange.count, sdp):
            return False
        self.counts["srtp_retold"] += 1
        return True

    cdef void on_other_target(self, uint32_t number) noexcept:
        cdef Call* call = self._call(number)
        if call != NULL and call.keys != NULL:
            call.keys.srtp[CALLEE] = call.rules.srtp[CALLEE]

    cdef int _refuse(self, int status, bytes reason, bytes warning) noexcept:
        """warning: code, space, text; the text is ours."""
        self.counts["media_refused"] += 1
        self.reason = reason + b" - " + warning[4:]
        self.headers = b"Warning: " + warning[:3] + b' sipedge "' + warning[4:].replace(b'"', b"'") + b'"\r\n'
        return status

    cdef int _read(self, const Msg* m, Slice body, Slice* sdp) noexcept:
        """Index the description in body: 0, -1 where there is none, or the status of a refusal."""
        cdef SdpBody kind = find_sdp(m, body, sdp)
        cdef int fault
        if kind == SDP_ABSENT:
            return -1
        if kind == SDP_ENCODED:
            return self._refuse(488 if m.status else 415, b"Unsupported Media Type",
                                b"399 an encoded session description cannot be anchored")
        if kind == SDP_FAULTY:
            return self._refuse(488, b"Not Acceptable Here", b"399 the parts of the body cannot be told apart")
        fault = index_sdp(sdp[0], &self.sdp)
        if fault:
            return self._refuse(488, b"Not Acceptable Here",
                                b"399 session description: " + fault_text(fault).encode("ascii", "replace"))
        return 0

    cdef int _describe(self, Call* call) noexcept:
        cdef const char* warning = describe(&self.sdp, &call.rules, self.sections)
        return self._refuse(488, b"Not Acceptable Here", <bytes>warning) if warning != NULL else 0

    cdef int _offer(self, Call* call, const Passing* p, uint8_t offerer, Slice* body, Slice sdp) noexcept:
        """An offer passes: open what it needs towards both sides, and keep what it says until it is answered."""
        cdef Exchange* exchange
        cdef uint32_t i, count = min(self.sdp.medias, <uint32_t>MAX_SECTIONS)
        cdef bint some = self.sdp.medias == 0
        cdef int status = self._describe(call)
        cdef const char* why = NULL
        if status:
            return status
        if call.keys != NULL:
            if self._mode(call, 1 - offerer) < 0 or self._mode(call, offerer) < 0:
                return self._refuse(488, b"Not Acceptable Here",
                                    b"399 SRTP is required, and its keys may not pass over this signalling")
            why = callkeys_take_offer(call.keys, <uint8_t>self._mode(call, offerer), &self.sdp, self.sections, count,
                                      self.accepted)
        for i in range(self.sdp.medias):
            some = some or self.sdp.media[i].port == 0 or (i < count and self.sections[i].treatment != TREAT_REFUSE)
        if not some:
            return self._refuse(488, b"Not Acceptable Here",
                                <bytes>why if why != NULL else b"304 no media of a kind that passes here")
        exchange = exchange_of(call.exchanges, p)
        if exchange != NULL and p.early and (p.status == 0 or p.tag != exchange.tag):
            self._begin_again(call)
        elif exchange != NULL and exchange.state == EXCHANGE_ANSWERED:
            # It was answered, and is only shown again.
            return self._render(call, exchange.sections, exchange.count, 1 - offerer, body, sdp, exchange)
        exchange = exchange_room(call.exchanges, p)
        if exchange == NULL:
            return self._refuse(491, b"Request Pending", b"399 earlier offers have no answer yet")
        for i in range(count):
            if self.sections[i].treatment == TREAT_ANCHOR and self.sections[i].open and not self._ready(call, i):
                self._close_unused(call)
                self.counts["media_no_ports"] += 1
                self.reason = b"Service Unavailable - no media port is free"
                self.headers = b"Retry-After: 10\r\n"
                return 503
        self.counts["media_offers"] += exchange.state != EXCHANGE_OFFERED
        exchange.state = EXCHANGE_OFFERED
        exchange.cseq = p.cseq
        exchange.side = p.side
        exchange.invite = p.method == METHOD_INVITE
        exchange.offerer = offerer
        exchange.count = <uint8_t>count
        call.turn += 1
        exchange.turn = call.turn
        exchange.tag = p.tag
        memcpy(exchange.sections, self.sections, sizeof(self.sections))
        if call.keys != NULL:
            memcpy(call.keys.offered[exchange.number], self.accepted, sizeof(self.accepted))
            if not callkeys_plan(call.keys, exchange.number, 1 - offerer,
                                 <uint8_t>self._mode(call, 1 - offerer), exchange.sections, count):
                return self._refuse(500, b"Server Internal Error", b"399 no random bytes for a key")
        return self._render(call, exchange.sections, count, 1 - offerer, body, sdp, exchange)

    cdef int _answer(self, Call* call, Exchange* exchange, const Passing* p, uint8_t answerer, Slice* body,
                     Slice sdp) noexcept:
        cdef int status = self._describe(call)
        cdef bint final = p.status == 0 or p.status >= 200 or p.reliable
        cdef uint32_t i, count = min(self.sdp.medias, <uint32_t>exchange.count)
        if status:
            return status
        for i in range(count):
            self.sections[i].open = self.sections[i].open and exchange.sections[i].open
            if (self.sections[i].open and exchange.sections[i].treatment == TREAT_ANCHOR
                    and self.sections[i].treatment != TREAT_ANCHOR):
                return self._refuse(488, b"Not Acceptable Here",
                                    b"399 a media section is answered by one of another kind")
            # The offer's sections decide what becomes of the answer's.
            self.sections[i].treatment = exchange.sections[i].treatment
        for i in range(count, <uint32_t>MAX_SECTIONS):
            self.sections[i].open = False
        if call.keys != NULL and not callkeys_take_answer(call.keys, exchange.number, answerer,
                                                          &self.sdp, self.sections, count):
            return self._refuse(488, b"Not Acceptable Here",
                                b"399 an answer over SRTP without a key that goes with the offer")
        if self._commits(exchange, p):
            self._commit(call, exchange, answerer, self.sections, final)
            if final:
                self.counts["media_answers"] += exchange.state != EXCHANGE_ANSWERED
                exchange.state = EXCHANGE_ANSWERED
            if p.status:
                exchange.tag = p.tag
        return self._render(call, self.sections, count, exchange.offerer, body, sdp, exchange)

    cdef bint _commits(self, const Exchange* exchange, const Passing* p) noexcept:
        """Whether an answer changes what flows: not when it is seen again, and not when another fork's was final.

        Before that the fork that spoke last is heard (RFC 3960 3.1), and a provisional answer counts that nobody
        acknowledges.
        """
        if exchange.state == EXCHANGE_ANSWERED:
            return p.early and p.tag != exchange.tag
        return p.status == 0 or p.status >= 200 or p.reliable or p.early

    cdef int _mode(self, Call* call, int side) noexcept:
        """What a side's rule comes to where keys are kept from its signalling; -1 where then nothing is left."""
        if self._keys_pass(call.listeners[side]):
            return call.keys.srtp[side]
        return -1 if call.keys.srtp[side] == SRTP_REQUIRE else SRTP_NEVER

    cdef int _render(self, Call* call, const Section* offered, uint32_t count, uint8_t to, Slice* body,
                     Slice sdp, const Exchange* exchange) noexcept:
        """The description with the edge's address and ports for one side, in the place of the one in body."""
        cdef Place places[MAX_SECTIONS]
        cdef uint32_t i, before = <uint32_t>(sdp.p - body.p), n
        cdef bytes host
        memset(places, 0, sizeof(places))
        for i in range(count):
            places[i].treatment = offered[i].treatment
            places[i].port = call.streams[i].ports[to] if offered[i].open else 0
            if call.keys == NULL:
                continue
            if to != exchange.offerer:
                callkeys_place_offer(call.keys, exchange.number, to, i, &places[i])
            else:
                callkeys_place_answer(call.keys, exchange.number, to, i, exchange.sections[i].savp,
                                      &places[i])
        if call.pools[to] == NO_POOL:
            # Nothing is anchored: the address only stands there.
            pools = self._pools(call.listeners[to])
            if not pools:
                return HOOK_LEAVE
            host = self.hosts[pools[0]]
        else:
            host = self.hosts[call.pools[to]]
        edit_begin(&self.edit, sdp.p, 0, sdp.n)
        n = rewrite(&self.sdp, &self.edit, places, count, <const Host*><const char*>host)
        take_out_dtls(&self.sdp, &self.edit, places, count)
        call.ice += n
        self.counts["ice_removed"] += n
        n = edit_size(&self.edit)
        if self.edit.overflow or body.n - sdp.n + n > BODY_ROOM:
            return self._refuse(488, b"Not Acceptable Here", b"399 too much to change in the session description")
        memcpy(self.room, body.p, before)
        edit_render(&self.edit, self.room + before)
        memcpy(self.room + before + n, sdp.p + sdp.n, body.n - before - sdp.n)
        body[0] = slice_of(self.room, body.n - sdp.n + n)
        return HOOK_REPLACE
