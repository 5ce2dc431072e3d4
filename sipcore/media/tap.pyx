"""The ring of copied packets: the thread puts, the loop drains, and what finds no room is counted and not copied."""
cimport cython
from libc.stdint cimport uint8_t, uint32_t
from ..base.address cimport address_host
from .packet import OPENED, PLAIN, SEALED, Packet

cdef tuple FORMS = (PLAIN, SEALED, OPENED)      # by TapForm


@cython.final
cdef class Tap:
    """A ring of `size` bytes, rounded up to a power of two; a packet takes its own length and 56 bytes."""

    def __cinit__(self, size: int = 1 << 22):
        if not 4096 <= size <= 1 << 32:
            raise ValueError(f"size of a tap: expected 4096 bytes to 4 GiB, not {size}")
        if bytering_init(&self.ring, size) != 0:
            raise MemoryError()

    def __dealloc__(self):
        bytering_free(&self.ring)

    cdef bint put(self, const TapRecord* head, const uint8_t* packet) noexcept nogil:
        return put_record(&self.ring, head, packet)

    @property
    def overflows(self) -> int:
        """Packets that found no room."""
        return bytering_refused(&self.ring)

    def drain(self, limit: int = 1000) -> list[Packet]:
        """The loop's: take out what was put, in order, `limit` packets at most."""
        cdef uint32_t n
        cdef const uint8_t* p
        cdef const TapRecord* head
        cdef list out = []
        cdef bytes data
        cdef tuple far
        while len(out) < limit:
            p = bytering_front(&self.ring, &n)
            if p == NULL:
                break
            head = <const TapRecord*>p
            data = (<const char*>p)[sizeof(TapRecord):sizeof(TapRecord) + head.n]
            far = (address_host(&head.far), head.far.port)
            out.append(Packet(head.time_ns, head.session, head.generation, head.side, head.direction == TAP_OUT,
                              head.rtcp != 0, far, data, FORMS[head.form]))
            bytering_release(&self.ring, n)
        return out
