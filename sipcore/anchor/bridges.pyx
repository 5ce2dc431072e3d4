"""The controlled calls of a relay: whose a session is, and who is told what happens in it."""
from libc.stdint cimport uint32_t
from sipcore.anchor.anchor cimport Anchor
from sipcore.anchor.bridgemedia cimport BridgeMedia
from sipcore.anchor.bridgestreams cimport Stream
from sipcore.anchor.legside cimport Desk
from sipcore.media.session cimport SIDES

from sipcore.media.relay import DTMF, HEARD_AGAIN, LATCHED, PLAYED, RELEASED, SILENT, TIMEOUT

DIGITS = "0123456789*#ABCD!"
"""By event of RFC 4733 3.2."""


cdef class Bridges:
    """Every controlled call of one relay, on the media addresses and by the rules of its Anchor."""

    def __cinit__(self, Anchor anchor not None):
        self.anchor = anchor
        self.relay = anchor.relay
        self.desk = Desk()
        self.owners = {}
        self.counts = dict.fromkeys(
            ("bridge_calls_up", "bridge_offers", "bridge_answers", "bridge_refused", "bridge_no_ports"), 0)

    def open(self, int profile=1, owner=None):
        """The media of a new call; no port is taken yet. profile: as in Verdict.anchor. ValueError where none is."""
        cdef BridgeMedia media = BridgeMedia()
        cdef int side
        if not 0 < profile <= <int>self.anchor.rule_count:
            raise ValueError(f"no profile of media: {profile}")
        media.anchor = self.anchor
        media.relay = self.relay
        media.desk = self.desk
        media.owners = self.owners
        media.counts = self.counts
        media.owner = owner
        media.rules = self.anchor.rules[profile - 1]
        for side in range(SIDES):
            media.modes[side] = media.rules.srtp[side != 0]
        self.counts["bridge_calls_up"] += 1
        return media

    def find(self, uint32_t session):
        """The call of a relay session; None where it is no controlled one's."""
        return self.owners.get(session)

    def statistics(self):
        """Counters by name."""
        return dict(self.counts)

    def take(self, int kind, uint32_t session, int side, value, address):
        """One of the relay's events, as `MediaRelay.take_events` has it; False where its session is not of here."""
        cdef BridgeMedia media = self.owners.get(session)
        cdef Stream* stream
        if media is None:
            return False
        stream = media._of_session(session)
        if kind == RELEASED:
            stream.releasing[side] -= 1
        elif media.owner is None or (side < SIDES and (stream.releasing[side] or media.sides[side] is None)):
            # Nobody asks, or it is of a leg that is gone.
            pass
        elif kind == LATCHED:
            media.owner.on_source(media, side, address, value)
        elif kind == SILENT:
            media.owner.on_silent(media, side, value)
        elif kind == HEARD_AGAIN:
            media.owner.on_heard(media, side, value)
        elif kind == TIMEOUT:
            media.owner.on_timeout(media, value)
        elif kind == DTMF:
            media.owner.on_digit(media, side, DIGITS[value >> 32], value & 0xFFFFFFFF)
        elif kind == PLAYED:
            tokens = media._side(side).tokens
            # There is none where a section was given up and the relay was too far behind to hear of it.
            if tokens:
                media.owner.on_played(media, side, tokens.pop(0), bool(value))
        return True
