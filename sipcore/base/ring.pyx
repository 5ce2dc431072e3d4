"""The queue of ring.h as Python sees it, for tests and benchmarks; the product uses it from C."""
from libc.stdint cimport uint32_t, uint64_t


cdef class WordRing:
    """A ring of 64-bit words."""
    cdef Ring* ring

    def __cinit__(self, uint32_t capacity):
        self.ring = ring_new(capacity, sizeof(uint64_t))
        if self.ring == NULL:
            raise MemoryError()

    def __dealloc__(self):
        ring_free(self.ring)

    @property
    def capacity(self) -> int:
        """Words that fit: what was asked for, rounded up to a power of two."""
        return self.ring.mask + 1

    def put(self, uint64_t word) -> bool:
        """Publish a word; False where the ring is full."""
        cdef uint64_t* place = <uint64_t*>ring_reserve(self.ring)
        if place == NULL:
            return False
        place[0] = word
        ring_publish(self.ring)
        return True

    def take(self) -> int | None:
        """The oldest word, None where there is none."""
        cdef uint64_t* place = <uint64_t*>ring_front(self.ring)
        if place == NULL:
            return None
        word = place[0]
        ring_release(self.ring)
        return word

    def has_room(self, uint32_t n) -> bool:
        return ring_has_room(self.ring, n)

    def must_wake(self) -> bool:
        return ring_must_wake(self.ring)

    def listen(self) -> None:
        ring_listen(self.ring)

    def pass_often(self, int operations) -> int:
        """Publish and take that many words in this thread; returns their sum."""
        cdef uint64_t total = 0
        cdef uint64_t* place
        for i in range(operations):
            place = <uint64_t*>ring_reserve(self.ring)
            if place == NULL:
                break
            place[0] = <uint64_t>i
            ring_publish(self.ring)
            place = <uint64_t*>ring_front(self.ring)
            total += place[0]
            ring_release(self.ring)
        return total
