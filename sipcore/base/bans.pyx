"""Bans by address in a table of fixed size: strikes within a window earn one, the next one of the same address is twice
as long (a day at most), and an address that was quiet for longest makes room.

Whoever calls `strike` has to know that the address is who it says it is: over UDP anybody writes any address into a
packet, and a ban that such a packet earns would be a weapon against the address's owner. An address is an IPv4 address
or an IPv6 /64 (the smallest network that one owner has). 56 bytes an entry: 4,096 of them take 224 KiB at any time.
"""
import os

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset
from .address cimport Address, address_from, address_host
from .siphash cimport SipState, key_from, siphash_final, siphash_init, siphash_update_word

cdef enum:
    LONGEST_MS = 86_400_000


cdef inline void _network(const Address* a, Address* out) noexcept nogil:
    memset(out, 0, sizeof(Address))
    out.family = a.family
    memcpy(out.ip, a.ip, 4 if a.family == 4 else 8)


cdef class Bans:
    """entries: a power of two, at least 8. strikes within window_ms earn a ban of ban_ms. key (16 bytes) is random
    where it is not given."""

    def __cinit__(self, uint32_t entries=4096, *, uint32_t strikes=10, uint32_t window_ms=60_000,
                  uint32_t ban_ms=600_000, key=None):
        if not BAN_WAYS <= entries <= 1 << 24 or entries & (entries - 1):
            raise ValueError(f"entries: expected a power of two from {BAN_WAYS} to {1 << 24}, not {entries}")
        key_from(os.urandom(16) if key is None else key, &self.key)
        self.entry = <BanEntry*>calloc(entries, sizeof(BanEntry))
        if self.entry == NULL:
            raise MemoryError()
        self.entries = entries
        self.mask = entries // BAN_WAYS - 1
        self.strikes = strikes
        self.window_ms = window_ms
        self.ban_ms = ban_ms

    def __dealloc__(self):
        free(self.entry)

    def offend(self, str host not None, uint64_t now):
        """`strike` for an IP literal; ValueError where it is none."""
        cdef Address a
        address_from(host, 0, &a)
        return self.strike(&a, now)

    def is_banned(self, str host not None, uint64_t now):
        """Whether an IP literal is banned at now (ms)."""
        cdef Address a
        address_from(host, 0, &a)
        return self.holds(&a, now)

    def ban(self, str host not None, uint64_t until, uint64_t now):
        """Ban an IP literal until then (ms)."""
        cdef Address a
        cdef BanEntry* e
        address_from(host, 0, &a)
        e = self._find(&a, True, now)
        self.banned += e.until == 0
        e.until = until

    def lift(self, str host not None):
        """Forget an IP literal's ban and strikes; whether it was banned."""
        cdef Address a
        cdef BanEntry* e
        address_from(host, 0, &a)
        e = self._find(&a, False, 0)
        if e == NULL:
            return False
        was = e.until > 0
        self.banned -= was
        memset(e, 0, sizeof(BanEntry))
        return was

    def all(self, uint64_t now):
        """(host, until, how many so far) of the bans in effect at now; IPv6: the first address of the /64."""
        cdef uint32_t i
        return [(address_host(&self.entry[i].address), self.entry[i].until, self.entry[i].bans)
                for i in range(self.entries) if self.entry[i].until > now]

    cdef BanEntry* _find(self, const Address* address, bint make, uint64_t now) noexcept nogil:
        """The entry of an address; NULL where it has none and none is made."""
        cdef SipState hash
        cdef uint64_t word = 0
        cdef Address network
        cdef BanEntry* set
        cdef BanEntry* oldest
        cdef bint holds, oldest_holds
        cdef int i
        _network(address, &network)
        memcpy(&word, network.ip, 8)
        siphash_init(&hash, &self.key)
        siphash_update_word(&hash, network.family)
        siphash_update_word(&hash, word)
        set = &self.entry[<size_t>(<uint32_t>siphash_final(&hash) & self.mask) * BAN_WAYS]
        oldest = set
        oldest_holds = set.until > now
        for i in range(BAN_WAYS):
            if memcmp(&set[i].address, &network, sizeof(Address)) == 0 and network.family:
                return &set[i]
            # Who is banned stays longer than who is not.
            holds = set[i].until > now
            if holds < oldest_holds or (holds == oldest_holds and set[i].seen < oldest.seen):
                oldest = &set[i]
                oldest_holds = holds
        if not make:
            return NULL
        self.evicted += oldest.strikes > 0
        self.banned -= oldest.until > 0
        memset(oldest, 0, sizeof(BanEntry))
        oldest.address = network
        oldest.seen = now
        return oldest

    cdef bint strike(self, const Address* address, uint64_t now) noexcept nogil:
        """Something that a decent peer does not do, by an address that is proven; whether it is banned now."""
        cdef BanEntry* e
        cdef uint64_t length
        if self.strikes == 0:
            return False
        e = self._find(address, True, now)
        if e.until > now:
            e.seen = now
            return True
        if e.strikes == 0 or now - e.since >= self.window_ms:
            e.since = now
            e.strikes = 0
        e.seen = now
        e.strikes += 1
        if e.strikes < self.strikes:
            return False
        e.strikes = 0
        length = <uint64_t>self.ban_ms << min(e.bans, <uint32_t>10)
        e.bans += 1
        self.banned += e.until == 0
        e.until = now + min(length, <uint64_t>LONGEST_MS)
        self.earned += 1
        return True

    cdef uint64_t until(self, const Address* address) noexcept nogil:
        """When the ban of an address ends (ms), 0 where it has none."""
        cdef BanEntry* e = self._find(address, False, 0)
        return e.until if e != NULL else 0

    cdef bint holds(self, const Address* address, uint64_t now) noexcept nogil:
        """Whether an address is banned at now (ms)."""
        cdef BanEntry* e
        if self.banned == 0:
            return False
        e = self._find(address, False, now)
        return e != NULL and e.until > now
