/* A bounded ring of byte records between exactly one producer and exactly one consumer thread.
 *
 * A record is whole in memory: where it does not fit before the end of the ring, a filler takes the rest and the
 * record stands at the beginning. Positions only grow; `head` is written by the producer alone and `tail` by the
 * consumer alone, on cache lines of their own. Nobody waits: a record that finds no room is counted, not taken. */
#ifndef SIPCORE_BYTERING_H
#define SIPCORE_BYTERING_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define BYTERING_FILLER 0xFFFFFFFFu

typedef struct {
    uint8_t *bytes;
    uint64_t size;                      /* a power of two */
    _Alignas(64) atomic_ullong head;    /* bytes ever published */
    uint64_t tail_seen;                 /* the producer's */
    uint64_t filler;                    /* bytes of filler before the record that is being written */
    atomic_ullong refused;              /* records that found no room */
    _Alignas(64) atomic_ullong tail;    /* bytes ever released */
} ByteRing;

/* size: rounded up to a power of two, at least 64. Returns 0, or -1 without memory. */
static inline int bytering_init(ByteRing *r, uint64_t size) {
    r->size = 64;
    while (r->size < size && r->size < (1ull << 40)) r->size <<= 1;
    r->bytes = (uint8_t *)malloc(r->size);
    r->tail_seen = r->filler = 0;
    atomic_init(&r->refused, 0);
    atomic_init(&r->head, 0);
    atomic_init(&r->tail, 0);
    return r->bytes ? 0 : -1;
}

static inline void bytering_free(ByteRing *r) {
    free(r->bytes);
    r->bytes = NULL;
}

/* Bytes that a record of n takes: its length in front, and up to a multiple of eight. */
static inline uint64_t bytering_space(uint32_t n) { return ((uint64_t)n + 8 + 7) & ~(uint64_t)7; }

/* Producer: the place of a record of n bytes (aligned to eight), NULL where there is no room. It counts when it is
 * published. */
static inline uint8_t *bytering_reserve(ByteRing *r, uint32_t n) {
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed), space = bytering_space(n);
    uint64_t at = head & (r->size - 1);
    r->filler = at + space > r->size ? r->size - at : 0;
    if (head + r->filler + space - r->tail_seen > r->size) {
        r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
        if (head + r->filler + space - r->tail_seen > r->size) {
            unsigned long long refused = atomic_load_explicit(&r->refused, memory_order_relaxed);
            atomic_store_explicit(&r->refused, refused + 1, memory_order_relaxed);
            return NULL;
        }
    }
    if (r->filler) {
        *(uint32_t *)(r->bytes + at) = BYTERING_FILLER;
        at = 0;
    }
    *(uint32_t *)(r->bytes + at) = n;
    return r->bytes + at + 8;
}

/* Producer: hand over what was reserved last; n as it was reserved. */
static inline void bytering_publish(ByteRing *r, uint32_t n) {
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    atomic_store_explicit(&r->head, head + r->filler + bytering_space(n), memory_order_release);
}

/* Consumer: the oldest record and its length, NULL where there is none. It stays until it is released. */
static inline const uint8_t *bytering_front(ByteRing *r, uint32_t *n) {
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    if (tail == head) return NULL;
    uint64_t at = tail & (r->size - 1);
    if (*(uint32_t *)(r->bytes + at) == BYTERING_FILLER) {
        atomic_store_explicit(&r->tail, tail + r->size - at, memory_order_release);
        at = 0;
    }
    *n = *(uint32_t *)(r->bytes + at);
    return r->bytes + at + 8;
}

/* Consumer: give the room of the record that bytering_front gave back. */
static inline void bytering_release(ByteRing *r, uint32_t n) {
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    atomic_store_explicit(&r->tail, tail + bytering_space(n), memory_order_release);
}

/* Anybody: how many records found no room. */
static inline uint64_t bytering_refused(ByteRing *r) {
    return atomic_load_explicit(&r->refused, memory_order_relaxed);
}
#endif
