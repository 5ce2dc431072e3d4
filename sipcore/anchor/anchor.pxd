"""Offers and answers of anchored calls, as they pass."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.anchor.description cimport MAX_SECTIONS, Rules, Section
from sipcore.anchor.exchange cimport Exchange
from sipcore.anchor.sdes cimport Crypto
from sipcore.anchor.streams cimport Call, Streams
from sipcore.base.slice cimport Slice
from sipcore.stack.mediahook cimport Passing
from sipcore.wire.edit cimport Edit
from sipcore.wire.index cimport Msg
from sipcore.wire.sdp cimport SdpIndex

cdef enum:
    MAX_RULES = 64
    BODY_ROOM = 65536
    FIGURES_ROOM = 2048         # bytes of the longest figures


cdef class Anchor(Streams):
    cdef readonly uint32_t live     # calls
    cdef uint32_t fresh
    cdef uint32_t free_head
    cdef Rules rules[MAX_RULES]
    cdef uint32_t rule_count
    cdef dict counts
    cdef SdpIndex sdp               # of the description being handled
    cdef Section sections[MAX_SECTIONS]
    cdef Crypto accepted[MAX_SECTIONS]  # of the offer being handled
    cdef Edit edit
    cdef uint8_t* room              # BODY_ROOM bytes: the body that was made last
    cdef uint8_t line[FIGURES_ROOM]     # the figures that were rendered last

    cdef Call* _call(self, uint32_t number) noexcept
    cdef Call* _of_session(self, uint32_t session, uint32_t* section) noexcept
    cdef int _take_request(self, const Msg* m, const Passing* p, Slice* body) noexcept
    cdef int _take_response(self, const Msg* m, const Passing* p, Slice* body) noexcept
    cdef int _refuse(self, int status, bytes reason, bytes warning) noexcept
    cdef int _read(self, const Msg* m, Slice body, Slice* sdp) noexcept
    cdef int _describe(self, Call* call) noexcept
    cdef int _offer(self, Call* call, const Passing* p, uint8_t offerer, Slice* body, Slice sdp) noexcept
    cdef int _answer(self, Call* call, Exchange* exchange, const Passing* p, uint8_t answerer, Slice* body,
                     Slice sdp) noexcept
    cdef bint _commits(self, const Exchange* exchange, const Passing* p) noexcept
    cdef int _mode(self, Call* call, int side) noexcept
    cdef int _render(self, Call* call, const Section* offered, uint32_t count, uint8_t to, Slice* body,
                     Slice sdp, const Exchange* exchange) noexcept
