"""What a receiver can say about one RTP stream (RFC 3550 6.4.1, A.1, A.3, A.8). How it is counted, packet by packet,
stands in reception.h."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t

cdef extern from "../media/reception.h" nogil:
    struct Reception:               # zeroed: nothing received yet
        uint64_t packets
        uint64_t unique
        uint64_t expected_before
        uint32_t ssrc
        uint32_t base
        uint32_t highest
        uint32_t jitter_us16
        uint32_t jitter_us_max
        uint32_t out_of_order
        uint32_t duplicates
        uint32_t bursts
        uint32_t strays
        uint32_t restarts

    struct RtpNumbers:
        uint32_t ssrc
        uint32_t timestamp
        uint16_t sequence

    void reception_packet(Reception* r, const RtpNumbers* packet, uint64_t arrival_ns, uint32_t clock)


cdef uint64_t reception_expected(const Reception* r) noexcept nogil
cdef uint64_t reception_lost(const Reception* r) noexcept nogil
cdef double reception_burst_ratio(const Reception* r) noexcept nogil


cdef inline uint32_t reception_jitter_us(const Reception* r) noexcept nogil:
    """Interarrival jitter, microseconds."""
    return r.jitter_us16 >> 4
