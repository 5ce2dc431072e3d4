"""Requests that begin something, waiting while what belongs to calls in progress goes first."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.address cimport Address

cdef extern from "bytering.h" nogil:
    ctypedef struct ByteRing:
        pass

    int bytering_init(ByteRing* ring, uint64_t size)
    void bytering_free(ByteRing* ring)
    uint8_t* bytering_reserve(ByteRing* ring, uint32_t n)
    void bytering_publish(ByteRing* ring, uint32_t n)
    const uint8_t* bytering_front(ByteRing* ring, uint32_t* n)
    void bytering_release(ByteRing* ring, uint32_t n)

cdef enum:
    BACKLOG_BYTES = 4 << 20

cdef struct Waiting:        # what stands in front of each datagram; one byte that may be read stands behind it
    Address source
    uint64_t since          # ms, when it came
    uint32_t n              # bytes of the datagram


cdef bint begins_something(const uint8_t* data, uint32_t n) noexcept nogil


cdef class Backlog:
    cdef ByteRing ring
    cdef bint made                      # whether the ring has its memory: the first flood brings it
    cdef readonly uint32_t count        # datagrams that wait
    cdef readonly uint64_t deferred     # that have waited
    cdef readonly uint64_t dropped      # that found no room

    cdef bint put(self, const Address* source, const uint8_t* data, uint32_t n, uint64_t since) noexcept nogil
    cdef const Waiting* front(self) noexcept nogil
    cdef void release(self) noexcept nogil
