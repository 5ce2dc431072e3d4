"""A master key of SRTP (RFC 3711 3.2.1) and its suite, from which the keys of each packet are derived."""
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
    CM_SALT = 14                # bytes
    AEAD_SALT = 12
    AEAD_TAG = 16

cdef struct SuiteShape:
    uint8_t key                 # bytes of the master key and of the session key
    uint8_t salt
    uint8_t tag                 # of SRTP
    uint8_t rtcp_tag
    uint8_t aead

cdef struct SrtpKey:            # zeroed: none
    uint8_t suite               # Suite
    uint8_t key[SRTP_KEY_MAX]   # master key, then master salt: srtp_key_size(suite) bytes
    uint8_t mki_n               # bytes of the identifier that packets under this key carry, 0: none
    uint8_t mki[SRTP_MKI_MAX]


cdef const SuiteShape* suite_shape(uint8_t suite) noexcept nogil
cdef uint32_t srtp_key_size(uint8_t suite) noexcept nogil
cdef bint srtp_key_same(const SrtpKey* one, const SrtpKey* other) noexcept nogil
cdef void srtp_wipe(SrtpKey* key) noexcept nogil
cdef int key_from(str suite, bytes material, SrtpKey* out) except -1
