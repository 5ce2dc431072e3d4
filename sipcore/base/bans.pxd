"""Addresses that are banned for a while, in a table of fixed size."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from .address cimport Address
from .siphash cimport SipKey

cdef enum:
    BAN_WAYS = 8            # entries a set

cdef struct BanEntry:
    Address address         # port, transport and scope zero; IPv6: its /64
    uint64_t since          # ms: of the first strike that counts
    uint64_t until          # ms: end of the ban, 0: none
    uint64_t seen           # ms: of the last strike; who was quiet for longest makes room
    uint32_t strikes
    uint32_t bans           # so far: each one is twice as long as the one before


cdef class Bans:
    cdef BanEntry* entry
    cdef uint32_t mask
    cdef SipKey key
    cdef readonly uint32_t entries
    cdef readonly uint32_t banned       # entries with a ban, over or not: 0 makes a look at an address cost nothing
    cdef readonly uint64_t earned       # bans so far
    cdef readonly uint64_t evicted      # addresses forgotten while they had strikes
    cdef public uint32_t strikes        # within window_ms earn a ban; 0: nothing does
    cdef public uint32_t window_ms
    cdef public uint32_t ban_ms         # the first one

    cdef BanEntry* _find(self, const Address* address, bint make, uint64_t now) noexcept nogil
    cdef bint strike(self, const Address* address, uint64_t now) noexcept nogil
    cdef uint64_t until(self, const Address* address) noexcept nogil
    cdef bint holds(self, const Address* address, uint64_t now) noexcept nogil
