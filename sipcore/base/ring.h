/* A bounded queue of items of one size between exactly one producer and exactly one consumer thread.
 *
 * Nobody waits and nobody locks: `head` is written by the producer alone and `tail` by the consumer alone, each on
 * a cache line of its own beside a copy of the other one's, which is looked up again only when it says full or
 * empty. Items are written and read in place. The release of an index hands over what was written before it, and
 * whatever that points to; the acquire on the other side takes it.
 *
 * `deaf` spares wake-ups: the consumer clears it and then drains, the producer publishes and then sets it, and wakes
 * the consumer only where it was clear. Both are exchanges of one word, so one comes first: either the producer
 * sees the word clear and wakes, or the consumer has taken over what was published before. */
#ifndef SIPCORE_RING_H
#define SIPCORE_RING_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct {
    uint8_t *items;
    uint32_t mask;                  /* capacity - 1 */
    uint32_t size;                  /* bytes of an item */
    _Alignas(64) atomic_uint head;  /* items ever published */
    uint32_t tail_seen;             /* the producer's */
    _Alignas(64) atomic_uint tail;  /* items ever released */
    uint32_t head_seen;             /* the consumer's */
    _Alignas(64) atomic_uint deaf;   /* a wake-up is on its way */
} Ring;

static inline void ring_free(Ring *r) {
    if (r) free(r->items);
    free(r);
}

/* capacity: rounded up to a power of two; NULL without memory. */
static inline Ring *ring_new(uint32_t capacity, uint32_t size) {
    Ring *r = (Ring *)aligned_alloc(64, sizeof(Ring));
    uint32_t n = 1;
    if (!r) return NULL;
    while (n < capacity && n < (1u << 30)) n <<= 1;
    r->items = (uint8_t *)calloc(n, size);
    r->mask = n - 1;
    r->size = size;
    r->tail_seen = r->head_seen = 0;
    atomic_init(&r->head, 0);
    atomic_init(&r->tail, 0);
    atomic_init(&r->deaf, 0);
    if (!r->items) {
        ring_free(r);
        return NULL;
    }
    return r;
}

/* Producer: room for at least n more items, whatever the consumer does meanwhile. */
static inline int ring_has_room(Ring *r, uint32_t n) {
    uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (r->mask + 1 - (head - r->tail_seen) >= n) return 1;
    r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
    return r->mask + 1 - (head - r->tail_seen) >= n;
}

/* Producer: the place of the next item, NULL where the ring is full. It counts when it is published. */
static inline void *ring_reserve(Ring *r) {
    if (!ring_has_room(r, 1)) return NULL;
    return r->items + (size_t)(atomic_load_explicit(&r->head, memory_order_relaxed) & r->mask) * r->size;
}

static inline void ring_publish(Ring *r) {
    uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
}

/* Producer, after publishing: must the consumer be woken? */
static inline int ring_must_wake(Ring *r) {
    return !atomic_exchange_explicit(&r->deaf, 1, memory_order_acq_rel);
}

/* Consumer: the oldest item, NULL where there is none. It stays until it is released. */
static inline void *ring_front(Ring *r) {
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    if (tail == r->head_seen) {
        r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
        if (tail == r->head_seen) return NULL;
    }
    return r->items + (size_t)(tail & r->mask) * r->size;
}

static inline void ring_release(Ring *r) {
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
}

/* Consumer, woken and about to drain: from here on it wants to be woken again. */
static inline void ring_listen(Ring *r) {
    atomic_exchange_explicit(&r->deaf, 0, memory_order_acq_rel);
}
#endif
