"""One leg of a controlled call as offer and answer know it, and the room in which its descriptions are made."""
from libc.stdint cimport int16_t, uint8_t, uint32_t, uint64_t
from sipcore.anchor.description cimport CODEC_TEXT, MAX_SECTIONS, Rules, Section
from sipcore.anchor.rewrite cimport Host, Place
from sipcore.anchor.sdes cimport Crypto, Cryptos
from sipcore.base.address cimport Address
from sipcore.media.srtpkey cimport SUITES, SrtpKey
from sipcore.wire.edit cimport Edit
from sipcore.wire.sdp cimport SdpIndex


cdef class LegSide:
    cdef bytes local            # what the far end was told, and
    cdef bytes remote           # what it said: agreed; None before
    cdef bytes offered          # our offer that waits for its answer
    cdef bytes offer            # its offer that waits for ours
    cdef bytes told             # the last description that it was sent
    cdef uint64_t origin        # session id of o= towards it
    cdef uint32_t version       # of `told`
    cdef uint32_t turn          # number of the exchange of `offered` or `offer`
    cdef uint32_t answered      # number of the exchange that `remote` is the answer of
    cdef uint8_t listener
    cdef int16_t pool           # media address that it is told, NO_POOL: not chosen yet
    cdef uint8_t open           # bit of each section that is agreed
    cdef uint8_t wants          # bit of each section of the pending offer
    cdef uint8_t answers        # `local` is the answer, and `remote` the offer
    cdef char codec[CODEC_TEXT]     # of the first section agreed
    cdef Address signalling     # where its SIP came from
    cdef list tokens            # of what is played to it, oldest first
    cdef uint32_t sounding      # in which section
    cdef dict before            # by section, the counters of whoever was on this side before
    cdef uint8_t srtp           # sdes.SrtpMode
    cdef uint8_t savp           # bit of each agreed section that is RTP/SAVP
    cdef uint8_t suite[MAX_SECTIONS]    # media.srtpkey.Suite of each agreed section
    cdef SrtpKey* own           # what it is sent with, by section and suite; NULL: nothing yet

    cdef int make(self, uint32_t i, uint8_t suite, uint32_t tag, Cryptos* made) except -1


cdef class Desk:
    cdef SdpIndex sdp           # of the description that was read last
    cdef Section sections[MAX_SECTIONS]
    cdef uint32_t count         # of them
    cdef Edit edit
    cdef Crypto best[MAX_SECTIONS]      # of the offer that was read last: what is accepted of its keys
    cdef const char* refused    # why a section of it was, for its keys; NULL: none was

    cdef int read_offer(self, bytes description, const Rules* rules, uint8_t srtp) except -1
    cdef int read(self, bytes description, const Rules* rules) except -1
    cdef int check_offer(self) except -1
    cdef bytes render(self, LegSide side, bytes description, const Place* places, const Host* host, bint fresh)
    cdef bytes _render(self, LegSide side, bytes description, const Place* places, const Host* host, bint fresh)
    cdef void _strip(self, uint32_t first, uint32_t stop, bint keys, bint directions) noexcept
