/* Words that one thread writes and others read at any time: no order is promised, and none is paid for. */
#ifndef SIPCORE_ATOMICS_H
#define SIPCORE_ATOMICS_H
#include <stdint.h>

static inline uint64_t relaxed_load(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
static inline void relaxed_store(uint64_t *p, uint64_t value) { __atomic_store_n(p, value, __ATOMIC_RELAXED); }

/* For the one writer only: a load and a store, no locked instruction. */
static inline void relaxed_add(uint64_t *p, uint64_t n) { relaxed_store(p, relaxed_load(p) + n); }

/* One word that two threads exchange: whoever comes second takes over what the first one published before. */
static inline uint64_t exchange(uint64_t *p, uint64_t value) { return __atomic_exchange_n(p, value, __ATOMIC_ACQ_REL); }
#endif
