"""The table of connections: a fixed slab, found by flow number or by address."""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.siphash cimport SipKey
from sipcore.net.connection cimport Connection

cdef enum:
    NO_CONNECTION = 0xFFFFFFFF
    FLOW_SLOT_BITS = 20         # of a flow number; the rest is the generation of the slot
    MOST_CONNECTIONS = 1 << FLOW_SLOT_BITS


cdef inline bytes source_key(const Address* address):
    """Whose connections are counted together: an address, of IPv6 its first half."""
    return (<const char*>address.ip)[:4 if address.family == 4 else 8]


cdef inline bytes target_key(uint32_t listener, const Address* to):
    """A target and the listener that it is reached from."""
    return (<const char*>to)[:sizeof(Address)] + bytes((listener,))


cdef class Connections:
    cdef Connection* slab
    cdef uint32_t* buckets
    cdef uint32_t mask
    cdef SipKey key
    cdef readonly uint32_t capacity
    cdef readonly uint32_t live
    cdef uint32_t fresh             # slots from here on were never used
    cdef uint32_t free_first        # those given back, the longest ago first
    cdef uint32_t free_last
    cdef uint32_t cursor            # where the search for an idle one goes on

    cdef uint32_t open(self) noexcept nogil
    cdef void release(self, uint32_t slot) noexcept nogil
    cdef uint32_t flow_of(self, uint32_t slot) noexcept nogil
    cdef uint32_t find(self, uint32_t listener, const Address* to) noexcept nogil
    cdef void index(self, uint32_t slot) noexcept nogil
    cdef void forget(self, uint32_t slot) noexcept nogil
    cdef uint32_t idle_longest(self) noexcept nogil
    cdef Address* _end_of(self, Connection* c) noexcept nogil
    cdef uint32_t _bucket(self, uint32_t listener, const Address* to) noexcept nogil
