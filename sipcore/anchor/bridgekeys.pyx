"""SRTP on the legs of a controlled call: what a leg's rule comes to, and the keys that it is told."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.anchor.bridgestreams cimport BridgeStreams
from sipcore.anchor.description cimport TREAT_ANCHOR
from sipcore.anchor.legside cimport Desk, LegSide
from sipcore.anchor.rewrite cimport Place
from sipcore.anchor.sdes cimport (
    PROFILE_BESIDE, PROFILE_PLAIN, PROFILE_SECURE, SRTP_NEVER, SRTP_OFFER, SRTP_OFFER_ALONE, SRTP_PASS,
    SRTP_REQUIRE,
)
from sipcore.media.session cimport SIDES
from sipcore.media.srtpkey cimport SUITE_NONE

from sipcore.anchor.mediaerror import MediaError
from sipcore.media.srtpkey import NAMES

cdef dict _NAMES = {number: name for name, number in NAMES.items()}


cdef class BridgeKeys(BridgeStreams):
    """The keys of a call's legs: each has its own, and none of another one's."""

    def set_srtp(self, int number, int mode):
        """What the rule says of SRTP towards whoever comes to a side next (sdes.SrtpMode)."""
        if not 0 <= number < SIDES or not SRTP_PASS <= mode <= SRTP_REQUIRE:
            raise ValueError(f"not a side, or not a mode of SRTP: {number}, {mode}")
        self.modes[number] = <uint8_t>mode

    def srtp(self, int number):
        """The suite that a side's packets are protected with, "" for none."""
        cdef LegSide side = self.sides[number]
        cdef int i = self._playing_stream(number)
        return _NAMES.get(side.suite[i], "") if i >= 0 else ""

    cdef uint8_t _mode(self, uint8_t srtp, int listener) except? 255:
        """What a rule comes to for a leg that is reached by that listener: keys may be kept from signalling that
        anybody can read. MediaError where then nothing is left."""
        if not self.anchor._keys_pass(listener):
            if srtp == SRTP_REQUIRE:
                raise MediaError(488, "399 SRTP is required here, and its keys may not pass over this signalling")
            return SRTP_NEVER
        return srtp

    cdef int _offer_keys(self, LegSide side, Place* places) except -1:
        """The profile and the keys of an offer to a side: as agreed with it before, else as its rule says."""
        cdef Desk desk = self.desk
        cdef uint8_t srtp = self._mode(side.srtp, side.listener)
        cdef uint8_t suite
        cdef uint32_t i
        for i in range(desk.count):
            if places[i].treatment != TREAT_ANCHOR:
                continue
            places[i].profile = PROFILE_PLAIN
            if side.suite[i] != SUITE_NONE:
                places[i].profile = PROFILE_SECURE if side.savp >> i & 1 else PROFILE_BESIDE
                side.make(i, side.suite[i], 1, &places[i].made)
            elif srtp == SRTP_OFFER or srtp == SRTP_OFFER_ALONE or srtp == SRTP_REQUIRE:
                places[i].profile = PROFILE_BESIDE if srtp == SRTP_OFFER else PROFILE_SECURE
                for suite in self.anchor.suites:
                    side.make(i, suite, places[i].made.count + 1, &places[i].made)
        return 0

    cdef int _answer_keys(self, LegSide side, Place* places) except -1:
        """The profile and the keys of an answer to a side's offer, which is read for it."""
        cdef Desk desk = self.desk
        cdef uint32_t i
        desk.read_offer(side.offer, &self.rules, self._mode(side.srtp, side.listener))
        for i in range(desk.count):
            places[i].profile = PROFILE_SECURE if desk.sections[i].savp else PROFILE_BESIDE
            if desk.best[i].key.suite != SUITE_NONE:
                side.make(i, desk.best[i].key.suite, desk.best[i].tag, &places[i].made)
        return 0
