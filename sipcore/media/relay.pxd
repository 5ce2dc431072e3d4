"""The relay as the loop sees it: sides aimed, connected and played to; counters read.

Everything here belongs to the loop's thread, is cheap, and never blocks.
"""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.media.counters cimport SideCounters
from sipcore.media.latch cimport LEARN_ANY, LEARN_OFF, LEARN_SIGNALLED, Learning
from sipcore.media.quality cimport Reception
from sipcore.media.session cimport NO_SESSION, SIDES, Aim, Place
from sipcore.media.sessions cimport Sessions
from sipcore.media.srtpkey cimport SrtpKey


cdef class MediaRelay(Sessions):
    cdef SideCounters seen[SIDES]           # what `counters` has said last of each side

    cdef void aim(self, uint32_t session, int side, const Aim* aim) noexcept
    cdef void protect(self, uint32_t session, int side, const SrtpKey* receive, const SrtpKey* send) noexcept
    cdef void inherit(self, uint32_t session, int side, uint32_t from_session, int from_side) noexcept
    cdef void hear(self, uint32_t session, const uint8_t* masks) noexcept
    cdef void map(self, uint32_t session, int side, const uint8_t* triples, int n) noexcept
    cdef const SideCounters* counters(self, uint32_t session, int side) noexcept nogil
    cdef const Reception* reception(self, uint32_t session, int side) noexcept nogil
    cdef bint _start(self, uint32_t session, int side, const Place* made, object sound) except -1
