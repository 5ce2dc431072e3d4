/* Bounds checks that exist only in debug and fuzz builds (SIPCORE_DEBUG=1 at build time defines SIPCORE_CHECKED). */
#ifndef SIPCORE_CHECKED_H
#define SIPCORE_CHECKED_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef SIPCORE_CHECKED
static inline void sipcore_trap(const char *what, unsigned long index, unsigned long limit) {
    fprintf(stderr, "sipcore: %s: index %lu, limit %lu\n", what, index, limit);
    abort();
}
#define SIPCORE_CHECK_INDEX(what, i, n) \
    do { if ((unsigned long)(i) >= (unsigned long)(n)) sipcore_trap(what, (unsigned long)(i), (unsigned long)(n)); } while (0)
#define SIPCORE_CHECK(cond) \
    do { if (!(cond)) sipcore_trap(#cond, 0, 0); } while (0)
#else
#define SIPCORE_CHECK_INDEX(what, i, n) ((void)0)
#define SIPCORE_CHECK(cond) ((void)0)
#endif

#endif
