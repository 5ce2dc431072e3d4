"""Copies of packets on their way from the relay's thread to the loop, for captures and recordings."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from ..base.address cimport Address

cdef extern from "bytering.h" nogil:
    ctypedef struct ByteRing:
        uint64_t size                                       # bytes

    int bytering_init(ByteRing* ring, uint64_t size)
    void bytering_free(ByteRing* ring)
    uint8_t* bytering_reserve(ByteRing* ring, uint32_t n)   # the producer's
    void bytering_publish(ByteRing* ring, uint32_t n)
    const uint8_t* bytering_front(ByteRing* ring, uint32_t* n)  # the consumer's
    void bytering_release(ByteRing* ring, uint32_t n)
    uint64_t bytering_refused(ByteRing* ring)               # anybody's

cdef enum TapDirection:
    TAP_IN = 0              # came from the side's far end
    TAP_OUT = 1             # went to it

cdef enum TapForm:
    TAP_PLAIN = 0           # as it came or went
    TAP_SEALED = 1          # so too, over SRTP
    TAP_OPENED = 2          # what the sealed one beside it says

cdef struct TapRecord:      # what stands in front of the bytes of each packet
    uint64_t time_ns        # of the thread's clock
    Address far             # the far end: source of TAP_IN, destination of TAP_OUT
    uint32_t session
    uint32_t generation     # of the session's place
    uint16_t n              # bytes of the packet
    uint8_t side
    uint8_t direction       # TapDirection
    uint8_t form            # TapForm
    uint8_t rtcp            # through the RTCP socket, or RTCP by its type on the RTP socket


cdef class Tap:
    cdef ByteRing ring

    cdef bint put(self, const TapRecord* head, const uint8_t* packet) noexcept nogil


cdef inline bint put_record(ByteRing* ring, const TapRecord* head, const uint8_t* packet) noexcept nogil:
    """The thread's: copy a packet of head.n bytes; whether there was room."""
    cdef uint32_t n = sizeof(TapRecord) + <uint32_t>head.n
    cdef uint8_t* room = bytering_reserve(ring, n)
    if room == NULL:
        return False
    memcpy(room, head, sizeof(TapRecord))
    memcpy(room + sizeof(TapRecord), packet, head.n)
    bytering_publish(ring, n)
    return True
