"""How big a request may be on its way to a host, from the path MTU that the kernel knows (transfers.md 4).

The kernel is asked for a host at most once a minute, and for all of them at most five hundred times a second: hosts
that peers choose (a Contact names one) may push each other out of the table, whatever that costs stays below a
hundredth of a core. A host that was not asked for passes as unknown.

Cost: one look into the table for each request over LEAST_LIMIT; 160 KiB.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from sipcore.base.address cimport Address, address_from, address_host

cdef enum:
    KEPT_MS = 60_000
    ASKED_A_SECOND = 500
    UNKNOWN = 0xFFFFFFFF


cdef inline uint32_t _place(const Address* a) noexcept nogil:
    cdef uint64_t first, second
    memcpy(&first, a.ip, 8)
    memcpy(&second, a.ip + 8, 8)
    first = (first ^ a.family) * <uint64_t>0x9E3779B97F4A7C15
    first = (first ^ second ^ first >> 29) * <uint64_t>0x9E3779B97F4A7C15
    return <uint32_t>(first >> 40) & (PLACES - 1)


cdef class PathLimits:
    """ask: called as ask(host, port), returns bytes, 0 where nothing is known."""

    def __cinit__(self, ask):
        self.ask = ask
        memset(self.places, 0, sizeof(self.places))

    cdef uint32_t limit(self, const Address* to, uint64_t now) noexcept:
        """Bytes of a request; the greatest number there is where nothing is known."""
        cdef PathLimit* place = &self.places[_place(to)]
        if place.until <= now or place.family != to.family or memcmp(place.ip, to.ip, 16) != 0:
            if self.second != now // 1000:
                self.second = now // 1000
                self.asked = 0
            if self.asked == ASKED_A_SECOND:
                return UNKNOWN
            self.asked += 1
            memcpy(place.ip, to.ip, 16)
            place.family = to.family
            place.until = now + KEPT_MS
            try:
                place.limit = <uint32_t>self.ask(address_host(to), to.port)
            except Exception:
                place.limit = 0
        return place.limit if place.limit else UNKNOWN

    def of(self, str host not None, int port, uint64_t now):
        """`limit`, for requests of the edge's own and for tests. now: ms."""
        cdef Address to
        memset(&to, 0, sizeof(to))
        address_from(host, port, &to)
        return self.limit(&to, now)
