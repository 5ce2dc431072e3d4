# distutils: libraries = crypto
"""Session keys are derived once, with the master key (key derivation rate 0).

A packet then costs no allocation: ciphers keep their keys, and the two halves of HMAC are begun once and copied.
libcrypto's own HMAC allocates for each message, so that stands on its SHA-1, which does not.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset
from sipcore.media.libcrypto cimport (
    EVP_CIPHER, EVP_CIPHER_CTX, EVP_CIPHER_CTX_free, EVP_CIPHER_CTX_new, EVP_CipherInit_ex, EVP_CipherUpdate,
    EVP_aes_128_ctr, EVP_aes_128_gcm, EVP_aes_256_ctr, EVP_aes_256_gcm, OPENSSL_cleanse, SHA1_Init, SHA1_Update,
)

cdef enum:
    HMAC_KEY = 20           # bytes
    BLOCK = 64              # of SHA-1

cdef enum:                  # RFC 3711 4.3.2, from where those of the protocol begin
    LABEL_CIPHER = 0
    LABEL_AUTH = 1
    LABEL_SALT = 2


cdef const EVP_CIPHER* counter_mode(uint32_t key) noexcept nogil:
    return EVP_aes_256_ctr() if key == 32 else EVP_aes_128_ctr()


cdef bint derive(const SuiteShape* shape, const uint8_t* master, uint8_t label, uint8_t* out, int n) noexcept nogil:
    """n bytes of a session key (RFC 3711 4.3.3); False where libcrypto has no memory.

    The salt of an AEAD suite is two bytes shorter, and stands in front (RFC 7714 11).
    """
    cdef EVP_CIPHER_CTX* prf = EVP_CIPHER_CTX_new()
    cdef uint8_t iv[16]
    cdef int written = 0
    cdef bint done
    memset(iv, 0, sizeof(iv))
    memcpy(iv, master + shape.key, shape.salt)
    iv[7] ^= label
    memset(out, 0, <size_t>n)
    done = (prf != NULL and EVP_CipherInit_ex(prf, counter_mode(shape.key), NULL, master, iv, True) == 1
            and EVP_CipherUpdate(prf, out, &written, out, n) == 1)
    EVP_CIPHER_CTX_free(prf)
    return done


cdef void begin_hmac(SessionKeys* keys, const uint8_t* key) noexcept nogil:
    """RFC 2104: the blocks that the key makes are hashed once."""
    cdef uint8_t block[BLOCK]
    cdef int i
    memset(block, 0x36, BLOCK)
    for i in range(HMAC_KEY):
        block[i] ^= key[i]
    SHA1_Init(&keys.inner)
    SHA1_Update(&keys.inner, block, BLOCK)
    for i in range(BLOCK):
        block[i] ^= 0x36 ^ 0x5C
    SHA1_Init(&keys.outer)
    SHA1_Update(&keys.outer, block, BLOCK)
    OPENSSL_cleanse(block, BLOCK)


cdef bint begin_cipher(SessionKeys* keys, const SuiteShape* shape, const uint8_t* key, bint encrypts) noexcept nogil:
    """key: the session key of the cipher. False where libcrypto has no memory."""
    cdef const EVP_CIPHER* cipher = counter_mode(shape.key)
    if shape.aead:
        cipher = EVP_aes_256_gcm() if shape.key == 32 else EVP_aes_128_gcm()
    keys.cipher = EVP_CIPHER_CTX_new()
    # Counter mode works the same both ways.
    return (keys.cipher != NULL
            and EVP_CipherInit_ex(keys.cipher, cipher, NULL, key, NULL, encrypts or not shape.aead) == 1)


cdef bint session_keys_begin(SessionKeys* keys, const SuiteShape* shape, const uint8_t* master, uint8_t labels,
                             bint encrypts) noexcept nogil:
    """Derive the session keys of a protocol; False where libcrypto has no memory. To be ended in either case."""
    cdef uint8_t key[32]
    cdef bint done = derive(shape, master, labels + LABEL_CIPHER, key, shape.key)
    done = done and begin_cipher(keys, shape, key, encrypts)
    if done and not shape.aead:
        done = derive(shape, master, labels + LABEL_AUTH, key, HMAC_KEY)
        begin_hmac(keys, key)
    OPENSSL_cleanse(key, sizeof(key))
    return done and derive(shape, master, labels + LABEL_SALT, keys.salt, shape.salt)


cdef void session_keys_end(SessionKeys* keys) noexcept nogil:
    EVP_CIPHER_CTX_free(keys.cipher)
    OPENSSL_cleanse(keys, sizeof(SessionKeys))
