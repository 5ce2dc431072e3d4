"""Who has offered what, and what is still to be answered: the offer/answer exchanges of one call (RFC 3264)."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.anchor.description cimport MAX_SECTIONS, Section
from sipcore.stack.mediahook cimport Passing

cdef enum:
    EXCHANGES = 3               # of one call at a time: an INVITE's, and UPDATE or PRACK beside it

cdef enum ExchangeState:
    EXCHANGE_FREE = 0
    EXCHANGE_OFFERED = 1
    EXCHANGE_ANSWERED = 2       # kept, because its answer or offer may pass again

cdef struct Exchange:
    uint32_t cseq               # of the request that began it
    uint32_t turn               # rises with each exchange of the call
    uint32_t tag                # Passing.tag of the last response that offered or answered, 0: none
    uint8_t state               # ExchangeState
    uint8_t number              # its place among the call's; set with exchange_room
    uint8_t invite              # begun by an INVITE
    uint8_t side                # who sent the request
    uint8_t offerer             # who made the offer: the request's sender, or in its response the other one
    uint8_t count               # sections described
    Section sections[MAX_SECTIONS]


cdef Exchange* exchange_of(Exchange** all, const Passing* p) noexcept nogil
cdef Exchange* exchange_answered(Exchange** all, const Passing* p) noexcept nogil
cdef Exchange* exchange_room(Exchange** all, const Passing* p) noexcept nogil
