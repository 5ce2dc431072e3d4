"""Ports that no session has, and their being handed to one and back; the relay thread's."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.media.ports cimport PortUse
from sipcore.media.session cimport Flow, Side
from sipcore.media.thread cimport Thread


cdef void port_taken(Thread* thread, Side* side, int kind, uint32_t session, uint8_t number) noexcept nogil
cdef void port_left(Thread* thread, Side* side, int kind, bint kept) noexcept nogil
cdef void port_late(Thread* thread, uint64_t event) noexcept nogil
cdef void port_closed(Thread* thread, uint16_t pool, uint16_t port, int fd) noexcept nogil


cdef inline uint64_t parking_event(int fd, uint16_t pool, uint16_t port) noexcept nogil:
    """What epoll says of a socket: it stays the same for as long as that is open."""
    return <uint64_t>fd << 32 | <uint64_t>pool << 16 | port


cdef inline PortUse* port_use(Thread* thread, uint64_t event) noexcept nogil:
    """What the thread notes of the port of such an event."""
    return &thread.own[event >> 16 & 0xFFFF].uses[<uint16_t>event - thread.own[event >> 16 & 0xFFFF].first]


cdef inline uint32_t holder_of(uint32_t session, uint8_t side, int kind) noexcept nogil:
    """Never 0. kind: 1 for the port of RTCP."""
    return (session << 3 | side << 1 | <uint32_t>kind) + 1


cdef inline PortUse* flow_use(Thread* thread, const Side* side, int kind) noexcept nogil:
    return &thread.own[side.pool].uses[side.flows[kind].port - thread.own[side.pool].first]
