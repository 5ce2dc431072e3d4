"""Connections in a slab: 248 bytes each, from the kernel's zero pages, so that one that was never used costs nothing.

One that came in is found by its flow number, which holds its slot and the slot's generation, and which nobody but us
makes; over TCP, where no identity is proven to anybody, by its address too, as a request to a Contact needs it. One
that we opened is found by address, transport, listener and expected name. So is a TLS connection that came in and has
an alias (RFC 5923), once its certificate has proven that name; any other one is never taken for a target: nobody has
proven who would be reached.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from sipcore.base.address cimport SCOPE_FLOW, TRANSPORT_TLS, TRANSPORT_WSS, Address, address_same_host
from sipcore.base.siphash cimport key_from, siphash13
from sipcore.net.connection cimport ALIASED, CAME_IN, LISTED, STATE_ENDED, STATE_FREE, Connection, drop_buffers

import os

cdef enum:
    LOOKED_AT = 64          # connections among which the one to give up is chosen


cdef class Connections:
    """At most `capacity` connections."""

    def __cinit__(self, uint32_t capacity):
        cdef uint32_t size = 16
        if not 0 < capacity <= MOST_CONNECTIONS:
            raise ValueError(f"expected 1 to {MOST_CONNECTIONS} connections, not {capacity}")
        while size < capacity:
            size *= 2
        self.capacity = capacity
        self.mask = size - 1
        self.slab = <Connection*>calloc(capacity, sizeof(Connection))
        self.buckets = <uint32_t*>calloc(size, sizeof(uint32_t))
        if self.slab == NULL or self.buckets == NULL:
            raise MemoryError
        memset(self.buckets, 0xFF, size * sizeof(uint32_t))
        self.free_first = self.free_last = NO_CONNECTION
        key_from(os.urandom(16), &self.key)

    def __dealloc__(self):
        cdef uint32_t slot
        if self.slab != NULL:
            for slot in range(self.fresh):
                drop_buffers(&self.slab[slot])
        free(self.slab)
        free(self.buckets)

    cdef uint32_t open(self) noexcept nogil:
        """A cleared connection, NO_CONNECTION where all are taken."""
        cdef uint32_t slot, generation
        cdef Connection* c
        if self.live == self.capacity:
            return NO_CONNECTION
        if self.fresh < self.capacity:
            slot = self.fresh
            self.fresh += 1
        else:
            # The one given back longest ago, so that a flow number comes again as late as can be.
            slot = self.free_first
            self.free_first = self.slab[slot].next
            if self.free_first == NO_CONNECTION:
                self.free_last = NO_CONNECTION
        c = &self.slab[slot]
        generation = c.generation + 1
        memset(c, 0, sizeof(Connection))
        c.generation = generation
        c.next = NO_CONNECTION
        c.group = -1
        self.live += 1
        return slot

    cdef void release(self, uint32_t slot) noexcept nogil:
        cdef Connection* c = &self.slab[slot]
        drop_buffers(c)
        c.state = STATE_FREE
        c.next = NO_CONNECTION
        if self.free_last == NO_CONNECTION:
            self.free_first = slot
        else:
            self.slab[self.free_last].next = slot
        self.free_last = slot
        self.live -= 1

    cdef uint32_t flow_of(self, uint32_t slot) noexcept nogil:
        """The flow number of a connection, as it stands in the scope of its address."""
        return SCOPE_FLOW | ((self.slab[slot].generation << FLOW_SLOT_BITS) & ~SCOPE_FLOW) | slot

    cdef uint32_t _bucket(self, uint32_t listener, const Address* to) noexcept nogil:
        cdef uint8_t text[24]
        memset(text, 0, sizeof(text))
        memcpy(text, to.ip, 16)
        memcpy(text + 16, &to.port, 2)
        text[18] = to.transport
        text[19] = <uint8_t>listener
        if not to.scope & SCOPE_FLOW:
            memcpy(text + 20, &to.scope, 4)
        return <uint32_t>siphash13(&self.key, text, sizeof(text)) & self.mask

    cdef Address* _end_of(self, Connection* c) noexcept nogil:
        """The address that a connection is found by."""
        return &c.alias if c.flags & ALIASED else &c.peer

    cdef uint32_t find(self, uint32_t listener, const Address* to) noexcept nogil:
        """The connection that leads there, NO_CONNECTION where there is none."""
        cdef uint32_t slot
        cdef Connection* c
        cdef Address* end
        if to.scope & SCOPE_FLOW:
            slot = to.scope & (MOST_CONNECTIONS - 1)
            if slot >= self.fresh or self.slab[slot].state == STATE_FREE or self.slab[slot].state == STATE_ENDED:
                return NO_CONNECTION
            c = &self.slab[slot]
            if to.scope != c.peer.scope or to.port != c.peer.port or not address_same_host(to, &c.peer):
                return NO_CONNECTION
            return slot
        slot = self.buckets[self._bucket(listener, to)]
        while slot != NO_CONNECTION:
            c = &self.slab[slot]
            end = self._end_of(c)
            if (to.port == end.port and to.transport == c.transport and listener == c.listener
                    and (to.scope == end.scope or (c.flags & (CAME_IN | ALIASED) == CAME_IN and to.scope == 0))
                    and address_same_host(to, end)):
                return slot
            slot = c.next
        return NO_CONNECTION

    cdef void index(self, uint32_t slot) noexcept nogil:
        """Let a connection be found by its address, where that is safe."""
        cdef Connection* c = &self.slab[slot]
        cdef uint32_t* bucket
        if c.flags & (CAME_IN | ALIASED) == CAME_IN and (c.transport == TRANSPORT_TLS or c.transport == TRANSPORT_WSS):
            return
        bucket = &self.buckets[self._bucket(c.listener, self._end_of(c))]
        c.next = bucket[0]
        bucket[0] = slot

    cdef void forget(self, uint32_t slot) noexcept nogil:
        """Let it not be found by its address any more."""
        cdef Connection* c = &self.slab[slot]
        cdef uint32_t* at = &self.buckets[self._bucket(c.listener, self._end_of(c))]
        while at[0] != NO_CONNECTION:
            if at[0] == slot:
                at[0] = self.slab[slot].next
                break
            at = &self.slab[at[0]].next

    cdef uint32_t idle_longest(self) noexcept nogil:
        """The one to give up for a new one: of those that came in, a stranger's rather than a listed peer's, and then
        the one that was silent for longest. It is looked for among a bounded number, from where the last search ended.
        """
        cdef uint32_t best = NO_CONNECTION, slot
        cdef Connection* c
        for _ in range(min(<uint32_t>LOOKED_AT, self.fresh)):
            self.cursor = self.cursor + 1 if self.cursor + 1 < self.fresh else 0
            slot = self.cursor
            c = &self.slab[slot]
            if not c.flags & CAME_IN or c.state == STATE_FREE or c.state == STATE_ENDED or c.out_at < c.out_n:
                continue
            if best == NO_CONNECTION or (c.flags & LISTED) < (self.slab[best].flags & LISTED) or (
                    (c.flags & LISTED) == (self.slab[best].flags & LISTED) and c.heard < self.slab[best].heard):
                best = slot
        return best
