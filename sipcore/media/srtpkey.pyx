# distutils: libraries = crypto
"""Suites by number and by name, and what each one's key is made of."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy, memset
from sipcore.media.libcrypto cimport OPENSSL_cleanse

# By Suite. RFC 4568 6.2.2: SRTCP has a tag of 80 bits in any case.
cdef SuiteShape[SUITES] SHAPES
SHAPES[:] = [
    SuiteShape(0, 0, 0, 0, False),
    SuiteShape(16, CM_SALT, 4, 10, False),
    SuiteShape(32, CM_SALT, 4, 10, False),
    SuiteShape(16, CM_SALT, 10, 10, False),
    SuiteShape(16, AEAD_SALT, AEAD_TAG, AEAD_TAG, True),
    SuiteShape(32, CM_SALT, 10, 10, False),
    SuiteShape(32, AEAD_SALT, AEAD_TAG, AEAD_TAG, True),
]

NAMES = {
    "AES_CM_128_HMAC_SHA1_32": AES_CM_128_HMAC_SHA1_32,
    "AES_256_CM_HMAC_SHA1_32": AES_256_CM_HMAC_SHA1_32,
    "AES_CM_128_HMAC_SHA1_80": AES_CM_128_HMAC_SHA1_80,
    "AEAD_AES_128_GCM": AEAD_AES_128_GCM,
    "AES_256_CM_HMAC_SHA1_80": AES_256_CM_HMAC_SHA1_80,
    "AEAD_AES_256_GCM": AEAD_AES_256_GCM,
}
"""Suites by the names of RFC 4568 6.2, RFC 6188 and RFC 7714."""


cdef const SuiteShape* suite_shape(uint8_t suite) noexcept nogil:
    """NULL where there is no such suite."""
    return &SHAPES[suite] if SUITE_NONE < suite < SUITES else NULL


cdef uint32_t srtp_key_size(uint8_t suite) noexcept nogil:
    """Bytes of a suite's master key and master salt together, 0 for none."""
    return SHAPES[suite].key + SHAPES[suite].salt if suite < SUITES else 0


cdef bint srtp_key_same(const SrtpKey* one, const SrtpKey* other) noexcept nogil:
    """Whether both are the same key, by the same identifier."""
    return (one.suite == other.suite and one.mki_n == other.mki_n and memcmp(one.mki, other.mki, one.mki_n) == 0
            and memcmp(one.key, other.key, srtp_key_size(one.suite)) == 0)


cdef void srtp_wipe(SrtpKey* key) noexcept nogil:
    """Leave nothing of a key behind."""
    OPENSSL_cleanse(key, sizeof(SrtpKey))


def key_size(str suite not None) -> int:
    """Bytes of a suite's master key and salt; KeyError for one that is not known here."""
    return srtp_key_size(NAMES[suite])


cdef int key_from(str suite, bytes material, SrtpKey* out) except -1:
    """ValueError where the material is not as long as the suite's key and salt."""
    memset(out, 0, sizeof(SrtpKey))
    out.suite = <uint8_t>NAMES[suite]
    if <uint32_t>len(material) != srtp_key_size(out.suite):
        raise ValueError(f"expected {srtp_key_size(out.suite)} bytes of key and salt for {suite}, not {len(material)}")
    memcpy(out.key, <const uint8_t*><const char*>material, len(material))
    return 0
