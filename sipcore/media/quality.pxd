"""What a receiver can say about one RTP stream (RFC 3550 6.4.1, A.1, A.3, A.8), packet by packet, in 96 bytes."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t

cdef enum:
    RECEPTION_DROPOUT = 3000    # numbers that may be missing at once before it is a jump (RFC 3550 A.1)
    RECEPTION_WINDOW = 64       # numbers below the highest within which a late packet is told from a second copy

cdef struct Reception:          # zeroed: nothing received yet
    uint64_t packets            # that came, whatever became of them
    uint64_t unique             # of those, the ones that count as received: no second copies, no strays
    uint64_t expected_before    # packets expected of the streams that ended: another SSRC, a restart
    uint64_t seen               # bit i: number `highest` - i came
    uint64_t last_ns            # arrival of the packet that jitter is taken from next, 0: none
    uint32_t last_timestamp     # and its timestamp
    uint32_t ssrc
    uint32_t base               # first number of the stream, extended as `highest`
    uint32_t highest            # highest number of the stream; above 16 bits the times that it went round, from 1
    uint32_t stray              # the number that, coming next, shows that the stream restarted; above 65535: none
    uint32_t jitter_us16        # RFC 3550 A.8, in sixteenths of microseconds
    uint32_t jitter_us_max
    uint32_t out_of_order       # late, and not too late to be told
    uint32_t duplicates
    uint32_t bursts             # runs of missing numbers
    uint32_t strays             # packets far from the others
    uint32_t restarts           # another SSRC, or other numbers


cdef void reception_packet(Reception* r, uint32_t ssrc, uint16_t sequence, uint32_t timestamp, uint64_t arrival_ns,
                           uint32_t clock) noexcept nogil
cdef uint64_t reception_expected(const Reception* r) noexcept nogil
cdef uint64_t reception_lost(const Reception* r) noexcept nogil
cdef double reception_burst_ratio(const Reception* r) noexcept nogil


cdef inline uint32_t reception_jitter_us(const Reception* r) noexcept nogil:
    """Interarrival jitter, microseconds."""
    return r.jitter_us16 >> 4
