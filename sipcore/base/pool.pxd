"""Buffers for message bytes that outlive their datagram: 512 and 2048 bytes out of chunks, longer ones by malloc."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    POOL_SMALL = 512
    POOL_MEDIUM = 2048
    POOL_LARGEST = 65535

cdef struct Buffer:
    uint8_t* p              # NULL where there is none: a zeroed Buffer is an empty one
    uint32_t n              # bytes in use
    uint32_t capacity       # bytes that may be used; also tells the size class

cdef struct FreeBuffer:
    FreeBuffer* next

cdef struct Chunk:          # head of a chunk, in the place of its first buffer
    Chunk* next
    uint64_t live[32]       # one bit a buffer that is out; kept in checked builds only


cdef class Pool:
    cdef FreeBuffer* free_list[2]       # by size class, last given first
    cdef uint8_t* fresh[2]              # the part of the newest chunk that was never out
    cdef uint8_t* fresh_end[2]
    cdef Chunk* chunks
    cdef uint64_t out[3]                # buffers that are out, by size class
    cdef readonly uint64_t limit        # bytes that may be held
    cdef readonly uint64_t held         # bytes of chunks and of the long buffers
    cdef readonly uint64_t refused      # calls of take that failed

    cdef int take(self, uint32_t n, Buffer* out) noexcept nogil
    cdef int keep(self, const uint8_t* p, uint32_t n, Buffer* out) noexcept nogil
    cdef void give(self, Buffer* buffer) noexcept nogil
    cdef uint8_t* _carve(self, int size_class) noexcept nogil
