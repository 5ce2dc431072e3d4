"""The stream transports of an Endpoint: connections of TCP, TLS and WebSocket, in and out."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.net.openings cimport Openings

cdef enum:
    STREAM_EVENTS = 64          # of one wake-up


cdef class Streams(Openings):
    cdef uint32_t handshakes            # that may go a step in this wake-up
    cdef list sockets                   # listening ones, by listener

    cdef int receive(self, uint64_t now) noexcept
    cdef void send(self, uint32_t listener, const Address* to, const uint8_t* data, uint32_t n) noexcept
    cdef uint64_t next_deadline(self) noexcept nogil
    cdef void expire(self, uint64_t now) noexcept

    cdef void _on_event(self, uint32_t slot, uint32_t events, uint64_t now) noexcept
    cdef void _on_due(self, uint32_t slot, uint64_t now) noexcept
    cdef bint _queue_ping(self, uint32_t slot) noexcept
