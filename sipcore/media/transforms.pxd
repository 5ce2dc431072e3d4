"""The transforms of one packet under its session keys: AES in counter mode and HMAC-SHA1 (RFC 3711 4), AES-GCM (RFC
7714). Inline, because each packet passes one or two; none of them allocates."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset
from sipcore.media.libcrypto cimport (
    EVP_CIPHER_CTX_ctrl, EVP_CTRL_AEAD_GET_TAG, EVP_CTRL_AEAD_SET_TAG, EVP_CipherFinal_ex, EVP_CipherInit_ex,
    EVP_CipherUpdate, SHA1_Final, SHA1_Update, SHA_CTX,
)
from sipcore.media.rtp cimport write_u16, write_u32
from sipcore.media.sessionkeys cimport SessionKeys
from sipcore.media.srtpkey cimport AEAD_TAG, SuiteShape

cdef enum:
    IV = 16                 # bytes
    DIGEST = 20             # of HMAC-SHA1; tags are its beginning
    WORD = 4                # that is authenticated behind a packet: the rollover counter, or SRTCP's index


cdef inline void make_iv(const SuiteShape* shape, const SessionKeys* keys, uint32_t ssrc, uint64_t index,
                         uint8_t* iv) noexcept nogil:
    """iv[IV]: RFC 3711 4.1.1; of AEAD its first 12, RFC 7714 8.1 and 9.1. index: 48 bits."""
    cdef uint32_t at = 2 if shape.aead else 4, i
    memset(iv, 0, IV)
    write_u32(iv + at, ssrc)
    write_u32(iv + at + 4, <uint32_t>(index >> 16))
    write_u16(iv + at + 8, <uint16_t>index)
    for i in range(shape.salt):
        iv[i] ^= keys.salt[i]


cdef inline void hmac(const SessionKeys* keys, const uint8_t* p, uint32_t n, const uint8_t* word,
                      uint8_t* out) noexcept nogil:
    """out[DIGEST]; word: what stands behind a packet for its tag alone, NULL: nothing."""
    cdef SHA_CTX ctx = keys.inner
    SHA1_Update(&ctx, p, n)
    if word != NULL:
        SHA1_Update(&ctx, word, WORD)
    SHA1_Final(out, &ctx)
    ctx = keys.outer
    SHA1_Update(&ctx, out, DIGEST)
    SHA1_Final(out, &ctx)


cdef inline bint crypt(SessionKeys* keys, const uint8_t* iv, const uint8_t* p, uint32_t n, uint8_t* out) noexcept nogil:
    """Counter mode, both ways."""
    cdef int written = 0
    return (EVP_CipherInit_ex(keys.cipher, NULL, NULL, NULL, iv, -1) == 1
            and EVP_CipherUpdate(keys.cipher, out, &written, p, <int>n) == 1)


cdef inline bint seal(SessionKeys* keys, const uint8_t* iv, const uint8_t* head, uint32_t head_n, const uint8_t* word,
                      const uint8_t* p, uint32_t n, uint8_t* out) noexcept nogil:
    """AEAD: out gets n bytes and the tag. head, and word where there is one, are authenticated alone."""
    cdef int written = 0
    return (EVP_CipherInit_ex(keys.cipher, NULL, NULL, NULL, iv, -1) == 1
            and EVP_CipherUpdate(keys.cipher, NULL, &written, head, <int>head_n) == 1
            and (word == NULL or EVP_CipherUpdate(keys.cipher, NULL, &written, word, WORD) == 1)
            and (n == 0 or EVP_CipherUpdate(keys.cipher, out, &written, p, <int>n) == 1)
            and EVP_CipherFinal_ex(keys.cipher, out + n, &written) == 1
            and EVP_CIPHER_CTX_ctrl(keys.cipher, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG, out + n) == 1)


cdef inline bint unseal(SessionKeys* keys, const uint8_t* iv, const uint8_t* head, uint32_t head_n, const uint8_t* word,
                        const uint8_t* p, uint32_t n, const uint8_t* tag, uint8_t* out) noexcept nogil:
    """AEAD: the other way; False where the tag is not right."""
    cdef int written = 0
    return (EVP_CipherInit_ex(keys.cipher, NULL, NULL, NULL, iv, -1) == 1
            and EVP_CipherUpdate(keys.cipher, NULL, &written, head, <int>head_n) == 1
            and (word == NULL or EVP_CipherUpdate(keys.cipher, NULL, &written, word, WORD) == 1)
            and (n == 0 or EVP_CipherUpdate(keys.cipher, out, &written, p, <int>n) == 1)
            and EVP_CIPHER_CTX_ctrl(keys.cipher, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG, <void*>tag) == 1
            and EVP_CipherFinal_ex(keys.cipher, out + n, &written) == 1)
