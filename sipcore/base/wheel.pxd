"""Timers of any length over dense ids: a hierarchical wheel that returns what expired and never calls back."""
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    WHEEL_TICK = 10         # milliseconds a tick

cdef struct TimerNode:
    uint32_t prev           # neighbours in a ring of ids: the first one's prev is the last one
    uint32_t next
    uint64_t when           # tick << 16 | list; 0 where the id is not armed


cdef class Wheel:
    cdef TimerNode* node            # one an id
    cdef readonly uint32_t capacity
    cdef readonly uint32_t count    # ids armed
    cdef uint32_t head[1282]        # first id of each list, 2**32-1 where empty; list 0 is not used
    cdef uint64_t occupied[20]      # one bit a list of the five levels: bit (list - 1)
    cdef uint32_t summary           # one bit a word of occupied
    cdef uint32_t cascading         # the list that is being spread over the levels below, 0 for none
    cdef uint64_t clock             # tick up to which everything was looked at
    cdef uint64_t latest            # latest tick seen by expire; clock is behind it where limit cut a call short

    cdef void arm(self, uint32_t id, uint64_t deadline) noexcept nogil
    cdef void disarm(self, uint32_t id) noexcept nogil
    cdef bint armed(self, uint32_t id) noexcept nogil
    cdef uint64_t next_deadline(self) noexcept nogil
    cdef int expire(self, uint64_t now, uint32_t* out, int limit) noexcept nogil

    cdef void _place(self, uint32_t id, uint64_t tick) noexcept nogil
    cdef void _unlink(self, uint32_t id) noexcept nogil
    cdef uint32_t _first(self) noexcept nogil
    cdef uint64_t _start(self, uint32_t list) noexcept nogil
