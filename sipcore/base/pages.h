/* Zeroed memory for large tables: pages are taken from the system only when they are touched. Huge pages, where the
 * system has them, are for a table that is entered at random, which otherwise pays for each look in the TLB too. Not for
 * one that fills from its beginning: neighbours share a small page anyway, and a huge one costs its first user a pause
 * (0.2 ms for clearing it, several under a hypervisor that has to find the memory first). */
#ifndef SIPCORE_PAGES_H
#define SIPCORE_PAGES_H
#include <stddef.h>
#include <sys/mman.h>

static inline void *pages_take(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static inline void *pages_take_huge(size_t bytes) {
    void *p = pages_take(bytes);
#ifdef MADV_HUGEPAGE
    if (p && bytes >= (size_t)4 << 20) madvise(p, bytes, MADV_HUGEPAGE);
#endif
    return p;
}

/* Have the pages of what will be written next, which are not here yet, come at once: half as dear as one by one. Where
 * the system cannot (before Linux 5.14), they come when they are touched. */
static inline void pages_fetch(void *p, size_t bytes) {
#ifdef MADV_POPULATE_WRITE
    madvise(p, bytes, MADV_POPULATE_WRITE);
#endif
}

static inline void pages_give(void *p, size_t bytes) {
    if (p) munmap(p, bytes);
}
#endif
