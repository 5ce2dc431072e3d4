"""The keys of a forwarded call in which the edge is an end of SRTP on both sides."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.anchor.description cimport MAX_SECTIONS, Section
from sipcore.anchor.exchange cimport EXCHANGES
from sipcore.anchor.rewrite cimport Place
from sipcore.anchor.sdes cimport Crypto, Cryptos
from sipcore.base.slice cimport Slice
from sipcore.media.srtpkey cimport SUITES, SrtpKey
from sipcore.wire.sdp cimport SdpIndex

cdef struct Plan:               # how a section of an offer is told to whom it goes
    uint8_t profile             # sdes.Profile
    uint8_t count               # of the suites
    uint8_t suite[SUITES]       # with tags from 1 on

cdef struct CallKeys:
    uint8_t count               # suites that are offered where nothing is agreed yet
    uint8_t suites[SUITES]
    uint8_t srtp[2]             # sdes.SrtpMode of each side
    uint8_t savp[2]             # bit of each agreed section that is RTP/SAVP
    uint8_t suite[2][MAX_SECTIONS]          # as agreed
    SrtpKey own[2][MAX_SECTIONS][SUITES]    # what each side is sent with, made when they are needed
    Crypto offered[EXCHANGES][MAX_SECTIONS]     # what is accepted of an offer's keys
    Plan plan[EXCHANGES][MAX_SECTIONS]          # and how it went on
    Crypto answered[MAX_SECTIONS]           # of the answer that passes: what it takes of ours


cdef CallKeys* callkeys_new(const uint8_t* srtp, const uint8_t* suites, uint32_t n) noexcept
cdef void callkeys_free(CallKeys* keys) noexcept
cdef void callkeys_forget(CallKeys* keys, int side) noexcept
cdef const char* callkeys_take_offer(CallKeys* keys, uint8_t srtp, const SdpIndex* sdp, Section* sections,
                                     uint32_t count, Crypto* accepted) noexcept
cdef bint callkeys_plan(CallKeys* keys, int exchange, int to, uint8_t srtp, const Section* sections,
                        uint32_t count) noexcept
cdef bint callkeys_refused(CallKeys* keys, int exchange, int by, uint32_t count, Slice refusal) noexcept
cdef void callkeys_place_offer(const CallKeys* keys, int exchange, int to, uint32_t section, Place* place) noexcept
cdef bint callkeys_take_answer(CallKeys* keys, int exchange, int answerer, const SdpIndex* sdp,
                               const Section* sections, uint32_t count) noexcept
cdef void callkeys_place_answer(const CallKeys* keys, int exchange, int to, uint32_t section, bint savp,
                                Place* place) noexcept
cdef void callkeys_agree(CallKeys* keys, int exchange, int answerer, uint32_t section, bint offer_savp,
                         bint answer_savp) noexcept
