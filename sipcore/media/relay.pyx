"""The relay: what the thread is told about the sides of a session, what it plays to them, and what it counts.

What is played stands in a place (places.pyx), which is the thread's until it says PLAYED.
"""
cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset
from sipcore.base.address cimport address_from
from sipcore.base.ring cimport relaxed_load
from sipcore.media.clock cimport monotonic_us
from sipcore.media.commands cimport commands_publish
from sipcore.media.counters cimport add_up, shown_side, shown_thread
from sipcore.media.egress cimport PAYLOAD_PAIRS
from sipcore.media.law cimport LAW_KEPT, LAW_TO_A, LAW_TO_MU
from sipcore.media.offloading cimport offload_counters, side_reception
from sipcore.media.places cimport place_digits, place_sound
from sipcore.media.quality cimport reception_jitter_us, reception_lost
from sipcore.media.rtp cimport PAYLOAD_NONE
from sipcore.media.session cimport (
    COMMAND_AIM, COMMAND_CAPTURE, COMMAND_HEAR, COMMAND_INHERIT, COMMAND_MAP, COMMAND_PLAY, COMMAND_PROTECT,
    COMMAND_SILENCE, Command,
)
from sipcore.media.sessions cimport SLOT_FREE, Sessions
from sipcore.media.srtp cimport Srtp, srtp_free, srtp_new
from sipcore.media.srtpkey cimport key_from, srtp_wipe

cdef dict _LAWS = {None: LAW_KEPT, "PCMU": LAW_TO_MU, "PCMA": LAW_TO_A}
LATCHED, SILENT, HEARD_AGAIN, TIMEOUT, DTMF, PLAYED, CLOSED, RELEASED = range(1, 9)


@cython.no_gc_clear     # as of Sessions
cdef class MediaRelay(Sessions):
    """Sessions whose sides are aimed, connected and played to."""

    cdef void aim(self, uint32_t session, int side, const Aim* aim) noexcept:
        """Tell the thread what offer and answer say about a side."""
        cdef Command* command
        if self._is_open(session, side):
            command = self._command(session, COMMAND_AIM, side)
            if command != NULL:
                command.body.aim = aim[0]
                command.body.aim.since_us = monotonic_us()
                commands_publish(&self.commands, &self.thread)

    cdef void protect(self, uint32_t session, int side, const SrtpKey* receive, const SrtpKey* send) noexcept:
        """Give a side keys: what it sends with, and what it is sent with. Those it has already go on as they are.

        They count once an Aim says that the side is secure. Where they cannot be handed over, nothing passes then.
        """
        cdef Srtp* opens = srtp_new(receive, False)
        cdef Srtp* seals = srtp_new(send, True)
        cdef Command* command = NULL
        if opens != NULL and seals != NULL and self._is_open(session, side):
            command = self._command(session, COMMAND_PROTECT, side)
        if command == NULL:
            srtp_free(opens)
            srtp_free(seals)
            return
        command.body.keys.receive = opens
        command.body.keys.send = seals
        commands_publish(&self.commands, &self.thread)

    cdef void inherit(self, uint32_t session, int side, uint32_t from_session, int from_side) noexcept:
        """The far end of another session's side is that of this one from now on: should it keep its key, it is heard
        as what it has been, however often its numbers have begun anew. To be said before `protect`."""
        cdef Command* command
        if self._is_open(session, side) and self._is_open(from_session, from_side):
            command = self._command(session, COMMAND_INHERIT, side)
            if command != NULL:
                command.body.origin.session = from_session
                command.body.origin.side = <uint8_t>from_side
                commands_publish(&self.commands, &self.thread)

    cdef void hear(self, uint32_t session, const uint8_t* masks) noexcept:
        """Replace who hears whom, SIDES masks in one step: bit s of masks[d] says that d hears s."""
        cdef Command* command
        cdef int i
        if self._is_open(session, 0):
            command = self._command(session, COMMAND_HEAR, 0)
            if command != NULL:
                for i in range(SIDES):
                    command.body.masks[i] = masks[i]
                commands_publish(&self.commands, &self.thread)

    cdef void map(self, uint32_t session, int side, const uint8_t* triples, int n) noexcept:
        """Replace payload types of what leaves towards a side: n times (from, to, Law), at most PAYLOAD_PAIRS."""
        cdef Command* command
        cdef int i
        if self._is_open(session, side) and 0 <= n <= PAYLOAD_PAIRS:
            command = self._command(session, COMMAND_MAP, side)
            if command != NULL:
                command.n = <uint8_t>n
                for i in range(3 * n):
                    command.body.payloads[i] = triples[i]
                commands_publish(&self.commands, &self.thread)

    cdef const SideCounters* counters(self, uint32_t session, int side) noexcept nogil:
        """A side's counters, NULL where there is no such session. Valid until the session's CLOSED is taken, or this is
        called again for a side of that number."""
        if session >= self.sessions or not 0 <= side < SIDES or self.slots[session].state == SLOT_FREE:
            return NULL
        return offload_counters(&self.thread.sessions[session], side, &self.seen[side])

    cdef const Reception* reception(self, uint32_t session, int side) noexcept nogil:
        """How a side's RTP arrives, as `counters`; the fields may be of two packets that came one after the other."""
        if session >= self.sessions or not 0 <= side < SIDES or self.slots[session].state == SLOT_FREE:
            return NULL
        return side_reception(self.thread.sessions[session].sides[side])

    def set_aim(self, uint32_t session, int side, *, rtp=None, rtcp=None, signalling=None,
                int learning=LEARN_SIGNALLED, bint mux=False, bint active=True, bint moved=False,
                bint rtcp_moved=False, bint sends=True,
                bint receives=True, bint secure=False, uint8_t payload=PAYLOAD_NONE, uint8_t event_payload=PAYLOAD_NONE,
                uint16_t ptime=20, uint32_t clock=8000) -> None:
        """As `aim` of relay.pxd. rtp, rtcp, signalling: (host, port); rtcp follows rtp where it is left out."""
        cdef Aim aim
        memset(&aim, 0, sizeof(Aim))
        if rtp is not None:
            address_from(rtp[0], rtp[1], &aim.rtp)
            rtcp = rtcp or (rtp if mux else (rtp[0], rtp[1] + 1))
        if rtcp is not None:
            address_from(rtcp[0], rtcp[1], &aim.rtcp)
        if signalling is not None:
            address_from(signalling[0], signalling[1], &aim.signalling)
        aim.learning = <uint8_t>learning
        aim.mux = mux
        aim.active = active
        aim.moved = moved
        aim.rtcp_moved = rtcp_moved
        aim.sends = sends
        aim.receives = receives
        aim.secure = secure
        aim.payload = payload
        aim.event_payload = event_payload
        aim.ptime = ptime
        aim.clock = clock
        self.aim(session, side, &aim)

    def set_keys(self, uint32_t session, int side, receive, send) -> None:
        """As `protect` of relay.pxd: (suite by name, master key and salt) each. ValueError where they do not fit."""
        cdef SrtpKey opens, seals
        try:
            key_from(receive[0], receive[1], &opens)
            key_from(send[0], send[1], &seals)
            self.protect(session, side, &opens, &seals)
        finally:
            srtp_wipe(&opens)
            srtp_wipe(&seals)

    def set_origin(self, uint32_t session, int side, uint32_t from_session, int from_side) -> None:
        """As `inherit` of relay.pxd."""
        self.inherit(session, side, from_session, from_side)

    def set_hearing(self, uint32_t session, hears) -> None:
        """Who hears whom: for each side that hears anybody, the sides that it hears; replaces all in one step."""
        cdef uint8_t masks[SIDES]
        cdef int listener, speaker
        memset(masks, 0, sizeof(masks))
        for listener, speakers in hears.items():
            for speaker in speakers:
                if not (0 <= listener < SIDES and 0 <= speaker < SIDES):
                    raise ValueError(f"not two of {SIDES} sides: {listener}, {speaker}")
                masks[listener] |= <uint8_t>(1 << speaker)
        self.hear(session, masks)

    def map_payloads(self, uint32_t session, int side, payloads, laws=()) -> None:
        """Replace payload types of what leaves towards a side: {from: to}. ValueError where there are too many.

        laws: by payload type `from`, "PCMU" or "PCMA", whose payload is to become that out of the other one.
        """
        laws = dict(laws)
        triples = bytes(number for one, other in payloads.items() for number in (one, other, _LAWS[laws.get(one)]))
        if len(payloads) > PAYLOAD_PAIRS:
            raise ValueError(f"more than {PAYLOAD_PAIRS} payload types")
        self.map(session, side, <const uint8_t*><const char*>triples, len(payloads))

    def play(self, uint32_t session, int side, bytes frames not None, *, int payload, uint32_t frame_bytes=160,
             uint32_t ptime=20, uint32_t timestamp_step=160, bint loop=False) -> bool:
        """Send a sound towards a side, once or until it is stopped, instead of whomever the side hears.

        frames: encoded, frame_bytes for each ptime ms, in which the timestamp goes on by timestamp_step. Ends what
        was played to the side before. False where the session is not open or no place is free; ValueError where
        frames are no whole frames, or do not fit into a packet.
        """
        cdef Place made
        place_sound(&made, frames, payload, frame_bytes, ptime, timestamp_step, loop)
        return self._start(session, side, &made, frames)

    def send_digits(self, uint32_t session, int side, str digits not None, *, int payload, uint32_t duration_ms=100,
                    uint32_t gap_ms=100, uint32_t ptime=20, uint32_t clock=8000) -> bool:
        """Send telephone events (RFC 4733) towards a side, as `play` does a sound.

        ValueError where a character is no digit, or durations make no event.
        """
        cdef Place made
        place_digits(&made, digits, payload, duration_ms, gap_ms, ptime, clock)
        return self._start(session, side, &made, None)

    cdef bint _start(self, uint32_t session, int side, const Place* made, object sound) except -1:
        """Have it played; its place comes back with PLAYED. False where none is free, or the thread is too far behind.
        """
        cdef Place* it = self.places.take() if self._is_open(session, side) else NULL
        cdef Command* command
        if it == NULL:
            return False
        it[0] = made[0]
        it.session = session
        it.side = <uint8_t>side
        command = self._command(session, COMMAND_PLAY, side)
        if command == NULL:
            self.places.give(self.places.number(it))
            return False
        self.places.keep(it, sound)
        command.body.place = self.places.number(it)
        commands_publish(&self.commands, &self.thread)
        return True

    def stop_playing(self, uint32_t session, int side) -> None:
        """End what is played towards a side; PLAYED says when it has."""
        if self._is_open(session, side) and self._command(session, COMMAND_SILENCE, side) != NULL:
            commands_publish(&self.commands, &self.thread)

    def capture(self, uint32_t session, bint on=True) -> None:
        """Copy every packet of a session that is let in or sent to the tap, or no longer. ValueError without a tap."""
        cdef Command* command
        if self.tap is None:
            raise ValueError("the relay has no tap")
        if self._is_open(session, 0):
            command = self._command(session, COMMAND_CAPTURE, 0)
            if command != NULL:
                command.n = on
                commands_publish(&self.commands, &self.thread)

    def side_counters(self, uint32_t session, int side) -> dict[str, int]:
        """SideCounters by name, and how the side's RTP arrived: lost, out_of_order, duplicates, jitter_us, ssrc.
        KeyError where there is no such session.
        """
        cdef const SideCounters* counters = self.counters(session, side)
        cdef const Reception* reception = self.reception(session, side)
        if counters == NULL:
            raise KeyError(session)
        return shown_side(counters) | {
            "lost": reception_lost(reception), "out_of_order": reception.out_of_order,
            "duplicates": reception.duplicates, "jitter_us": reception_jitter_us(reception), "ssrc": reception.ssrc,
        }

    def totals(self) -> dict[str, int]:
        """SideCounters of all sides of all sessions, ended ones included, and the thread's own counters."""
        cdef SideCounters total = self.ended
        cdef uint32_t session
        cdef int side
        for session in range(self.fresh):
            if self.slots[session].state != SLOT_FREE:
                for side in range(SIDES):
                    add_up(self.counters(session, side), &total)
        shown = shown_side(&total) | shown_thread(&self.thread.counters)
        shown["commands_lost"] = self.commands.lost
        shown["offloaded"] = relaxed_load(&self.thread.offload.active)
        shown["offloads"] = relaxed_load(&self.thread.offload.begun)
        return shown
