"""Buffers of two sizes out of chunks of 1 MiB, and longer ones by malloc, all under one limit in bytes.

A buffer that comes back is the next one to go out (its lines are still in the cache). A chunk stays with its size
until the pool goes: a flood can turn the room to one size, but a small buffer is taken out of a medium one when
no chunk is left for it. The first buffer of a chunk holds the chunk's head: 2047 small or 511 medium ones a chunk.
A chunk's pages are fetched, a few at once, when its buffers go out for the first time.

Checked builds poison what is not out (AddressSanitizer, or the byte 0xDD without it) and trap on a buffer that is
given twice or was never taken.
"""
cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from .pages cimport PAGES_AHEAD, pages_fetch
from .slice cimport SIPCORE_CHECK

cdef extern from "stdlib.h" nogil:
    void* aligned_alloc(size_t alignment, size_t size)

cdef extern from "checked.h" nogil:
    const bint SIPCORE_IS_CHECKED
    void SIPCORE_POISON(void* p, size_t n)
    void SIPCORE_HIDE(void* p, size_t n)
    void SIPCORE_UNPOISON(void* p, size_t n)

cdef enum:
    SMALL = 0
    MEDIUM = 1
    LARGE = 2
    CHUNK = 1 << 20


cdef inline uint32_t size_of(int size_class) noexcept nogil:
    return POOL_SMALL if size_class == SMALL else POOL_MEDIUM


cdef inline int class_of(uint32_t capacity) noexcept nogil:
    return SMALL if capacity == POOL_SMALL else MEDIUM if capacity == POOL_MEDIUM else LARGE


cdef void mark(uint8_t* p, uint32_t size, bint is_out) noexcept nogil:
    """Note in the chunk's head that the buffer at p goes out or comes back; traps where it is so already."""
    cdef Chunk* chunk = <Chunk*>(<uintptr_t>p & ~<uintptr_t>(CHUNK - 1))
    cdef uint32_t i = <uint32_t>(p - <uint8_t*>chunk) // size
    cdef uint64_t bit = <uint64_t>1 << (i & 63)
    SIPCORE_CHECK(<uint32_t>(p - <uint8_t*>chunk) % size == 0 and i != 0)
    SIPCORE_CHECK(((chunk.live[i >> 6] & bit) != 0) != is_out)
    chunk.live[i >> 6] ^= bit


@cython.final
cdef class Pool:
    """Buffers of up to 65,535 bytes, at most limit bytes in all (chunks count whole)."""

    def __cinit__(self, limit: int):
        if not CHUNK <= limit < 1 << 63:
            raise ValueError(f"limit of a pool: expected at least {CHUNK} bytes, not {limit}")
        self.limit = limit

    def __dealloc__(self):
        cdef Chunk* chunk
        while self.chunks != NULL:
            chunk = self.chunks
            self.chunks = chunk.next
            SIPCORE_UNPOISON(chunk, CHUNK)
            free(chunk)

    cdef int take(self, uint32_t n, Buffer* out) noexcept nogil:
        """Set out to an unused buffer with room for n bytes, its n set to n.

        Returns 0; -1, with out empty, where the limit or the memory is used up or n is above 65,535. Who takes a
        buffer gives it back; long ones that are still out when the pool goes are lost.
        """
        cdef int size_class = SMALL if n <= POOL_SMALL else MEDIUM if n <= POOL_MEDIUM else LARGE
        cdef uint8_t* p = NULL
        cdef uint32_t capacity = n
        if size_class != LARGE:
            p = self._carve(size_class)
            if p == NULL and size_class == SMALL:
                size_class = MEDIUM
                p = self._carve(MEDIUM)
            capacity = size_of(size_class)
            if p != NULL:
                SIPCORE_UNPOISON(p, capacity)
                if SIPCORE_IS_CHECKED:
                    mark(p, capacity, True)
        elif n <= POOL_LARGEST and self.held + n <= self.limit:
            p = <uint8_t*>malloc(n)
            if p != NULL:
                self.held += n
        if p == NULL:
            memset(out, 0, sizeof(Buffer))
            self.refused += 1
            return -1
        self.out[size_class] += 1
        out.p = p
        out.n = n
        out.capacity = capacity
        return 0

    cdef int keep(self, const uint8_t* p, uint32_t n, Buffer* out) noexcept nogil:
        """Set out to a copy of the n bytes at p; returns as `take`."""
        if self.take(n, out) != 0:
            return -1
        memcpy(out.p, p, n)
        return 0

    cdef void give(self, Buffer* buffer) noexcept nogil:
        """Take buffer back and empty it; nothing happens where it is empty already."""
        cdef int size_class
        cdef FreeBuffer* freed = <FreeBuffer*>buffer.p
        if freed == NULL:
            return
        size_class = class_of(buffer.capacity)
        SIPCORE_CHECK(self.out[size_class] > 0)
        self.out[size_class] -= 1
        if size_class == LARGE:
            self.held -= buffer.capacity
            free(freed)
        else:
            if SIPCORE_IS_CHECKED:
                mark(buffer.p, buffer.capacity, False)
            SIPCORE_POISON(freed, buffer.capacity)
            SIPCORE_UNPOISON(freed, sizeof(FreeBuffer))
            freed.next = self.free_list[size_class]
            SIPCORE_HIDE(freed, sizeof(FreeBuffer))
            self.free_list[size_class] = freed
        memset(buffer, 0, sizeof(Buffer))

    cdef uint8_t* _carve(self, int size_class) noexcept nogil:
        """A buffer that is not out; NULL where there is none and no room for another chunk."""
        cdef FreeBuffer* freed = self.free_list[size_class]
        cdef Chunk* chunk
        cdef uint8_t* p
        cdef uint32_t size = size_of(size_class)
        if freed != NULL:
            SIPCORE_UNPOISON(freed, sizeof(FreeBuffer))
            self.free_list[size_class] = freed.next
            return <uint8_t*>freed
        if self.fresh[size_class] == self.fresh_end[size_class]:
            if self.held + CHUNK > self.limit:
                return NULL
            chunk = <Chunk*>aligned_alloc(CHUNK, CHUNK)
            if chunk == NULL:
                return NULL
            self.held += CHUNK
            pages_fetch(chunk, PAGES_AHEAD)
            memset(chunk, 0, sizeof(Chunk))
            chunk.next = self.chunks
            self.chunks = chunk
            self.fresh[size_class] = <uint8_t*>chunk + size
            self.fresh_end[size_class] = <uint8_t*>chunk + CHUNK
            SIPCORE_POISON(<uint8_t*>chunk + size, CHUNK - size)
        p = self.fresh[size_class]
        self.fresh[size_class] += size
        if <uintptr_t>p % PAGES_AHEAD == 0:
            pages_fetch(p, PAGES_AHEAD)
        return p

    @property
    def live(self) -> tuple[int, int, int]:
        """Buffers that are out: small, medium, large."""
        return self.out[SMALL], self.out[MEDIUM], self.out[LARGE]
