"""Keys in session descriptions (RFC 4568): a=crypto lines that can be used, and those that are made here."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.slice cimport Slice
from sipcore.media.srtpkey cimport SUITES, SrtpKey
from sipcore.wire.edit cimport Edit
from sipcore.wire.sdp cimport SdpIndex

cdef enum:
    MAX_CRYPTO = SUITES         # lines of one section that are looked at, or made

cdef enum SrtpMode:             # what a rule says of a side
    SRTP_PASS = 0               # forwarded calls: keys pass. Where the edge is an end: accepted where it is offered
    SRTP_NEVER = 1              # plain RTP only
    SRTP_OFFER = 2              # offered beside plain RTP
    SRTP_REQUIRE = 3            # nothing else
    SRTP_OFFER_ALONE = 4        # no rule's: as SRTP_OFFER, of whoever refused keys beside plain RTP; RTP/SAVP

cdef enum Profile:              # what becomes of a section's RTP profile
    PROFILE_KEPT = 0            # it stays, with its keys
    PROFILE_PLAIN = 1           # RTP/AVP
    PROFILE_BESIDE = 2          # RTP/AVP with keys: the far end may do without
    PROFILE_SECURE = 3          # RTP/SAVP

cdef struct Crypto:             # one a=crypto line
    uint32_t tag
    SrtpKey key                 # suite SUITE_NONE: there is no line

cdef struct Cryptos:            # those of one section
    uint8_t count
    Crypto line[MAX_CRYPTO]


cdef bint is_savp(Slice proto) noexcept nogil
cdef bint is_key(Slice line) noexcept nogil
cdef void section_cryptos(const SdpIndex* sdp, uint32_t section, Cryptos* out) noexcept nogil
cdef const Crypto* cryptos_best(const Cryptos* offered) noexcept nogil
cdef const Crypto* cryptos_match(const Cryptos* offered, const Cryptos* answered, const Crypto** answer) noexcept nogil
cdef uint8_t mode_after_refusal(Slice refusal) noexcept nogil
cdef bint key_fresh(SrtpKey* key, uint8_t suite) noexcept nogil
cdef void edit_profile(Edit* e, const SdpIndex* sdp, uint32_t section, uint8_t profile, bint is_open,
                       const Cryptos* made) noexcept nogil
