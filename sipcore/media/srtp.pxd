"""SRTP and SRTCP (RFC 3711) of one direction of one side: keys, per-source state, packets in and out."""
from libc.stdint cimport uint8_t, uint32_t

cdef enum Suite:                # RFC 4568 6.2, RFC 6188, RFC 7714; a higher number is stronger
    SUITE_NONE = 0
    AES_CM_128_HMAC_SHA1_32 = 1
    AES_256_CM_HMAC_SHA1_32 = 2
    AES_CM_128_HMAC_SHA1_80 = 3
    AEAD_AES_128_GCM = 4
    AES_256_CM_HMAC_SHA1_80 = 5
    AEAD_AES_256_GCM = 6
    SUITES = 7

cdef enum:
    SRTP_KEY_MAX = 46           # bytes of the longest master key with its salt
    SRTP_MKI_MAX = 16           # bytes of a master key identifier
    SRTP_ADDS = 20              # bytes that protecting adds at most: the tag, and of RTCP the index
    SRTP_SOURCES = 8            # SSRCs of one direction that are known at a time

cdef enum SrtpFault:            # negative lengths
    SRTP_UNAUTHENTIC = -1       # a bad tag, a plain packet, or too short for either
    SRTP_REPLAYED = -2          # came before, or is older than the window
    SRTP_SPENT = -3             # cannot be sent: sent before, too many sources, or the key is used up

cdef struct SrtpKey:            # zeroed: none
    uint8_t suite               # Suite
    uint8_t key[SRTP_KEY_MAX]   # master key, then master salt: srtp_key_size(suite) bytes
    uint8_t mki_n               # bytes of the identifier that packets under this key carry, 0: none
    uint8_t mki[SRTP_MKI_MAX]

cdef struct Srtp                # opaque; made and freed by anybody, used by one thread


cdef uint32_t srtp_key_size(uint8_t suite) noexcept nogil
cdef Srtp* srtp_new(const SrtpKey* key, bint sends) noexcept nogil
cdef Srtp* srtp_heard(const Srtp* it) noexcept nogil
cdef void srtp_free(Srtp* it) noexcept nogil
cdef bint srtp_same(const Srtp* one, const Srtp* other) noexcept nogil
cdef int srtp_protect(Srtp* it, const uint8_t* p, uint32_t n, bint rtcp, uint8_t* out) noexcept nogil
cdef int srtp_unprotect(Srtp* it, const uint8_t* p, uint32_t n, bint rtcp, uint8_t* out) noexcept nogil
cdef void srtp_wipe(SrtpKey* key) noexcept nogil
cdef int key_from(str suite, bytes material, SrtpKey* out) except -1
