"""Messages that found no connection, or whose connection ended before they had left, one after the other.

They are kept until the layer is at rest, and a bounded number of bytes of them: a layer that is told of one may send
it elsewhere, which may fail at once.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

cdef enum:
    UNSENT_FIRST = 1 << 12      # bytes of the first buffer
    UNSENT_BYTES = 1 << 20      # kept at most


cdef class Unsent:
    """Starts empty."""

    def __dealloc__(self):
        free(self.texts)

    cdef bint keep(self, const uint8_t* data, uint32_t n) noexcept nogil:
        """Keep a message; False where there is no room for it."""
        cdef uint32_t size = sizeof(n) + n + 1, capacity = self.capacity
        cdef uint8_t* room
        if self.n + size > capacity:
            capacity = max(2 * capacity, <uint32_t>UNSENT_FIRST)
            while capacity < self.n + size:
                capacity *= 2
            room = <uint8_t*>realloc(self.texts, capacity) if capacity <= UNSENT_BYTES else NULL
            if room == NULL:
                return False
            self.texts = room
            self.capacity = capacity
        memcpy(self.texts + self.n, &n, sizeof(n))
        memcpy(self.texts + self.n + sizeof(n), data, n)
        self.texts[self.n + size - 1] = 0
        self.n += size
        return True

    cdef const uint8_t* next(self, uint32_t* at, uint32_t* n) noexcept nogil:
        """The message at *at, which moves behind it, and its length; NULL at the end. at: 0 at first."""
        cdef const uint8_t* found
        if at[0] >= self.n:
            return NULL
        memcpy(n, self.texts + at[0], sizeof(uint32_t))
        found = self.texts + at[0] + sizeof(uint32_t)
        at[0] += <uint32_t>sizeof(uint32_t) + n[0] + 1
        return found

    cdef Unsent take(self):
        """All of them; this one is empty then."""
        cdef Unsent taken = Unsent.__new__(Unsent)
        taken.texts, taken.n, taken.capacity = self.texts, self.n, self.capacity
        self.texts = NULL
        self.n = self.capacity = 0
        return taken
