"""The calls whose media is anchored: their offers and answers, and the relay sessions that stand for them.

One call takes 2.2 KiB here; its memory is touched when the call begins.
"""
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.anchor.description cimport CODEC_TEXT, MAX_SECTIONS, Rules, Section
from sipcore.anchor.exchange cimport EXCHANGES, Exchange
from sipcore.anchor.rewrite cimport Host
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.media.relay cimport MediaRelay
from sipcore.stack.mediahook cimport MediaHook, Passing
from sipcore.wire.edit cimport Edit
from sipcore.wire.message cimport Msg
from sipcore.wire.sdp cimport SdpIndex

cdef enum:
    CALLER = 0
    CALLEE = 1
    NO_POOL = -1
    MAX_RULES = 64
    BODY_ROOM = 65536
    FIGURES_ROOM = 2048         # bytes of the longest figures

cdef struct Stream:             # one media section of a call
    uint32_t session            # of the relay, NO_SESSION: none
    uint16_t ports[2]           # of the edge, towards each side
    uint8_t agreed              # an answer has put it to use
    char codec[CODEC_TEXT]      # as the answer names it
    Address rtp[2]              # where each side's media goes, as last agreed

cdef struct Call:
    uint32_t record
    uint32_t generation         # of the record
    uint32_t next_free
    uint32_t turn
    uint32_t ice                # attributes taken out
    uint8_t used
    uint8_t established         # a final answer has come
    uint8_t listeners[2]        # that each side is talked to by
    int16_t pools[2]            # media address that each side is told, NO_POOL: not chosen yet
    Rules rules
    Address signalling[2]       # where each side's SIP came from
    Stream streams[MAX_SECTIONS]
    Exchange exchanges[EXCHANGES]


cdef class Anchor(MediaHook):
    cdef readonly MediaRelay relay
    cdef Call* calls
    cdef uint32_t* owners           # by relay session: number of its call
    cdef readonly uint32_t capacity
    cdef readonly uint32_t live
    cdef uint32_t fresh
    cdef uint32_t free_head
    cdef tuple pools_of             # by listener: numbers of the media addresses that its peers may be told
    cdef list hosts                 # bytes of a Host, by media address
    cdef Rules rules[MAX_RULES]
    cdef uint32_t rule_count
    cdef dict counts
    cdef SdpIndex sdp               # of the description being handled
    cdef Section sections[MAX_SECTIONS]
    cdef Edit edit
    cdef uint8_t* room              # BODY_ROOM bytes: the body that was made last
    cdef uint8_t line[FIGURES_ROOM]     # the figures that were rendered last

    cdef Call* _call(self, uint32_t number) noexcept
    cdef int _refuse(self, int status, bytes reason, bytes warning) noexcept
    cdef int _read(self, const Msg* m, Slice body, Slice* sdp) noexcept
    cdef int _describe(self, Call* call) noexcept
    cdef int _offer(self, Call* call, const Passing* p, uint8_t offerer, Slice* body, Slice sdp) noexcept
    cdef int _answer(self, Call* call, Exchange* exchange, const Passing* p, uint8_t answerer, Slice* body,
                     Slice sdp) noexcept
    cdef bint _commits(self, const Call* call, const Exchange* exchange, const Passing* p) noexcept
    cdef tuple _pools(self, uint8_t listener)
    cdef bint _ready(self, Call* call, uint32_t i) noexcept
    cdef bint _bind(self, Call* call, uint32_t i, int side) noexcept
    cdef void _commit(self, Call* call, Exchange* exchange, uint8_t answerer, bint final) noexcept
    cdef void _aim(self, Call* call, uint32_t i, uint8_t side, const Section* own, const Section* other,
                   const Section* answer) noexcept
    cdef void _close(self, Call* call, uint32_t i) noexcept
    cdef void _close_unused(self, Call* call) noexcept
    cdef int _render(self, Call* call, const Section* offered, uint32_t count, uint8_t to, Slice* body,
                     Slice sdp) noexcept
