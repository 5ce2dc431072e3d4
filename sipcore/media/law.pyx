"""Two tables of 256 bytes: for each byte of one law that of the other whose sample is the nearest, of the same sign."""
from libc.stdint cimport uint8_t, uint32_t

from sipcore.media.g711 import DECODED

cdef uint8_t[256] TO_MU
cdef uint8_t[256] TO_A


cdef void law_convert(uint8_t* payload, uint32_t n, uint8_t law) noexcept nogil:
    """Convert n samples where they are."""
    cdef const uint8_t* table = &TO_MU[0] if law == LAW_TO_MU else &TO_A[0]
    cdef uint32_t i
    for i in range(n):
        payload[i] = table[payload[i]]


def converted(bytes payload not None, str codec not None):
    """A payload of the other law as that of this codec: "PCMU" or "PCMA"."""
    cdef bytearray copy = bytearray(payload)
    law_convert(copy, <uint32_t>len(copy), LAW_TO_MU if codec == "PCMU" else LAW_TO_A)
    return bytes(copy)


cdef int _fill() except -1:
    # Bit 7 is the sign in both, and set for what is not below zero.
    for byte in range(256):
        signed = range(byte & 0x80, (byte & 0x80) + 0x80)
        TO_MU[byte] = min(signed, key=lambda other: abs(DECODED["PCMU"][other] - DECODED["PCMA"][byte]))
        TO_A[byte] = min(signed, key=lambda other: abs(DECODED["PCMA"][other] - DECODED["PCMU"][byte]))
    return 0


_fill()
