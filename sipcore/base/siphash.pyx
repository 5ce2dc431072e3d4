"""The Python face of siphash.pxd, for tests and benchmarks: the product calls the inline functions."""
from libc.stdint cimport uint8_t
from .siphash cimport (
    SipKey, SipState, sip_load, siphash13, siphash24, siphash24_init, siphash_final, siphash_init, siphash_update,
)


cdef int key_from(bytes key, SipKey* out) except -1:
    """Read a key of 16 bytes, as two little-endian words; ValueError for any other length."""
    if len(key) != 16:
        raise ValueError(f"a SipHash key has 16 bytes, not {len(key)}")
    out.k0 = sip_load(<const uint8_t*><const char*>key)
    out.k1 = sip_load(<const uint8_t*><const char*>key + 8)
    return 0


def hash13(bytes key, bytes data):
    """SipHash-1-3 of data under a key of 16 bytes."""
    cdef SipKey k
    key_from(key, &k)
    return siphash13(&k, <const uint8_t*><const char*>data, <size_t>len(data))


def hash24(bytes key, bytes data):
    """SipHash-2-4 of data under a key of 16 bytes."""
    cdef SipKey k
    key_from(key, &k)
    return siphash24(&k, <const uint8_t*><const char*>data, <size_t>len(data))


def hash_slices(bytes key, slices, bint forgeproof=False):
    """The incremental hash of some bytes objects; with forgeproof the rounds of 2-4, else those of 1-3."""
    cdef SipKey k
    cdef SipState s
    cdef bytes data
    key_from(key, &k)
    if forgeproof:
        siphash24_init(&s, &k)
    else:
        siphash_init(&s, &k)
    for data in slices:
        siphash_update(&s, <const uint8_t*><const char*>data, <size_t>len(data))
    return siphash_final(&s)
