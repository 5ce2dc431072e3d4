"""The reading side of connections, up to the layer."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.net.connection cimport Connection
from sipcore.net.outlet cimport Outlet
from sipcore.net.slots cimport Slots
from sipcore.stack.proxy cimport Proxy


cdef class Inlet(Outlet):
    cdef Proxy proxy                    # the layer, where it has an access list
    cdef uint32_t message_limit
    cdef uint8_t* room                  # a begun message and what was read behind it
    cdef Slots again                    # to be read first in the next wake-up
    cdef readonly uint32_t untold       # how many of them have bytes that no event tells of
    cdef uint32_t bytes                 # that may be read in this wake-up
    cdef uint32_t ws_bytes              # those of WebSocket connections
    cdef uint32_t reads                 # of one connection in this wake-up

    cdef void _begin_turn(self, uint32_t events, uint64_t now) noexcept
    cdef void _read(self, uint32_t slot, uint64_t now) noexcept
    cdef void _read_later(self, uint32_t slot) noexcept nogil
    cdef void _on_last_word(self, uint32_t slot, uint64_t now) noexcept
    cdef void _take(self, uint32_t slot, const uint8_t* p, uint32_t n, uint64_t now) noexcept
    cdef void _take_frames(self, uint32_t slot, const uint8_t* p, uint32_t n, uint64_t now) noexcept
    cdef void _on_pong(self, uint32_t slot) noexcept nogil
    cdef void _hand_on(self, Connection* c, const uint8_t* p, uint32_t n, uint64_t now) noexcept
    cdef void _claim(self, uint32_t slot, uint16_t port) noexcept
    cdef void _offend(self, const Connection* c) noexcept
