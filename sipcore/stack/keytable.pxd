"""Server transactions by key (RFC 3261 17.2.3), in a table that grows with them.

A bucket is a cache line of eight words, each with a transaction and half of its key, so that another key is told from
it without a look at its head, which would be far away. What finds no room hangs on the last word, in a chain through
the heads. The table grows by a bucket for each two transactions, without a pause (linear hashing: Litwin, 1980): few
transactions stay within few lines, however many there is room for. It never shrinks.
"""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.base.pages cimport pages_give, pages_take_huge
from sipcore.stack.tx cimport NO_TX, TX_HASHED, Tx

cdef extern from * nogil:
    void __builtin_prefetch(const void* address)

cdef enum:
    KEYS = 8                # words of a bucket
    KEYS_USED = 2           # transactions a bucket above which the table grows: not yet divided ones have up to 4 then
    KEYS_FULL = 3           # where it has grown as far as it may, and there are as many transactions as there may be
    KEYS_LAST = KEYS - 1
    NO_NEXT = 0             # words and chains hold slot + 1, so that zeroed memory is empty

# The low half of a word; the high half is that of the key.
cdef enum KeyWord:
    KEY_SLOT = 0x7FFFFFFF           # slot + 1
    KEY_CHAIN = 0x80000000          # last word of a bucket: others follow through hash_next

cdef struct KeyTable:
    uint64_t (*buckets)[KEYS]
    uint64_t most           # buckets
    uint64_t count          # of them in use
    uint64_t round          # in use when the present doubling began, a power of two: round <= count < 2 * round
    uint32_t entries


cdef inline int keytable_make(KeyTable* t, uint32_t capacity) noexcept nogil:
    """For up to capacity transactions; -1 where there is no memory."""
    t.count = t.round = 1
    t.most = capacity // KEYS_FULL + 1
    t.entries = 0
    t.buckets = <uint64_t (*)[KEYS]>pages_take_huge(t.most * sizeof(t.buckets[0]))
    return 0 if t.buckets != NULL else -1


cdef inline void keytable_free(KeyTable* t) noexcept nogil:
    pages_give(t.buckets, t.most * sizeof(t.buckets[0]))


cdef inline uint64_t* keytable_at(const KeyTable* t, uint64_t key) noexcept nogil:
    """The bucket of a key. Those below `count - round` were divided in the present doubling."""
    cdef uint64_t i = key >> 32 & (2 * t.round - 1)
    return t.buckets[i if i < t.count else i - t.round]


cdef inline void keytable_expect(const KeyTable* t, uint64_t key) noexcept nogil:
    """Begin to fetch what `keytable_find` will look at."""
    __builtin_prefetch(keytable_at(t, key))


cdef inline uint32_t keytable_find(const KeyTable* t, const Tx* slab, uint64_t key) noexcept nogil:
    """The transaction with that key, or NO_TX."""
    cdef const uint64_t* bucket = keytable_at(t, key)
    cdef uint32_t i, at
    for i in range(KEYS):
        at = <uint32_t>(bucket[i] & KEY_SLOT)
        if (bucket[i] ^ key) >> 32 == 0 and at != NO_NEXT and slab[at - 1].key == key:
            return at - 1
    if bucket[KEYS_LAST] & KEY_CHAIN:
        at = slab[(bucket[KEYS_LAST] & KEY_SLOT) - 1].hash_next
        while at != NO_NEXT:
            if slab[at - 1].key == key:
                return at - 1
            at = slab[at - 1].hash_next
    return NO_TX


cdef inline void keytable_put(uint64_t* bucket, Tx* slab, uint32_t slot) noexcept nogil:
    """Enter a transaction into a bucket."""
    cdef uint64_t word = slab[slot].key >> 32 << 32 | slot + 1
    cdef uint32_t i
    slab[slot].hash_next = NO_NEXT
    for i in range(KEYS):
        if bucket[i] == 0:
            bucket[i] = word
            return
    slab[slot].hash_next = <uint32_t>(bucket[KEYS_LAST] & KEY_SLOT)
    bucket[KEYS_LAST] = word | KEY_CHAIN


cdef inline void keytable_grow(KeyTable* t, Tx* slab) noexcept nogil:
    """Divide one bucket in two."""
    cdef uint64_t* low = t.buckets[t.count - t.round]
    cdef uint64_t* high = t.buckets[t.count]
    cdef uint32_t i, at = NO_NEXT, after
    if low[KEYS_LAST] & KEY_CHAIN:
        at = <uint32_t>(low[KEYS_LAST] & KEY_SLOT)
        low[KEYS_LAST] = 0
    for i in range(KEYS):
        if low[i] >> 32 & t.round:
            high[i] = low[i]
            low[i] = 0
    while at != NO_NEXT:
        after = slab[at - 1].hash_next
        keytable_put(high if slab[at - 1].key >> 32 & t.round else low, slab, at - 1)
        at = after
    t.count += 1
    if t.count == 2 * t.round:
        t.round = t.count


cdef inline void keytable_enter(KeyTable* t, Tx* slab, uint32_t slot) noexcept nogil:
    """Enter a transaction, whose key is set."""
    keytable_put(keytable_at(t, slab[slot].key), slab, slot)
    slab[slot].flags |= TX_HASHED
    t.entries += 1
    if t.entries > KEYS_USED * t.count and t.count < t.most:
        keytable_grow(t, slab)


cdef inline void keytable_leave(KeyTable* t, Tx* slab, uint32_t slot) noexcept nogil:
    """Take a transaction out that was entered."""
    cdef uint64_t* bucket = keytable_at(t, slab[slot].key)
    cdef uint64_t* last = &bucket[KEYS_LAST]
    cdef uint32_t i, at, next_one = slab[slot].hash_next
    t.entries -= 1
    for i in range(KEYS_LAST):
        if bucket[i] & KEY_SLOT == slot + 1:
            bucket[i] = 0
            return
    at = <uint32_t>(last[0] & KEY_SLOT)
    if at != slot + 1:
        while slab[at - 1].hash_next != slot + 1:
            at = slab[at - 1].hash_next
        slab[at - 1].hash_next = next_one
    elif next_one == NO_NEXT:
        last[0] = 0
    else:
        last[0] = slab[next_one - 1].key >> 32 << 32 | KEY_CHAIN | next_one
