"""Counters of the relay as Python sees them. Both structs are arrays of 64-bit words, named here in their order."""
from libc.stdint cimport uint64_t
from sipcore.base.ring cimport relaxed_load

_SIDE = (
    "packets", "octets", "rtcp", "unheard", "heard_us", "alive_us", "wrong_source", "early", "stun", "dtls", "zrtp",
    "truncated", "giant", "other", "unauthentic", "replayed", "kernel_drops",
    "round_trip_us", "far_lost", "far_fraction",
    "far_jitter", "reports", "sent", "sent_octets", "sent_rtcp", "send_failed", "unsendable", "played",
)
_THREAD = ("wakeups", "late", "socket_errors", "realtime", "events_lost")
if (sizeof(SideCounters), sizeof(ThreadCounters)) != (len(_SIDE) * sizeof(uint64_t), len(_THREAD) * sizeof(uint64_t)):
    raise ImportError("the names are not those of the structs")


cdef dict shown_side(const SideCounters* counters):
    return _shown(<const uint64_t*>counters, _SIDE)


cdef dict shown_thread(const ThreadCounters* counters):
    return _shown(<const uint64_t*>counters, _THREAD)


cdef dict _shown(const uint64_t* words, tuple names):
    cdef dict shown = {}
    cdef size_t i = 0
    for name in names:
        shown[name] = relaxed_load(&words[i])
        i += 1
    return shown


cdef void add_up(const SideCounters* counters, SideCounters* total) noexcept:
    """Add to the total; of times, the latest."""
    cdef uint64_t* into = <uint64_t*>total
    cdef const uint64_t* words = <const uint64_t*>counters
    cdef uint64_t heard_us = max(total.heard_us, relaxed_load(&counters.heard_us))
    cdef uint64_t alive_us = max(total.alive_us, relaxed_load(&counters.alive_us))
    cdef size_t i
    for i in range(sizeof(SideCounters) // sizeof(uint64_t)):
        into[i] += relaxed_load(&words[i])
    total.heard_us = heard_us
    total.alive_us = alive_us
