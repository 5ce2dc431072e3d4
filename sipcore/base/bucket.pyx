"""Rate limits by source in a table of fixed size.

A source is an IPv4 address or an IPv6 /64 (the smallest network that one owner has). Its keyed hash chooses a set
of eight entries and the tag within; the entry of a set that was used least recently makes room. 16 bytes an
entry: 65,536 sources take 1 MiB, whatever happens.

What an attacker can do to it:
- Who holds (or spoofs) N addresses gets N times the rate: a limit for all unlisted sources together (one Bucket)
  stands beside this one.
- Who uses many more addresses than there are entries pushes sources out. A source that was pushed out begins with
  a full burst again: forgetting makes the limit softer, never harder, and nobody is refused because of it.
  `evicted` counts it.
- Who sends with a peer's address spends that peer's tokens, at most all of them, and only while the flood lasts:
  nothing is banned, and tokens come back at the rate from the first quiet millisecond on. Peers on the access
  list should therefore not share a limiter, nor a rate, with unlisted sources.
- Nobody without the key can choose addresses that meet in one set; two sources that share set and tag (one in
  2**32 for each pair within a set) share a bucket.
"""
import os

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from .address cimport Address, address_from
from .siphash cimport SipState, key_from, siphash_final, siphash_init, siphash_update_word


@cython.final
cdef class SourceLimiter:
    """At most burst requests at once and rate a second from each source; burst is at most 4,294,967.

    entries (a power of two, at least 8) sources are remembered; key (16 bytes) is random where it is not given.
    """

    def __cinit__(self, rate: int, burst: int, entries: int = 65536, key: bytes | None = None):
        if not 0 <= rate < 1 << 32:
            raise ValueError(f"rate: expected 0 to {(1 << 32) - 1} a second, not {rate}")
        if not 0 <= burst <= 4294967:
            raise ValueError(f"burst: expected 0 to 4294967, not {burst}")
        if not BUCKET_WAYS <= entries <= 1 << 30 or entries & (entries - 1):
            raise ValueError(f"entries: expected a power of two from {BUCKET_WAYS} to {1 << 30}, not {entries}")
        key_from(os.urandom(16) if key is None else key, &self.key)
        self.entry = <SourceEntry*>calloc(entries, sizeof(SourceEntry))
        if self.entry == NULL:
            raise MemoryError()
        self.rate = rate
        self.burst = burst
        self.entries = entries
        self.mask = entries // BUCKET_WAYS - 1

    def __dealloc__(self):
        free(self.entry)

    cdef SourceEntry* _find(self, const Address* source, SourceEntry** set, uint32_t* tag) noexcept nogil:
        """The entry of a source, NULL where it is not remembered; the set that it belongs in, and its tag."""
        cdef SipState hash
        cdef uint64_t word = 0
        cdef int i
        memcpy(&word, source.ip, 4 if source.family == 4 else 8)
        siphash_init(&hash, &self.key)
        siphash_update_word(&hash, source.family)
        siphash_update_word(&hash, word)
        word = siphash_final(&hash)
        tag[0] = <uint32_t>(word >> 32)
        set[0] = &self.entry[<size_t>(<uint32_t>word & self.mask) * BUCKET_WAYS]
        for i in range(BUCKET_WAYS):
            if set[0][i].tag == tag[0]:
                return &set[0][i]
        return NULL

    cdef bint take(self, const Address* source, uint64_t now) noexcept nogil:
        """Take one of source's tokens at now (ms); whether there was one. Port and scope are ignored."""
        cdef SourceEntry* set = NULL
        cdef uint32_t tag = 0
        cdef SourceEntry* found = self._find(source, &set, &tag)
        cdef uint64_t spent
        cdef int i
        if found == NULL:
            found = set
            for i in range(1, BUCKET_WAYS):
                if set[i].at < found.at:
                    found = &set[i]
            if bucket_refill(found.at, found.spent, now, self.rate):
                self.evicted += 1
            found.tag = tag
            found.at = 0
            found.spent = 0
        spent = bucket_refill(found.at, found.spent, now, self.rate)
        if now > found.at:
            found.at = now
        if spent + 1000 > <uint64_t>self.burst * 1000:
            found.spent = <uint32_t>spent
            self.refused += 1
            return False
        found.spent = <uint32_t>(spent + 1000)
        return True

    cdef void give_back(self, const Address* source) noexcept nogil:
        """The token that the last `take` took, where the source is remembered still."""
        cdef SourceEntry* set = NULL
        cdef uint32_t tag = 0
        cdef SourceEntry* found = self._find(source, &set, &tag)
        if found != NULL:
            found.spent -= min(found.spent, <uint32_t>1000)

    def allow(self, host: str, now: int) -> bool:
        """`take` for an IP literal; ValueError where it is none."""
        cdef Address a
        address_from(host, 0, &a)
        return self.take(&a, now)


cdef class RateBucket:
    """One Bucket as a Python object, with its rate (tokens a second) and burst."""
    cdef Bucket bucket
    cdef readonly uint32_t rate
    cdef readonly uint32_t burst

    def __init__(self, uint32_t rate, uint32_t burst):
        self.rate = rate
        self.burst = burst

    def allow(self, now: int) -> bool:
        """Take one token at now (ms); whether there was one."""
        return bucket_take(&self.bucket, now, self.rate, self.burst)
