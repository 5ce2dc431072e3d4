"""Sequence numbers, loss and jitter of a received stream.

RFC 3550 A.1 with these choices: the first packet counts at once (a relay has told its source before, so there is no
probation), late packets are told from second copies within 64 numbers, and a jump is believed when the next number
follows. What was expected and received before a restart stays in the totals.
"""
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

cdef enum:
    NO_STRAY = 0x10000
    LONGEST_US = 1000000        # a difference above this is a timestamp that jumped, not jitter


cdef void begin(Reception* r, uint32_t ssrc, uint32_t first, uint16_t highest) noexcept nogil:
    """Numbers first (highest or the one before it) to highest are the first ones of a stream."""
    # From 1, so that a packet late by one at the start has a number to count down to.
    r.highest = 0x10000 | highest
    r.base = r.highest - <uint16_t>(highest - first)
    r.seen = 3 if r.base != r.highest else 1
    r.unique += 1 + r.highest - r.base
    r.ssrc = ssrc
    r.stray = NO_STRAY
    r.last_ns = 0


cdef void reception_packet(Reception* r, uint32_t ssrc, uint16_t sequence, uint32_t timestamp, uint64_t arrival_ns,
                           uint32_t clock) noexcept nogil:
    """Take one packet into account. arrival_ns: of a clock that never goes back; clock: Hz, 0 where not known (then
    the packet says nothing about jitter)."""
    cdef uint16_t ahead = <uint16_t>(sequence - <uint16_t>r.highest)
    cdef uint32_t behind = 0x10000 - ahead
    r.packets += 1
    if r.packets == 1:
        begin(r, ssrc, sequence, sequence)
    elif ssrc != r.ssrc:
        r.expected_before += r.highest - r.base + 1
        r.restarts += 1
        begin(r, ssrc, sequence, sequence)
    elif ahead == 0:
        r.duplicates += 1
        return
    elif ahead < RECEPTION_DROPOUT:
        r.highest += ahead
        r.seen = r.seen << ahead | 1 if ahead < 64 else 1
        r.unique += 1
        if ahead > 1:
            r.bursts += 1
    elif behind < RECEPTION_WINDOW:
        if r.seen >> behind & 1:
            r.duplicates += 1
            return
        r.seen |= <uint64_t>1 << behind
        r.unique += 1
        r.out_of_order += 1
        if r.highest - behind < r.base:
            r.base = r.highest - behind
    elif sequence == r.stray:
        r.expected_before += r.highest - r.base + 1
        r.restarts += 1
        r.strays -= 1
        begin(r, ssrc, <uint16_t>(sequence - 1), sequence)
    else:
        r.strays += 1
        r.stray = <uint16_t>(sequence + 1)
        return
    measure_jitter(r, timestamp, arrival_ns, clock)


cdef void measure_jitter(Reception* r, uint32_t timestamp, uint64_t arrival_ns, uint32_t clock) noexcept nogil:
    """RFC 3550 A.8: J += (|D| - J) / 16.

    Left out: packets with the timestamp of the one before (the updates of one telephone event, RFC 4733 2.5.1.2,
    come later and later by their own rule).
    """
    cdef int64_t difference
    cdef uint32_t size
    if r.last_ns and timestamp == r.last_timestamp:
        return
    if r.last_ns and clock:
        difference = <int64_t>(arrival_ns - r.last_ns) // 1000
        difference -= <int64_t><int32_t>(timestamp - r.last_timestamp) * 1000000 // clock
        if -LONGEST_US <= difference <= LONGEST_US:
            size = <uint32_t>(difference if difference >= 0 else -difference)
            r.jitter_us16 += size - ((r.jitter_us16 + 8) >> 4)
            if r.jitter_us16 >> 4 > r.jitter_us_max:
                r.jitter_us_max = r.jitter_us16 >> 4
    r.last_timestamp = timestamp
    r.last_ns = arrival_ns


cdef uint64_t reception_expected(const Reception* r) noexcept nogil:
    """Packets that the numbers say were sent, from the first to the highest of each stream (RFC 3550 A.3)."""
    return r.expected_before + r.highest - r.base + 1 if r.packets else 0


cdef uint64_t reception_lost(const Reception* r) noexcept nogil:
    """Expected packets that did not come (RFC 3550 A.3); never negative, second copies are not counted as received."""
    cdef uint64_t expected = reception_expected(r)
    return expected - r.unique if expected > r.unique else 0


cdef double reception_burst_ratio(const Reception* r) noexcept nogil:
    """BurstR of ITU-T G.107 3.5: mean length of the runs of lost packets against that of random loss, 1 / (1 - p).

    1 where nothing is lost, and never below it.
    """
    cdef uint64_t lost = reception_lost(r)
    cdef double ratio
    if lost == 0 or r.bursts == 0:
        return 1.0
    ratio = <double>lost / r.bursts * (1.0 - <double>lost / <double>reception_expected(r))
    return ratio if ratio > 1.0 else 1.0
