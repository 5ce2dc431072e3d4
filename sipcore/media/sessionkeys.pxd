"""The session keys (RFC 3711 4.3) of SRTP or of SRTCP, as ciphers and hashes that are ready for a packet."""
from libc.stdint cimport uint8_t
from sipcore.media.libcrypto cimport EVP_CIPHER_CTX, SHA_CTX
from sipcore.media.srtpkey cimport CM_SALT, SuiteShape

cdef enum:                  # RFC 3711 4.3.2: where the labels of a protocol begin
    LABELS_SRTP = 0
    LABELS_SRTCP = 3

cdef struct SessionKeys:    # zeroed: none
    EVP_CIPHER_CTX* cipher
    SHA_CTX inner           # HMAC's two hashes, begun; not with AEAD
    SHA_CTX outer
    uint8_t salt[CM_SALT]


cdef bint session_keys_begin(SessionKeys* keys, const SuiteShape* shape, const uint8_t* master, uint8_t labels,
                             bint encrypts) noexcept nogil
cdef void session_keys_end(SessionKeys* keys) noexcept nogil
cdef bint begin_cipher(SessionKeys* keys, const SuiteShape* shape, const uint8_t* key, bint encrypts) noexcept nogil
cdef bint derive(const SuiteShape* shape, const uint8_t* master, uint8_t label, uint8_t* out, int n) noexcept nogil
