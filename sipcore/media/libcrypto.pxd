"""What SRTP needs of OpenSSL's libcrypto: ciphers, SHA-1, comparing and forgetting secrets.

Whoever calls any of it says `# distutils: libraries = crypto`.
"""
from libc.stdint cimport uint8_t

cdef extern from *:
    """
    #define OPENSSL_SUPPRESS_DEPRECATED
    """

cdef extern from "<openssl/evp.h>" nogil:
    ctypedef struct EVP_CIPHER:
        pass

    ctypedef struct EVP_CIPHER_CTX:
        pass

    int EVP_CTRL_AEAD_GET_TAG, EVP_CTRL_AEAD_SET_TAG
    const EVP_CIPHER* EVP_aes_128_ctr()
    const EVP_CIPHER* EVP_aes_256_ctr()
    const EVP_CIPHER* EVP_aes_128_gcm()
    const EVP_CIPHER* EVP_aes_256_gcm()
    EVP_CIPHER_CTX* EVP_CIPHER_CTX_new()
    void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX* ctx)
    int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX* ctx, int what, int n, void* p)
    int EVP_CipherInit_ex(EVP_CIPHER_CTX* ctx, const EVP_CIPHER* cipher, void* engine, const uint8_t* key,
                          const uint8_t* iv, int encrypts)
    int EVP_CipherUpdate(EVP_CIPHER_CTX* ctx, uint8_t* out, int* written, const uint8_t* p, int n)
    int EVP_CipherFinal_ex(EVP_CIPHER_CTX* ctx, uint8_t* out, int* written)

cdef extern from "<openssl/sha.h>" nogil:
    ctypedef struct SHA_CTX:
        pass

    int SHA1_Init(SHA_CTX* ctx)
    int SHA1_Update(SHA_CTX* ctx, const void* p, size_t n)
    int SHA1_Final(uint8_t* out, SHA_CTX* ctx)

cdef extern from "<openssl/crypto.h>" nogil:
    int CRYPTO_memcmp(const void* a, const void* b, size_t n)
    void OPENSSL_cleanse(void* p, size_t n)

cdef extern from "<openssl/err.h>" nogil:
    void ERR_clear_error()
