"""The datagrams to send: rendered one after the other into one arena, handed to the kernel in one call."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from .address cimport Address

cdef enum:
    OUTBOX_DATAGRAMS = 512
    OUTBOX_ARENA = 1 << 20      # bytes

cdef struct Datagram:
    Address to
    uint32_t offset             # first byte in the arena
    uint32_t n                  # bytes
    uint32_t call               # hash of the call it belongs to, 0 where that is not known
    uint16_t listener           # index of the socket that sends it

# Sends what is queued and calls clear (or discard); it must not reserve.
ctypedef void (*flush_fn)(void* context) noexcept nogil


cdef class Outbox:
    cdef uint8_t* arena
    cdef Datagram queue[OUTBOX_DATAGRAMS]   # those waiting are queue[first], ..., queue[first + count - 1]
    cdef uint32_t first
    cdef readonly uint32_t count
    cdef uint32_t used                      # bytes of the arena
    cdef uint32_t reserved                  # bytes of the last reserve that was not committed
    cdef uint32_t call                      # what commit writes into a Datagram; 0 unless a message is being handled
    cdef flush_fn flush                     # called when there is no room; NULL for none
    cdef void* context                      # its argument
    cdef object callback                    # keeps the argument of on_full alive
    cdef readonly uint64_t dropped          # calls of reserve that found no room

    cdef uint8_t* reserve(self, uint32_t n) noexcept nogil
    cdef void commit(self, const Address* to, uint16_t listener, uint32_t n) noexcept nogil
    cdef void discard(self, uint32_t datagrams) noexcept nogil
    cdef void clear(self) noexcept nogil
    cdef bint _has_room(self, uint32_t n) noexcept nogil
