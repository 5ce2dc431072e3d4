"""Timers of one constant length over dense ids: a queue, because they expire in the order in which they began."""
from libc.stdint cimport uint32_t, uint64_t

cdef struct LingerNode:
    uint32_t prev           # neighbours in a ring of ids: the first one's prev is the last one
    uint32_t next
    uint64_t deadline       # ms; 0 where the id is not queued


cdef class Linger:
    cdef LingerNode* node           # one an id
    cdef readonly uint32_t capacity
    cdef readonly uint32_t count    # ids queued
    cdef readonly uint64_t duration  # ms
    cdef uint32_t head              # the id that expires first, 2**32-1 where the queue is empty
    cdef uint64_t latest            # the latest now seen by push (ms)

    cdef void push(self, uint32_t id, uint64_t now) noexcept nogil
    cdef void remove(self, uint32_t id) noexcept nogil
    cdef bint queued(self, uint32_t id) noexcept nogil
    cdef uint64_t next_deadline(self) noexcept nogil
    cdef int expire(self, uint64_t now, uint32_t* out, int limit) noexcept nogil
