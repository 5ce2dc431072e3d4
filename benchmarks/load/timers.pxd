"""Retransmission timers as first-in-first-out queues, one for each length a timer can have.

All timers of one length expire in the order in which they were set, so setting one is an append and nothing is
ever searched. A timer is not cancelled: it names its slot and the slot's stamp, and is ignored when the stamp
has moved on. 16 bytes a timer; T1 of half a second at 50,000 calls/s holds 75,000 of them.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cdef enum:
    STEPS = 7               # T1, 2*T1, 4*T1 ... 64*T1
    T2_STEP = 3             # T2 is 8*T1 (RFC 3261 17.1.2.2: 4 s against 500 ms)
    A_STEP = 5              # Timer A doubles to the end

cdef struct Timer:
    uint64_t at             # ns
    uint32_t slot
    uint32_t stamp

cdef struct Queue:
    Timer* ring
    uint32_t head
    uint32_t tail
    uint32_t room           # a power of two, or 0 before the first timer
    uint64_t delay          # ns


cdef inline int _grow(Queue* queue) noexcept nogil:
    cdef uint32_t room = queue.room * 2 if queue.room else 1024
    cdef uint32_t count = queue.tail - queue.head, index
    cdef Timer* ring = <Timer*>malloc(room * sizeof(Timer))
    if ring == NULL:
        return -1
    for index in range(count):
        ring[index] = queue.ring[(queue.head + index) & (queue.room - 1)]
    free(queue.ring)
    queue.ring = ring
    queue.head = 0
    queue.tail = count
    queue.room = room
    return 0


cdef inline int start_timer(Queue* queue, uint64_t now, uint32_t slot, uint32_t stamp) noexcept nogil:
    """Set a timer of the queue's length; -1 without memory."""
    if queue.tail - queue.head == queue.room and _grow(queue) < 0:
        return -1
    queue.ring[queue.tail & (queue.room - 1)] = Timer(now + queue.delay, slot, stamp)
    queue.tail += 1
    return 0


cdef inline Timer* first(Queue* queue) noexcept nogil:
    """Return the timer that expires next, NULL if there is none; `queue.head += 1` takes it off."""
    return NULL if queue.head == queue.tail else &queue.ring[queue.head & (queue.room - 1)]


cdef inline int ladder(int step, int highest) noexcept nogil:
    """Return the queue for the timer number `step` of a transaction, -1 when its 64*T1 are over (Timers B, F, H).

    Doubling up to `highest` and then constant: RFC 3261 17.1.1.2 (Timer A), 17.1.2.2 (E), 17.2.1 (G), 13.3.1.4
    (2xx). Counted rather than timed, so that a late wake-up changes no number of retransmissions.
    """
    cdef int last = highest + 1 + (64 - (2 << highest)) // (1 << highest)
    if step > last:
        return -1
    return 0 if step == last else min(step, highest)
