"""Loss and jitter of a received stream, out of what was counted of it (reception.h)."""
from libc.stdint cimport uint64_t


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
