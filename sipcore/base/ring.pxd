"""A bounded queue of items of one size between one producer and one consumer thread, and relaxed counters."""
from libc.stdint cimport uint32_t, uint64_t

cdef extern from "atomics.h" nogil:
    uint64_t exchange(uint64_t* p, uint64_t value)
    uint64_t relaxed_load(const uint64_t* p)
    void relaxed_store(uint64_t* p, uint64_t value)
    void relaxed_add(uint64_t* p, uint64_t n)               # by the one writer

cdef extern from "ring.h" nogil:
    ctypedef struct Ring:
        uint32_t mask                                       # capacity - 1
        uint32_t size                                       # bytes of an item

    Ring* ring_new(uint32_t capacity, uint32_t size)        # NULL without memory
    void ring_free(Ring* ring)
    # The producer's:
    bint ring_has_room(Ring* ring, uint32_t n)
    void* ring_reserve(Ring* ring)                          # place of the next item, NULL where full
    void ring_publish(Ring* ring)
    bint ring_must_wake(Ring* ring)                         # after publishing
    # The consumer's:
    void* ring_front(Ring* ring)                            # oldest item, NULL where none
    void ring_release(Ring* ring)
    void ring_listen(Ring* ring)                            # woken, before draining
