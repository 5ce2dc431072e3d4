"""The C pieces of this layer as Python objects, and loops in C, for its tests and benchmarks; nothing of the product
uses it."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from .quality cimport (
    Reception, reception_burst_ratio, reception_expected, reception_jitter_us, reception_lost, reception_packet,
)

RECEPTION_BYTES = sizeof(Reception)


cdef class Receiver:
    """One Reception."""
    cdef Reception r

    def packet(self, uint16_t sequence, uint32_t timestamp=0, uint64_t arrival_ns=0, uint32_t clock=8000,
               uint32_t ssrc=1) -> None:
        reception_packet(&self.r, ssrc, sequence, timestamp, arrival_ns, clock)

    def figures(self) -> dict[str, float]:
        return {
            "packets": self.r.packets, "expected": reception_expected(&self.r), "lost": reception_lost(&self.r),
            "out_of_order": self.r.out_of_order, "duplicates": self.r.duplicates, "bursts": self.r.bursts,
            "strays": self.r.strays, "restarts": self.r.restarts, "jitter_us": reception_jitter_us(&self.r),
            "jitter_us_max": self.r.jitter_us_max, "burst_ratio": reception_burst_ratio(&self.r),
        }

    def receive_often(self, uint32_t operations) -> int:
        """So many packets in order, 20 ms apart."""
        cdef uint32_t i
        for i in range(operations):
            reception_packet(&self.r, 1, <uint16_t>i, i * 160, <uint64_t>i * 20000000 + 1, 8000)
        return reception_jitter_us(&self.r)
