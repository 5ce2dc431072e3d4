"""The media of controlled calls: each leg has an offer/answer (RFC 3264) of its own, and the relay joins them.

One BridgeMedia is one call: a relay session for each media section, whose sides are the call's legs (0 caller, 1
agent, 2 and 3 targets). What a leg says is kept as bytes and read again when it is needed, which is cheaper than
keeping what was read: a call with two legs holds about 1.5 KiB here, beside 3 KiB of the relay for each section. An
offer opens ports, its answer aims the relay, and an offer that comes to nothing leaves no trace; the others go on
untouched while a leg comes or goes. Nobody hears anybody until `connect`.

Sections of kinds that are not anchored are refused, or pass end to end by rule, but only between the two legs that
agreed on them. Of SRTP the edge is an end: each leg has keys of its own (RFC 4568), or none, as its rule says and as
it was agreed, whatever the others have.

Long because what a leg offers, answers and hears is one state, and each method changes all of it or nothing.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset
from sipcore.anchor.bridgekeys cimport BridgeKeys
from sipcore.anchor.description cimport MAX_SECTIONS, TREAT_ANCHOR, TREAT_PASS, TREAT_REFUSE
from sipcore.anchor.figures cimport side_figures
from sipcore.anchor.legside cimport Desk, LegSide
from sipcore.anchor.rewrite cimport Host, Place
from sipcore.anchor.sdes cimport (
    SRTP_OFFER, Crypto, Cryptos, cryptos_match, mode_after_refusal, section_cryptos,
)
from sipcore.anchor.streams cimport NO_POOL
from sipcore.base.slice cimport slice_from
from sipcore.media.session cimport NO_SESSION, SIDES
from sipcore.media.srtpkey cimport SUITE_NONE

from sipcore.anchor import legcodecs
from sipcore.anchor.agreement import compare
from sipcore.anchor.legcodecs import Said
from sipcore.anchor.mediaerror import MediaError

SPARE = range(2, SIDES)
"""Sides of targets."""


cdef class BridgeMedia(BridgeKeys):
    """The media of one call; made by Bridges.open, over with `close`.

    Sides are numbers below SIDES. Methods that read a description raise MediaError where it, or what it asks for,
    cannot be had; nothing has changed then.
    """

    def offer_from(self, int number, bytes description not None, source, int listener):
        """The far end of a side offers. source: (host, port) that its SIP came from. listener: that it came in at.

        MediaError 488 where nothing of it can be accepted, 491 where another offer of that side is pending, 503 where
        no port is to be had.
        """
        cdef LegSide side = self.sides[number]
        cdef Desk desk = self.desk
        cdef uint8_t wants = 0
        cdef uint32_t i
        if side is not None and (side.offer is not None or side.offered is not None):
            raise self._refused(MediaError(491, "399 an earlier offer has no answer yet"))
        try:
            desk.read_offer(description, &self.rules, self._mode(self.modes[number], listener))
            desk.check_offer()
        except MediaError as error:
            raise self._refused(error)
        if side is None:
            side = LegSide()
            side.listener = <uint8_t>listener
            side.srtp = self.modes[number]
        self._source(side, source)
        for i in range(desk.count):
            if desk.sections[i].open and desk.sections[i].treatment == TREAT_ANCHOR:
                wants |= 1 << i
        self._want(side, number, wants)
        self.turn += 1
        side.turn = self.turn
        side.offer = description
        self.counts["bridge_offers"] += 1

    def offer_to(self, int number, int listener, from_side=None, bytes description=b"", codecs=(), bint anew=False,
                 before=None):
        """The description to offer to a side, that its leg is to send by that listener.

        from_side: the offer of that side which waits for an answer, carried over; where none does, one of its present
        description: sendrecv, the codecs in use first; anew: that one in any case. description: this one. Neither: what
        is agreed, once more. codecs: keep only these encodings, and telephone-event, where any of them is there.
        before: the BridgeMedia and the side that the leg of a new side comes from: o= goes on (RFC 3264 8).
        """
        cdef LegSide side = self.sides[number]
        cdef LegSide other = self._side(from_side) if from_side is not None else None
        cdef LegSide old = (<BridgeMedia?>before[0]).sides[<int>before[1]] if before is not None else None
        cdef Desk desk = self.desk
        cdef bint fresh = other is None or other.offer is None or anew
        cdef uint8_t wants = 0
        cdef uint32_t i
        if side is not None and (side.offer is not None or side.offered is not None):
            raise self._refused(MediaError(491, "399 an earlier offer has no answer yet"))
        if other is not None:
            description = legcodecs.in_use_first(self._said(from_side)) if fresh else other.offer
        elif not description and side is not None and side.local is not None:
            description = side.local
            fresh = False
        elif not description:
            raise ValueError(f"nothing is agreed with side {number} that could be offered to it again")
        if codecs:
            description = legcodecs.only(description, codecs)
        if other is not None:
            desk.read_offer(description, &self.rules, self._mode(other.srtp, other.listener))
        else:
            desk.read(description, &self.rules)
        desk.check_offer()
        if side is None:
            side = LegSide()
            side.listener = <uint8_t>listener
            side.srtp = self.modes[number]
            if old is not None:
                side.origin, side.version, side.told, side.srtp = old.origin, old.version, old.told, old.srtp
        for i in range(desk.count):
            if fresh and desk.sections[i].treatment == TREAT_PASS:
                desk.sections[i].treatment = TREAT_REFUSE
            if desk.sections[i].open and desk.sections[i].treatment == TREAT_ANCHOR:
                wants |= 1 << i
        self._want(side, number, wants)
        try:
            side.offered = self._render(side, number, description, fresh, False)
        except MediaError:
            if side.told is None:
                self.release(number)
            raise
        if other is not None and not fresh:
            side.turn = other.turn
        else:
            self.turn += 1
            side.turn = self.turn
        self.counts["bridge_offers"] += 1
        return side.offered

    def retell(self, int number, bytes refusal not None=b""):
        """A side's far end refused the offer that it was called with. The offer in another profile, where the rule
        lets go of SRTP beside RTP; b"" where it is to stay refused. refusal: what the far end says it could have done.
        """
        cdef LegSide side = self._side(number)
        cdef Desk desk = self.desk
        cdef Cryptos beside
        cdef uint32_t i
        cdef bint some = False
        if side.offered is None or side.remote is not None or side.srtp != SRTP_OFFER:
            return b""
        desk.read(side.offered, &self.rules)
        for i in range(desk.count):
            section_cryptos(&desk.sdp, i, &beside)
            some = some or (beside.count > 0 and not desk.sections[i].savp)
        if not some:
            return b""
        side.srtp = mode_after_refusal(slice_from(refusal))
        side.offered = self._render(side, number, side.offered, False, False)
        self.anchor.counts["srtp_retold"] += 1
        return side.offered

    def retell_first(self, int number):
        """The offer of a side that was told otherwise, in its first profile: the call goes on to another far end. b""
        where it was answered meanwhile."""
        cdef LegSide side = self._side(number)
        if side.offered is None:
            return b""
        self.desk.read(side.offered, &self.rules)
        side.srtp = SRTP_OFFER
        # What the one before has said early is void.
        memset(side.suite, SUITE_NONE, sizeof(side.suite))
        side.savp = 0
        side.offered = self._render(side, number, side.offered, False, False)
        return side.offered

    def answer_from(self, int number, bytes description not None, source, bint final=True):
        """The far end of a side answers our offer: what both agree on flows from now on.

        final: not so for an unreliable provisional response, which another one may replace. False where there is
        nothing to answer any more (RFC 3261 13.2.1: what is said again counts no more), or what is agreed already must
        stay until a re-offer is answered for good.
        """
        cdef LegSide side = self._side(number)
        cdef Desk desk = self.desk
        cdef Cryptos ours[MAX_SECTIONS]
        cdef Cryptos theirs
        cdef const Crypto* answer = NULL
        cdef uint32_t offered, i
        cdef uint8_t savp = 0
        if side.offered is None or (not final and side.remote is not None and side.answered != side.turn):
            return False
        desk.read(side.offered, &self.rules)
        offered = desk.sdp.medias
        for i in range(desk.count):
            section_cryptos(&desk.sdp, i, &ours[i])
            savp |= desk.sections[i].savp << i
        desk.read(description, &self.rules)
        if desk.sdp.medias > offered:
            raise self._refused(MediaError(488, "399 an answer with more media sections than the offer"))
        for i in range(desk.count):
            section_cryptos(&desk.sdp, i, &theirs)
            if (desk.sections[i].open and desk.sections[i].treatment == TREAT_ANCHOR
                    and (desk.sections[i].savp or savp >> i & 1)
                    and cryptos_match(&ours[i], &theirs, &answer) == NULL):
                raise self._refused(MediaError(488, "399 an answer over SRTP without a key that goes with the offer"))
        self._source(side, source)
        side.local = side.offered
        side.remote = description
        side.answers = False
        side.answered = side.turn
        if final:
            side.offered = None
            side.wants = 0
        self._follow(number, final)
        self.counts["bridge_answers"] += final
        return True

    def answer_again(self, int number, bytes description not None, source):
        """The far end of a side has said something else to what it was told before: that flows from now on. False while
        an offer is pending, the answer to which will say it."""
        cdef LegSide side = self._side(number)
        if side.local is None or side.offer is not None or side.offered is not None:
            return False
        side.offered = side.local
        try:
            return self.answer_from(number, description, source)
        finally:
            side.offered = None

    def answer_to(self, int number, from_side=None, bint final=True):
        """The answer to a side's pending offer, to be sent to it: what both agree on flows from now on.

        from_side: the side whose answer to that very offer this is. Where it has not been asked, or is None, the answer
        is made here: of the codecs that the side agreed on, or else of those that from_side's description has, with the
        direction that goes with the offer's. MediaError 488 where none of them is offered.
        """
        cdef LegSide side = self._side(number)
        cdef LegSide other = self._side(from_side) if from_side is not None else None
        cdef Desk desk = self.desk
        cdef bytes template, answer
        cdef uint32_t i, allowed = 0
        cdef int k
        if side.offer is None:
            raise ValueError(f"no offer of side {number} waits for an answer")
        if other is not None and other.remote is not None and other.answered == side.turn:
            template = other.remote
            if self.renumbers:
                # Both have the same numbers now.
                for i in range(self.stream_count):
                    for k in (number, <int>from_side):
                        self.relay.map(self.streams[i].session, k, NULL, 0)
        else:
            desk.read_offer(side.offer, &self.rules, self._mode(side.srtp, side.listener))
            for i in range(desk.count):
                if desk.sections[i].open and desk.sections[i].treatment == TREAT_ANCHOR:
                    allowed |= 1 << i
            template = side.local if side.local is not None or other is None else other.remote
            template = legcodecs.answer(side.offer, template, allowed)
        answer = self._render(side, number, template, False, True)
        if not final and side.remote is not None and side.answered != side.turn:
            return answer
        side.local = answer
        side.remote = side.offer
        side.answers = True
        side.answered = side.turn
        if final:
            side.offer = None
            side.wants = 0
        self._follow(number, final)
        self.counts["bridge_answers"] += final
        return answer

    def withdraw(self, int number):
        """The pending offer of a side, ours or its own, came to nothing: all is as it was before."""
        cdef LegSide side = self.sides[number]
        if side is not None:
            side.offer = side.offered = None
            side.wants = 0
            self._close_unused()

    def pending(self, int number):
        """Whose offer waits for an answer: "ours", "theirs" or ""."""
        cdef LegSide side = self.sides[number]
        if side is None:
            return ""
        return "ours" if side.offered is not None else "theirs" if side.offer is not None else ""

    def descriptions(self, int number):
        """(what a side was told, what it said), as last agreed; (None, None) before."""
        cdef LegSide side = self.sides[number]
        return (None, None) if side is None else (side.local, side.remote)

    def connect(self, int a, int b):
        """Let two sides hear each other, and nobody else; what is played to them ends. One step in the relay."""
        cdef int i
        if not (0 <= a < SIDES and 0 <= b < SIDES and a != b):
            raise ValueError(f"not two of {SIDES} sides: {a}, {b}")
        for i in range(SIDES):
            self.hears[i] &= <uint8_t>~(1 << a | 1 << b)
        self.hears[a] = 1 << b
        self.hears[b] = 1 << a
        self.relay.hush()
        self._hear_all()
        self.stop_playing(a)
        self.stop_playing(b)
        self.relay.tell()

    def isolate(self, int number):
        """Let a side hear nobody, and nobody hear it."""
        cdef int i
        if not 0 <= number < SIDES:
            raise ValueError(f"not one of {SIDES} sides: {number}")
        for i in range(SIDES):
            self.hears[i] &= <uint8_t>~(1 << number)
        self.hears[number] = 0
        self._hear_all()

    def hear(self, hears):
        """Who hears whom: for each side that hears anybody, the sides that it hears; replaces all in one step."""
        cdef int listener, speaker
        memset(self.hears, 0, sizeof(self.hears))
        for listener, speakers in hears.items():
            for speaker in speakers:
                if not (0 <= listener < SIDES and 0 <= speaker < SIDES):
                    raise ValueError(f"not two of {SIDES} sides: {listener}, {speaker}")
                self.hears[listener] |= <uint8_t>(1 << speaker)
        self._hear_all()

    def codecs(self, int number):
        """The encodings that a side has agreed on, the one in use first; telephone-event and CN are none."""
        cdef int i = self._playing_stream(number)
        return () if i < 0 else legcodecs.names(self._said(number), i)

    def play(self, int number, bytes frames not None, str codec not None, bint loop=False, int ptime=20):
        """Send a sound towards a side instead of whomever it hears; ends what was played to it before.

        frames: whole frames of ptime ms in PCMU, PCMA or G722, 8 bytes a millisecond. Returns a number for
        `on_played`; 0 where it cannot be played: the codec is not agreed on, or the relay plays too much already.
        """
        cdef LegSide side = self.sides[number]
        cdef int i = self._playing_stream(number)
        payload = legcodecs.payload(self._said(number), i, codec) if i >= 0 else None
        if payload is None or not self.relay.play(
                self.streams[i].session, number, frames, payload=payload, frame_bytes=8 * ptime, ptime=ptime,
                timestamp_step=8 * ptime, loop=loop):
            return 0
        self.tokens += 1
        side.sounding = <uint32_t>i
        side.tokens.append(self.tokens)
        return self.tokens

    def stop_playing(self, int number):
        """End what is played towards a side; `on_played` says when it has ended."""
        cdef LegSide side = self.sides[number]
        cdef int i = self._playing_stream(number)
        if i >= 0 and side.tokens:
            self.relay.stop_playing(self.streams[i].session, number)

    def agreed(self, int a, int b, bint transcode=False, bint ask=True):
        """Whether what two sides have agreed on fits together, as an Agreement. transcode: G.711 may be converted; ask:
        a side may be asked for another codec, which is better than that."""
        return compare(a, self._said(a), b, self._said(b), transcode, ask)

    def apply(self, agreed):
        """Have the relay renumber payload types, and convert G.711, as an Agreement says."""
        cdef uint32_t i
        self.renumbers = True
        for (i, number), payloads in agreed.maps.items():
            if i < self.stream_count and self.streams[i].session != NO_SESSION:
                self.relay.map_payloads(self.streams[i].session, number, payloads, agreed.laws.get((i, number), {}))

    def inherit(self, int number, BridgeMedia other not None, int from_number):
        """The leg of a side of another call moves to this one, and may keep the keys that it sends with."""
        cdef uint32_t i
        for i in range(min(self.stream_count, other.stream_count)):
            if self.streams[i].session != NO_SESSION and other.streams[i].session != NO_SESSION:
                self.relay.inherit(self.streams[i].session, number, other.streams[i].session, from_number)

    def free_side(self):
        """A side that a target may have; -1 where there is none."""
        for number in SPARE:
            if self.sides[number] is None:
                return number
        return -1

    def release(self, int number):
        """A side's leg is over: its ports go back, and the others never notice. Returns its figures."""
        cdef dict figures = self.figures(number)
        cdef uint32_t i
        cdef int k
        if self.sides[number] is None:
            return figures
        self.sides[number] = None
        for k in range(SIDES):
            self.hears[k] &= <uint8_t>~(1 << number)
        self.hears[number] = 0
        self.relay.hush()
        for i in range(self.stream_count):
            self._let_go(number, i)
        self._close_unused()
        self.relay.tell()
        return figures

    def places(self):
        """(session of the relay, {side: (bound address, even port)}) of each section that goes through it."""
        cdef LegSide side
        cdef uint32_t i
        found = []
        for i in range(self.stream_count):
            if self.streams[i].session == NO_SESSION:
                continue
            where = {}
            for number in range(SIDES):
                side = self.sides[number]
                if side is not None and side.pool != NO_POOL and self.streams[i].ports[<int>number]:
                    where[number] = self.relay.pools[side.pool].bound, self.streams[i].ports[<int>number]
            found.append((self.streams[i].session, where))
        return found

    def figures(self, int number):
        """What a side sent and how well it arrived, {} where nothing was agreed; names as in the log of proxied calls.
        """
        cdef LegSide side = self.sides[number]
        cdef int k, i = self._playing_stream(number)
        cdef int partner = number
        if i < 0:
            return {}
        for k in range(SIDES):
            if self.hears[number] >> k & 1:
                partner = k
        return side_figures(self.relay, self.streams[i].session, number, partner,
                            side.codec.decode("ascii", "replace"), side.before.get(i, {}))

    def close(self):
        """The call is over: all ports go back. Returns the figures of each side that is there."""
        cdef uint32_t i
        cdef dict figures
        if self.closed:
            return {}
        figures = {number: self.figures(number) for number in range(SIDES) if self.sides[number] is not None}
        self.closed = True
        self.relay.hush()
        for i in range(self.stream_count):
            self._close_stream(i)
        self.relay.tell(True)
        self.sides = [None] * SIDES
        self.counts["bridge_calls_up"] -= 1
        return figures

    def _said(self, int number):
        """What is agreed with a side. ValueError before anything is."""
        cdef LegSide side = self._side(number)
        if side.remote is None or side.local is None:
            raise ValueError(f"nothing is agreed with side {number}")
        return Said(side.local, side.remote, side.answers)

    def _refused(self, error):
        self.counts["bridge_refused"] += 1
        return error

    cdef bytes _render(self, LegSide side, int number, bytes description, bint fresh, bint answers):
        """A description as a side is told it: an offer that the desk has read, or an answer to the side's own."""
        cdef Desk desk = self.desk
        cdef Place places[MAX_SECTIONS]
        cdef bytes host
        cdef int pool = side.pool
        cdef uint32_t i
        memset(places, 0, sizeof(places))
        if answers:
            self._answer_keys(side, places)
            desk.read(description, &self.rules)
        for i in range(desk.count):
            places[i].treatment = desk.sections[i].treatment
            if desk.sections[i].open and i < self.stream_count:
                places[i].port = self.streams[i].ports[number]
        if not answers:
            self._offer_keys(side, places)
        if pool == NO_POOL:
            # Nothing is anchored: the address only stands there.
            pools = self.anchor._pools(side.listener)
            if not pools:
                raise MediaError(503, "399 this listener has no media address")
            pool = pools[0]
        host = self.anchor.hosts[pool]
        return desk.render(side, description, places, <const Host*><const char*>host, fresh)
