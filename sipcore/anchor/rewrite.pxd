"""The patches that put the edge in the place of a session description's sender."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from sipcore.anchor.sdes cimport Cryptos
from sipcore.base.slice cimport Slice
from sipcore.wire.edit cimport Edit
from sipcore.wire.sdp cimport SdpIndex

cdef struct Place:              # what becomes of one media section
    uint8_t treatment           # description.Treatment
    uint16_t port               # of the edge, even; 0 where the section stays closed
    uint8_t profile             # sdes.Profile of a section that is anchored
    Cryptos made                # for PROFILE_BESIDE and PROFILE_SECURE

cdef struct Host:               # the media address that one side is told
    uint8_t family              # 4 or 6
    uint32_t n
    uint8_t text[48]


cdef uint32_t rewrite(const SdpIndex* sdp, Edit* e, const Place* places, uint32_t count,
                      const Host* host) noexcept nogil
cdef void take_out_dtls(const SdpIndex* sdp, Edit* e, const Place* places, uint32_t count) noexcept nogil
cdef int host_of(str host, Host* out) except -1
