"""The relay sessions of one controlled call, one a media section: ports by side, who hears whom, where media goes."""
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset
from sipcore.anchor.description cimport CODEC_TEXT, MAX_SECTIONS, TREAT_ANCHOR, Section
from sipcore.anchor.legside cimport Desk, LegSide
from sipcore.anchor.sdes cimport Crypto, Cryptos, cryptos_match, section_cryptos
from sipcore.anchor.streams cimport NO_POOL, aim_at
from sipcore.base.address cimport address_from
from sipcore.media.session cimport NO_SESSION, SIDES, Aim
from sipcore.media.srtpkey cimport SUITE_NONE

from sipcore.anchor.mediaerror import MediaError


cdef class BridgeStreams:
    """The sessions of a call. Sides are numbers below SIDES."""

    def __cinit__(self):
        self.sides = [None] * SIDES

    def __dealloc__(self):
        free(self.streams)

    cdef LegSide _side(self, int number):
        cdef LegSide side = self.sides[number]
        if side is None:
            raise ValueError(f"nobody is on side {number}")
        return side

    cdef int _source(self, LegSide side, source) except -1:
        address_from(source[0], source[1], &side.signalling)
        return 0

    cdef int _want(self, LegSide side, int number, uint8_t wants) except -1:
        """Have ports for the sections of an offer. MediaError 503 where there are none; nothing has changed then."""
        cdef uint32_t i, k
        if self.closed:
            raise ValueError("the call's media is closed")
        self.relay.hush()
        try:
            side.wants = wants
            for i in range(MAX_SECTIONS):
                if wants >> i & 1 and not self._bind(side, number, i):
                    self.counts["bridge_no_ports"] += 1
                    side.wants = 0
                    if self.sides[number] is None:
                        for k in range(self.stream_count):
                            self._let_go(number, k)
                    raise MediaError(503, "399 no media port is free")
            self.sides[number] = side
        finally:
            self._close_unused()
            self.relay.tell(True)
        return 0

    cdef void _let_go(self, int number, uint32_t i) noexcept:
        """Give the ports of a side in section i back."""
        cdef Stream* stream = &self.streams[i]
        cdef LegSide side = self.sides[number]
        stream.aimed &= <uint8_t>~(1 << number)
        if stream.ports[number]:
            # Where the relay is too far behind, they come back with the session.
            stream.releasing[number] += self.relay.release(stream.session, number)
            stream.ports[number] = 0
        if side is not None and side.sounding == i:
            side.tokens.clear()

    cdef Stream* _of_session(self, uint32_t session) noexcept:
        """The section of a relay session, NULL where there is none."""
        cdef uint32_t i
        for i in range(self.stream_count):
            if self.streams[i].session == session:
                return &self.streams[i]
        return NULL

    cdef Stream* _stream(self, uint32_t i) except NULL:
        """Room for section i."""
        cdef Stream* streams
        if i >= self.stream_count:
            streams = <Stream*>realloc(self.streams, (i + 1) * sizeof(Stream))
            if streams == NULL:
                raise MemoryError
            self.streams = streams
            while self.stream_count <= i:
                memset(&streams[self.stream_count], 0, sizeof(Stream))
                streams[self.stream_count].session = NO_SESSION
                self.stream_count += 1
        return &self.streams[i]

    cdef bint _bind(self, LegSide side, int number, uint32_t i) except -1:
        """Have ports towards a side for section i; False where there are none.

        They are of the first media address of its listener that has some, and all of a side have one address, because
        most descriptions have one c= for all.
        """
        cdef Stream* stream = self._stream(i)
        cdef MediaRelay relay = self.relay
        cdef list hosts = self.anchor.hosts
        cdef int port, pool
        if stream.session == NO_SESSION:
            stream.session = relay.open()
            if stream.session == NO_SESSION:
                return False
            self.owners[stream.session] = self
            if self.rules.kept:
                relay.capture(stream.session)
            relay.hear(stream.session, self.hears)
        if stream.ports[number]:
            return True
        for pool in self.anchor._pools(side.listener) if side.pool == NO_POOL else range(len(hosts)):
            if side.pool != NO_POOL and hosts[pool] != hosts[side.pool]:
                continue
            port = relay.bind(stream.session, number, pool)
            if port >= 0:
                if stream.used >> number & 1:
                    side.before[i] = relay.side_counters(stream.session, number)
                stream.used |= 1 << number
                stream.ports[number] = <uint16_t>port
                side.pool = <int16_t>pool
                return True
        return False

    cdef int _follow(self, int number, bint final) except -1:
        """Let flow what a side and the edge agree on."""
        cdef LegSide side = self._side(number)
        cdef Desk desk = self.desk
        cdef Section local[MAX_SECTIONS]
        cdef Cryptos ours[MAX_SECTIONS]
        cdef Cryptos theirs
        cdef uint32_t i, count
        cdef const Section* answer
        cdef const Crypto* receive = NULL
        cdef const Crypto* send = NULL
        desk.read(side.local, &self.rules)
        count = desk.count
        memcpy(local, desk.sections, sizeof(local))
        for i in range(count):
            section_cryptos(&desk.sdp, i, &ours[i])
        desk.read(side.remote, &self.rules)
        side.codec[0] = 0
        self.relay.hush()
        for i in range(MAX_SECTIONS):
            if (i < count and i < desk.count and i < self.stream_count and self.streams[i].ports[number]
                    and local[i].open and local[i].treatment == TREAT_ANCHOR
                    and desk.sections[i].open and desk.sections[i].treatment == TREAT_ANCHOR):
                answer = &local[i] if side.answers else &desk.sections[i]
                side.open |= 1 << i
                if side.codec[0] == 0:
                    memcpy(side.codec, answer.codec, CODEC_TEXT)
                section_cryptos(&desk.sdp, i, &theirs)
                receive = send = NULL
                if side.answers:
                    receive = cryptos_match(&theirs, &ours[i], &send)
                else:
                    send = cryptos_match(&ours[i], &theirs, &receive)
                if receive != NULL and send != NULL:
                    self.relay.protect(self.streams[i].session, number, &receive.key, &send.key)
                side.suite[i] = send.key.suite if send != NULL else <uint8_t>SUITE_NONE
                side.savp = <uint8_t>(side.savp & ~(1 << i) | desk.sections[i].savp << i)
                self._aim(side, number, i, &desk.sections[i], &local[i], answer, side.suite[i] != SUITE_NONE)
            else:
                side.open &= <uint8_t>~(1 << i)
                if final and i < self.stream_count:
                    self._let_go(number, i)
        if final:
            self._close_unused()
        self.relay.tell(True)
        return 0

    cdef void _aim(self, LegSide side, int number, uint32_t i, const Section* own, const Section* told,
                   const Section* answer, bint secure) noexcept:
        cdef Stream* stream = &self.streams[i]
        cdef Aim aim
        aim_at(&aim, number, own, told, answer, &stream.rtp[number], &stream.rtcp[number],
               &stream.aimed)
        aim.signalling = side.signalling
        aim.learning = self.rules.learning
        aim.secure = secure
        self.relay.aim(stream.session, number, &aim)

    cdef void _hear_all(self) noexcept:
        cdef uint32_t i
        for i in range(self.stream_count):
            if self.streams[i].session != NO_SESSION:
                self.relay.hear(self.streams[i].session, self.hears)

    cdef void _close_stream(self, uint32_t i) noexcept:
        cdef Stream* stream = &self.streams[i]
        cdef LegSide side
        if stream.session != NO_SESSION:
            for side in self.sides:
                if side is not None and side.sounding == i:
                    side.tokens.clear()
            self.owners.pop(stream.session, None)
            self.relay.close(stream.session)
            memset(stream, 0, sizeof(Stream))
            stream.session = NO_SESSION

    cdef void _close_unused(self) noexcept:
        """Close the sections that nobody has agreed on or offers."""
        cdef uint32_t i
        cdef uint8_t wanted = 0
        cdef LegSide side
        for side in self.sides:
            if side is not None:
                wanted |= side.open | side.wants
        for i in range(self.stream_count):
            if not wanted >> i & 1:
                self._close_stream(i)

    cdef int _playing_stream(self, int number) noexcept:
        """The first section that a side has agreed on, -1 where it has none."""
        cdef LegSide side = self.sides[number]
        cdef uint32_t i
        for i in range(self.stream_count):
            if side is not None and side.open >> i & 1 and self.streams[i].session != NO_SESSION:
                return <int>i
        return -1
