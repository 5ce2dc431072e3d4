"""The calls whose media is anchored, and the relay sessions that stand for their media sections.

One call takes 1.7 KiB here; its memory is touched when the call begins, that of a second exchange with that.
"""
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t
from sipcore.anchor.callkeys cimport CallKeys
from sipcore.anchor.description cimport CODEC_TEXT, MAX_SECTIONS, Rules, Section
from sipcore.anchor.exchange cimport EXCHANGES, Exchange
from sipcore.base.address cimport Address
from sipcore.media.relay cimport MediaRelay
from sipcore.media.session cimport Aim
from sipcore.stack.mediahook cimport MediaHook

cdef enum:
    CALLER = 0
    CALLEE = 1
    NO_POOL = -1

cdef struct Stream:             # one media section of a call
    uint32_t session            # of the relay, NO_SESSION: none
    uint16_t ports[2]           # of the edge, towards each side
    uint8_t agreed              # an answer has put it to use
    uint8_t aimed               # bit of each side whose `rtp` is set
    char codec[CODEC_TEXT]      # as the answer names it
    Address rtp[2]              # where each side's media goes, as last agreed
    Address rtcp[2]             # and its reports

cdef struct Call:
    uint32_t record
    uint32_t generation         # of the record
    uint32_t next_free
    uint32_t turn
    uint32_t ice                # attributes taken out
    uint8_t used
    uint8_t profile             # of the verdict
    uint8_t listeners[2]        # that each side is talked to by
    CallKeys* keys              # NULL: keys pass from end to end
    int16_t pools[2]            # media address that each side is told, NO_POOL: not chosen yet
    Rules rules
    Address signalling[2]       # where each side's SIP came from
    Stream streams[MAX_SECTIONS]
    Exchange* exchanges[EXCHANGES]

cdef void aim_at(Aim* aim, int side, const Section* own, const Section* told, const Section* answer, Address* rtp,
                 Address* rtcp, uint8_t* aimed) noexcept


cdef class Streams(MediaHook):
    cdef readonly MediaRelay relay
    cdef Call* calls
    cdef Exchange* exchanges        # the first ones of all calls, then the second ones, ...
    cdef uint32_t* owners           # by relay session: number of its call
    cdef readonly uint32_t capacity     # calls
    cdef tuple pools_of             # by listener: numbers of the media addresses that its peers may be told
    cdef list hosts                 # bytes of a rewrite.Host, by media address

    cdef bytes suites               # that are offered, in order of preference (media.srtpkey.Suite)
    cdef bytes plain_listeners      # by listener: whether its peers must not be told keys

    cdef bint _keys_pass(self, int listener) noexcept
    cdef tuple _pools(self, uint8_t listener)
    cdef void _begin_again(self, Call* call) noexcept
    cdef bint _ready(self, Call* call, uint32_t i) noexcept
    cdef bint _bind(self, Call* call, uint32_t i, int side) noexcept
    cdef void _commit(self, Call* call, const Exchange* exchange, uint8_t answerer, const Section* answers,
                      bint final) noexcept
    cdef void _protect(self, Call* call, const Exchange* exchange, uint8_t answerer, uint32_t i,
                       const Section* answer) noexcept
    cdef void _aim(self, Call* call, uint32_t i, uint8_t side, const Section* own, const Section* other,
                   const Section* answer) noexcept
    cdef void _close(self, Call* call, uint32_t i) noexcept
    cdef void _close_unused(self, Call* call) noexcept
