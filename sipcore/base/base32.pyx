"""The Python face of base32.pxd, for tests and tools that read identifiers: the product calls the inline functions."""
from libc.stdint cimport uint8_t, uint64_t
from .base32 cimport BASE32_U64, get_base32_u64, put_base32_u64


def encode(uint64_t word):
    """The 13 characters of a 64-bit word."""
    cdef uint8_t text[BASE32_U64]
    put_base32_u64(word, text)
    return (<const char*>text)[:BASE32_U64].decode("ascii")


def decode(str text):
    """The 64-bit word of 13 characters; ValueError where text is not exactly what `encode` writes."""
    cdef bytes raw = text.encode("utf-8")
    cdef uint64_t word = 0
    if len(raw) != BASE32_U64 or get_base32_u64(<const uint8_t*><const char*>raw, &word) != 0:
        raise ValueError(f"not a 64-bit word in base 32: {text!r}")
    return word
