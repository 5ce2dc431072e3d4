/* Zeroed memory for large tables: pages are taken from the system only when they are touched, and as huge pages
 * where the system has them, because tables that are entered at random otherwise pay for each look in the TLB too. */
#ifndef SIPCORE_PAGES_H
#define SIPCORE_PAGES_H
#include <stddef.h>
#include <sys/mman.h>

static inline void *pages_take(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
    if (bytes >= (size_t)4 << 20) madvise(p, bytes, MADV_HUGEPAGE);
#endif
    return p;
}

static inline void pages_give(void *p, size_t bytes) {
    if (p) munmap(p, bytes);
}
#endif
