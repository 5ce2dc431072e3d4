"""A hierarchical timer wheel (Varghese and Lauck, 1987) over the ids 0..capacity-1.

Five levels of 256 lists. Level 0 has one list a tick of 10 ms, each level above 256 times that: 2.56 s, 11 min,
46 h, 497 days, 348 years (a later deadline counts as that one). A timer goes into the level of the highest byte
in which its tick differs from the clock, so every list of a level lies before every list of the level above, and
the earliest one is the lowest bit that is set. When the clock reaches a list above level 0, its timers are spread
over the levels below, at most CASCADE_LIMIT a call of `expire`: a full list costs a little in many calls instead
of much in one. A retransmission timer of 500 ms is moved 0.2 times on average, one of 32 s once.

Memory: 16 bytes an id, from the kernel's zero pages: an id that was never armed costs nothing.

Time is in milliseconds, always an argument, and never goes back: an earlier `now` counts as the latest one seen.
A timer fires at the first tick that is not before its deadline: never early, at most one tick late.
"""
cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from .slice cimport SIPCORE_CHECK, SIPCORE_CHECK_INDEX

cdef extern from * nogil:
    int __builtin_ctz(unsigned int word)
    int __builtin_ctzll(unsigned long long word)
    int __builtin_clzll(unsigned long long word)

cdef enum:
    LEVEL_LISTS = 256
    DUE = 1281                  # list of the timers whose tick was already past when they were placed
    CASCADE_LIMIT = 512         # timers moved down a call of expire: some ten microseconds

cdef uint32_t NONE = 0xFFFFFFFF
cdef uint64_t NEVER = 0xFFFFFFFFFFFFFFFF
cdef uint64_t LAST_TICK = (<uint64_t>1 << 40) - 1


@cython.final
cdef class Wheel:
    """Timers of the ids 0..capacity-1; one each.

    The Python methods are the index-checked face for tests and benchmarks; the product uses the C ones.
    """

    def __cinit__(self, capacity: int, now: int = 0):
        cdef int i
        if not 0 < capacity < NONE:
            raise ValueError(f"capacity of a wheel: expected 1 to {NONE - 1}, not {capacity}")
        self.node = <TimerNode*>calloc(capacity, sizeof(TimerNode))
        if self.node == NULL:
            raise MemoryError()
        self.capacity = capacity
        self.clock = self.latest = min(<uint64_t>now // WHEEL_TICK, LAST_TICK)
        for i in range(DUE + 1):
            self.head[i] = NONE

    def __dealloc__(self):
        free(self.node)

    cdef void arm(self, uint32_t id, uint64_t deadline) noexcept nogil:
        """Let id expire at deadline (ms); an armed id is moved."""
        cdef uint64_t tick = deadline // WHEEL_TICK
        SIPCORE_CHECK_INDEX("Wheel.arm", id, self.capacity)
        if tick * WHEEL_TICK < deadline:
            tick += 1
        if tick > LAST_TICK:
            tick = LAST_TICK
        if self.node[id].when:
            self._unlink(id)
        else:
            self.count += 1
        self._place(id, tick)

    cdef void disarm(self, uint32_t id) noexcept nogil:
        """Forget id's timer; nothing happens where it has none."""
        SIPCORE_CHECK_INDEX("Wheel.disarm", id, self.capacity)
        if self.node[id].when:
            self._unlink(id)
            self.count -= 1

    cdef bint armed(self, uint32_t id) noexcept nogil:
        SIPCORE_CHECK_INDEX("Wheel.armed", id, self.capacity)
        return self.node[id].when != 0

    cdef uint64_t next_deadline(self) noexcept nogil:
        """When `expire` should be called next (ms); 2**64-1 where nothing is armed.

        Exact within 2.56 s; further away the beginning of the list that holds the earliest timer, which is never
        later than that timer. Not after `now` where the last call of `expire` left something to do.
        """
        if self.head[DUE] != NONE or (self.cascading and self.head[self.cascading] != NONE):
            return self.clock * WHEEL_TICK
        if self.summary == 0:
            return NEVER
        return self._start(self._first()) * WHEEL_TICK

    cdef int expire(self, uint64_t now, uint32_t* out, int limit) noexcept nogil:
        """Disarm up to limit ids that are due at now (ms) and write them to out; returns how many.

        First those that were overdue when they were armed, then earlier ticks before later ones; the order within
        a tick is free.
        Where it returns limit, or `next_deadline` is still not after now, there is more to fetch. What is done
        about one id of out may arm or free another one of the same batch: the caller looks before it acts.
        """
        cdef uint64_t tick = now // WHEEL_TICK
        cdef uint64_t start
        cdef uint32_t id, list
        cdef int n = 0, moves = CASCADE_LIMIT
        if tick > LAST_TICK:
            tick = LAST_TICK
        if tick < self.latest:
            tick = self.latest
        self.latest = tick
        while n < limit:
            list = DUE
            if self.head[DUE] == NONE:
                list = self.cascading
                if list == 0 or self.head[list] == NONE:
                    self.cascading = 0
                    if self.summary == 0:
                        self.clock = tick
                        break
                    list = self._first()
                    start = self._start(list)
                    if start > tick:
                        self.clock = tick
                        break
                    SIPCORE_CHECK(start >= self.clock)
                    self.clock = start
                    if list > LEVEL_LISTS:
                        self.cascading = list
            id = self.head[list]
            if list == self.cascading:
                if moves == 0:
                    break
                moves -= 1
                start = self.node[id].when >> 16
                self._unlink(id)
                self._place(id, start)
            else:
                self._unlink(id)
                self.count -= 1
                out[n] = id
                n += 1
        return n

    cdef void _place(self, uint32_t id, uint64_t tick) noexcept nogil:
        cdef TimerNode* node = self.node
        cdef uint32_t list = DUE, first, last
        cdef int level
        if tick > self.clock:
            level = (63 - __builtin_clzll(tick ^ self.clock)) >> 3
            list = level * LEVEL_LISTS + <uint32_t>((tick >> (8 * level)) & (LEVEL_LISTS - 1)) + 1
            self.occupied[(list - 1) >> 6] |= <uint64_t>1 << ((list - 1) & 63)
            self.summary |= <uint32_t>1 << ((list - 1) >> 6)
        first = self.head[list]
        if first == NONE:
            self.head[list] = first = last = id
        else:
            last = node[first].prev
        node[id].when = tick << 16 | list
        node[id].next = first
        node[id].prev = last
        node[last].next = id
        node[first].prev = id

    cdef void _unlink(self, uint32_t id) noexcept nogil:
        cdef TimerNode* node = self.node
        cdef uint32_t list = <uint32_t>(node[id].when & 0xFFFF)
        cdef uint32_t next = node[id].next, word
        if next == id:
            self.head[list] = NONE
            if list != DUE:
                word = (list - 1) >> 6
                self.occupied[word] &= ~(<uint64_t>1 << ((list - 1) & 63))
                if self.occupied[word] == 0:
                    self.summary &= ~(<uint32_t>1 << word)
        else:
            node[next].prev = node[id].prev
            node[node[id].prev].next = next
            if self.head[list] == id:
                self.head[list] = next
        node[id].when = 0

    cdef uint32_t _first(self) noexcept nogil:
        """The list with the earliest timers of the levels; summary must not be 0."""
        cdef int word = __builtin_ctz(self.summary)
        return word * 64 + __builtin_ctzll(self.occupied[word]) + 1

    cdef uint64_t _start(self, uint32_t list) noexcept nogil:
        """The first tick of a list of the levels."""
        cdef int shift = 8 * <int>((list - 1) // LEVEL_LISTS)
        return (self.clock >> (shift + 8) << (shift + 8)) | (<uint64_t>((list - 1) % LEVEL_LISTS) << shift)

    def set(self, id: int, deadline: int) -> None:
        """Arm id for deadline (ms); IndexError where id is not below capacity."""
        if not 0 <= id < self.capacity:
            raise IndexError(id)
        self.arm(id, deadline)

    def clear(self, id: int) -> None:
        """Disarm id; IndexError where id is not below capacity."""
        if not 0 <= id < self.capacity:
            raise IndexError(id)
        self.disarm(id)

    def is_set(self, id: int) -> bool:
        """Whether id is armed; IndexError where id is not below capacity."""
        if not 0 <= id < self.capacity:
            raise IndexError(id)
        return self.armed(id)

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
