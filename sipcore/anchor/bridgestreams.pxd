"""What a controlled call has in the relay."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from sipcore.anchor.anchor cimport Anchor
from sipcore.anchor.description cimport Rules, Section
from sipcore.anchor.legside cimport Desk, LegSide
from sipcore.base.address cimport Address
from sipcore.media.relay cimport MediaRelay
from sipcore.media.session cimport SIDES

cdef struct Stream:             # one media section of a call
    uint32_t session            # of the relay, NO_SESSION: none
    uint16_t ports[SIDES]       # of the edge, towards each side; 0: not bound
    uint8_t aimed               # bit of each side whose `rtp` is set
    uint8_t used                # bit of each side that has had ports
    uint8_t releasing[SIDES]    # RELEASED that have not come yet
    Address rtp[SIDES]          # where each side's media goes, as last agreed
    Address rtcp[SIDES]         # and its reports


cdef class BridgeStreams:
    cdef Anchor anchor                  # whose media addresses and rules count here too
    cdef MediaRelay relay
    cdef Desk desk                      # shared by all calls, as are
    cdef dict owners                    # BridgeMedia by session of the relay
    cdef dict counts
    cdef Rules rules
    cdef list sides                     # LegSide or None, SIDES of them
    cdef Stream* streams
    cdef uint32_t stream_count
    cdef uint8_t modes[SIDES]           # sdes.SrtpMode of whoever comes to a side
    cdef uint8_t hears[SIDES]           # bit s of hears[d]: d hears s
    cdef readonly bint closed

    cdef LegSide _side(self, int number)
    cdef int _source(self, LegSide side, source) except -1
    cdef int _want(self, LegSide side, int number, uint8_t wants) except -1
    cdef void _let_go(self, int number, uint32_t i) noexcept
    cdef Stream* _stream(self, uint32_t i) except NULL
    cdef Stream* _of_session(self, uint32_t session) noexcept
    cdef bint _bind(self, LegSide side, int number, uint32_t i) except -1
    cdef int _follow(self, int number, bint final) except -1
    cdef void _aim(self, LegSide side, int number, uint32_t i, const Section* own, const Section* told,
                   const Section* answer, bint secure) noexcept
    cdef void _hear_all(self) noexcept
    cdef void _close_stream(self, uint32_t i) noexcept
    cdef void _close_unused(self) noexcept
    cdef int _playing_stream(self, int number) noexcept
