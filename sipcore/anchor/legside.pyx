"""Descriptions of one leg: read from the far end, and made for it out of another leg's by patches.

What a leg is told keeps what the other one said (codecs, their parameters, attributes nobody here knows), and has
the edge's addresses, an o= of the edge's own whose version rises only when something else has changed (RFC 3264 8),
and nothing that leads around the edge: ICE, bundles, keys, other addresses.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from sipcore.anchor.description cimport MAX_SECTIONS, TREAT_ANCHOR, TREAT_PASS, TREAT_REFUSE, describe
from sipcore.anchor.rewrite cimport rewrite
from sipcore.anchor.sdes cimport (
    SRTP_NEVER, SRTP_REQUIRE, Crypto, Cryptos, cryptos_best, is_key, key_fresh, section_cryptos,
)
from sipcore.anchor.streams cimport NO_POOL
from sipcore.base.slice cimport Slice, slice_at, slice_from
from sipcore.media.srtpkey cimport SUITES, SrtpKey, srtp_wipe
from sipcore.wire.edit cimport edit_begin, edit_delete, edit_render, edit_replace, edit_size
from sipcore.wire.fault cimport fault_text
from sipcore.wire.sdp cimport SdpMedia, index_sdp, sdp_attribute, sdp_line

import random

from sipcore.anchor.mediaerror import MediaError


cdef class LegSide:
    """One leg's place in an offer/answer."""

    def __cinit__(self):
        self.origin = random.getrandbits(48)
        self.version = 1
        self.pool = NO_POOL
        self.tokens = []
        self.before = {}

    def __dealloc__(self):
        cdef uint32_t i
        if self.own != NULL:
            for i in range(MAX_SECTIONS * SUITES):
                srtp_wipe(&self.own[i])
            free(self.own)

    cdef int make(self, uint32_t i, uint8_t suite, uint32_t tag, Cryptos* made) except -1:
        """Add the line of a suite for section i, with the key that this leg has been told or will be: it stays, so that
        what a far end knows of packets that came holds on through a re-offer."""
        if self.own == NULL:
            self.own = <SrtpKey*>calloc(MAX_SECTIONS * SUITES, sizeof(SrtpKey))
            if self.own == NULL:
                raise MemoryError
        if not key_fresh(&self.own[i * SUITES + suite], suite):
            raise MediaError(500, "399 no random bytes for a key")
        made.line[made.count].tag = tag
        made.line[made.count].key = self.own[i * SUITES + suite]
        made.count += 1
        return 0


cdef bint _is_direction(Slice line) noexcept nogil:
    cdef Slice value
    return (sdp_attribute(line, b"sendrecv", 8, &value) or sdp_attribute(line, b"sendonly", 8, &value)
            or sdp_attribute(line, b"recvonly", 8, &value) or sdp_attribute(line, b"inactive", 8, &value))


cdef class Desk:
    """Room for one description at a time."""

    cdef int read(self, bytes description, const Rules* rules) except -1:
        """Fill `sdp` and `sections`; MediaError where the description cannot be used."""
        cdef const char* warning
        cdef int fault = index_sdp(slice_from(description), &self.sdp)
        if fault:
            raise MediaError(488, "399 session description: " + fault_text(fault))
        warning = describe(&self.sdp, rules, self.sections)
        if warning != NULL:
            raise MediaError(488, (<bytes>warning).decode("ascii"))
        self.count = min(self.sdp.medias, <uint32_t>MAX_SECTIONS)
        return 0

    cdef int read_offer(self, bytes description, const Rules* rules, uint8_t srtp) except -1:
        """Read a far end's offer, and choose among its keys into `best`. srtp: what a rule says of it. Sections that
        come without what the rule asks for are refused."""
        cdef uint32_t i
        cdef Cryptos offered
        cdef const Crypto* best
        self.read(description, rules)
        self.refused = NULL
        memset(self.best, 0, sizeof(self.best))
        for i in range(self.count):
            if self.sections[i].treatment != TREAT_ANCHOR or not self.sections[i].open:
                continue
            section_cryptos(&self.sdp, i, &offered)
            best = cryptos_best(&offered) if srtp != SRTP_NEVER else NULL
            if best != NULL:
                self.best[i] = best[0]
            elif self.sections[i].savp or srtp == SRTP_REQUIRE:
                self.sections[i].treatment = TREAT_REFUSE
                self.refused = (b"399 SRTP alone is offered, and this side has none" if srtp == SRTP_NEVER
                                else b"399 SRTP is required here, and no key is offered that can be used"
                                if srtp == SRTP_REQUIRE else b"399 SRTP is offered without a key that can be used")
        return 0

    cdef int check_offer(self) except -1:
        """MediaError where nothing of the offer that was read can be accepted. One without media is no fault."""
        cdef uint32_t i
        cdef bint some = self.sdp.medias == 0
        for i in range(self.sdp.medias):
            some = some or self.sdp.media[i].port == 0 or (
                i < self.count and self.sections[i].treatment != TREAT_REFUSE)
        if not some:
            raise MediaError(488, (<bytes>self.refused).decode("ascii") if self.refused != NULL
                             else "304 no media of a kind that passes here")
        return 0

    cdef bytes render(self, LegSide side, bytes description, const Place* places, const Host* host, bint fresh):
        """The description that was read last, as a side is told it; it is what the side was `told` then.

        places: one for each of `count` sections. fresh: an offer for somebody new, which holds nobody.
        """
        cdef bytes made = self._render(side, description, places, host, fresh)
        if made != side.told:
            if side.told is not None:
                side.version += 1
                made = self._render(side, description, places, host, fresh)
            side.told = made
        return side.told

    cdef bytes _render(self, LegSide side, bytes description, const Place* places, const Host* host, bint fresh):
        cdef uint32_t i, start, stop
        cdef bint anchors, passes = False
        cdef const SdpMedia* media
        cdef bytes origin = b"- %d %d IN " % (side.origin, side.version)
        cdef bytearray out
        edit_begin(&self.edit, slice_from(description).p, 0, <uint32_t>len(description))
        # Up to the addrtype: what follows is changed with the addresses.
        stop = <uint32_t>(self.sdp.origin_address.p - self.sdp.text.p)
        while slice_at(self.sdp.text, stop - 1) == c' ':
            stop -= 1
        stop -= 3
        start = self.sdp.line[self.sdp.origin_line].start + 2
        edit_replace(&self.edit, start, stop - start, slice_from(origin))
        for i in range(self.count):
            passes = passes or places[i].treatment == TREAT_PASS
        self._strip(0, self.sdp.media[0].first_line if self.sdp.medias else self.sdp.lines, not passes, fresh)
        for i in range(self.count):
            media = &self.sdp.media[i]
            anchors = places[i].treatment == TREAT_ANCHOR
            self._strip(media.first_line, media.first_line + media.line_count, places[i].treatment != TREAT_PASS,
                        fresh and anchors)
        rewrite(&self.sdp, &self.edit, places, self.count, host)
        if self.edit.overflow:
            raise MediaError(488, "399 too much to change in the session description")
        out = bytearray(edit_size(&self.edit))
        edit_render(&self.edit, out)
        return bytes(out)

    cdef void _strip(self, uint32_t first, uint32_t stop, bint keys, bint directions) noexcept:
        """Take keys and directions out of some lines."""
        cdef uint32_t i
        cdef Slice line
        for i in range(first, stop):
            line = sdp_line(&self.sdp, i)
            if (keys and is_key(line)) or (directions and _is_direction(line)):
                edit_delete(&self.edit, self.sdp.line[i].start, self.sdp.line[i].stop - self.sdp.line[i].start)
