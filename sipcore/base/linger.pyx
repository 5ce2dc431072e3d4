"""Queues for the lingering timers of constant length (Timers D, H, I, J, K, L, M; RFC 3261 17, RFC 6026 7).

Pushing, removing from the middle and expiring are O(1) without any search. Memory: 16 bytes an id and queue, from
the kernel's zero pages: an id that was never queued costs nothing. Time is in milliseconds and an argument; exact,
without ticks. It never goes back within a queue: an earlier `now` of a push counts as the latest one seen.
"""
cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from .slice cimport SIPCORE_CHECK_INDEX

cdef uint32_t NONE = 0xFFFFFFFF
cdef uint64_t NEVER = 0xFFFFFFFFFFFFFFFF


@cython.final
cdef class Linger:
    """Ids 0..capacity-1 that expire duration (ms, at least 1) after they were pushed.

    The Python methods are the index-checked face for tests and benchmarks; the product uses the C ones.
    """

    def __cinit__(self, capacity: int, duration: int):
        if not 0 < capacity < NONE:
            raise ValueError(f"capacity of a queue: expected 1 to {NONE - 1}, not {capacity}")
        if not 0 < duration < 1 << 62:
            raise ValueError(f"duration in ms: expected at least 1, not {duration}")
        self.node = <LingerNode*>calloc(capacity, sizeof(LingerNode))
        if self.node == NULL:
            raise MemoryError()
        self.capacity = capacity
        self.duration = duration
        self.head = NONE

    def __dealloc__(self):
        free(self.node)

    cdef void push(self, uint32_t id, uint64_t now) noexcept nogil:
        """Let id expire duration after now (ms); an id that is queued goes to the end."""
        cdef LingerNode* node = self.node
        cdef uint32_t first, last
        SIPCORE_CHECK_INDEX("Linger.push", id, self.capacity)
        if node[id].deadline:
            self.remove(id)
        if now > self.latest:
            self.latest = now
        first = self.head
        if first == NONE:
            self.head = first = last = id
        else:
            last = node[first].prev
        node[id].deadline = self.latest + self.duration if self.latest < NEVER - self.duration else NEVER - 1
        node[id].next = first
        node[id].prev = last
        node[last].next = id
        node[first].prev = id
        self.count += 1

    cdef void remove(self, uint32_t id) noexcept nogil:
        """Take id out before its time; nothing happens where it is not queued."""
        cdef LingerNode* node = self.node
        cdef uint32_t next
        SIPCORE_CHECK_INDEX("Linger.remove", id, self.capacity)
        if node[id].deadline == 0:
            return
        next = node[id].next
        if next == id:
            self.head = NONE
        else:
            node[next].prev = node[id].prev
            node[node[id].prev].next = next
            if self.head == id:
                self.head = next
        node[id].deadline = 0
        self.count -= 1

    cdef bint queued(self, uint32_t id) noexcept nogil:
        SIPCORE_CHECK_INDEX("Linger.queued", id, self.capacity)
        return self.node[id].deadline != 0

    cdef uint64_t next_deadline(self) noexcept nogil:
        """When the first id expires (ms); 2**64-1 where the queue is empty."""
        return NEVER if self.head == NONE else self.node[self.head].deadline

    cdef int expire(self, uint64_t now, uint32_t* out, int limit) noexcept nogil:
        """Take up to limit ids that are due at now (ms) out of the queue into out; returns how many.

        In the order in which they were pushed. Where it returns limit there may be more to fetch.
        """
        cdef uint32_t id
        cdef int n = 0
        while n < limit and self.head != NONE and self.node[self.head].deadline <= now:
            id = self.head
            self.remove(id)
            out[n] = id
            n += 1
        return n

    def add(self, id: int, now: int) -> None:
        """Push id at now (ms); IndexError where id is not below capacity."""
        if not 0 <= id < self.capacity:
            raise IndexError(id)
        self.push(id, now)

    def discard(self, id: int) -> None:
        """Remove id; IndexError where id is not below capacity."""
        if not 0 <= id < self.capacity:
            raise IndexError(id)
        self.remove(id)

    def __contains__(self, id: int) -> bool:
        return 0 <= id < self.capacity and self.queued(id)

    def next(self) -> int:
        """`next_deadline` (ms)."""
        return self.next_deadline()

    def pop(self, now: int, limit: int = 64) -> list[int]:
        """One call of `expire`: the ids that it gave back."""
        cdef uint64_t when = now
        cdef int n
        cdef bytearray out
        if limit < 1:
            raise ValueError(f"limit: expected at least 1, not {limit}")
        out = bytearray(limit * sizeof(uint32_t))
        n = self.expire(when, <uint32_t*><char*>out, limit)
        return memoryview(out).cast("I")[:n].tolist()
