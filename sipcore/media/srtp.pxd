"""SRTP and SRTCP (RFC 3711) of one direction of one side: keys, per-source state, packets in and out."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.media.replay cimport Sources
from sipcore.media.sessionkeys cimport SessionKeys
from sipcore.media.srtpkey cimport SrtpKey, SuiteShape

cdef enum:
    SRTP_ADDS = 20              # bytes that protecting adds at most: the tag, and of RTCP the index

cdef enum SrtpFault:            # negative lengths
    SRTP_UNAUTHENTIC = -1       # a bad tag, a plain packet, or too short for either
    SRTP_REPLAYED = -2          # came before, or is older than the window
    SRTP_SPENT = -3             # cannot be sent: sent before, too many sources, or the key is used up

cdef struct Srtp:               # made and freed by anybody, used by one thread
    SuiteShape shape
    uint8_t sends
    uint32_t rtcp_index         # of the next report sent
    SessionKeys rtp
    SessionKeys rtcp
    Sources sources
    SrtpKey key


cdef Srtp* srtp_new(const SrtpKey* key, bint sends) noexcept nogil
cdef Srtp* srtp_heard(const Srtp* it) noexcept nogil
cdef void srtp_free(Srtp* it) noexcept nogil
cdef bint srtp_same(const Srtp* one, const Srtp* other) noexcept nogil
cdef int srtp_protect(Srtp* it, const uint8_t* p, uint32_t n, bint rtcp, uint8_t* out) noexcept nogil
cdef int srtp_unprotect(Srtp* it, const uint8_t* p, uint32_t n, bint rtcp, uint8_t* out) noexcept nogil
