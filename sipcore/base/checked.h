/* Checks that exist only in debug and fuzz builds (SIPCORE_DEBUG=1 at build time defines SIPCORE_CHECKED).
 *
 * SIPCORE_POISON marks memory that nobody may touch until SIPCORE_UNPOISON: AddressSanitizer then traps on any
 * access; a checked build without it overwrites the bytes, so that a stale reader sees 0xDD. SIPCORE_HIDE does
 * the same for AddressSanitizer alone and never changes the bytes. */
#ifndef SIPCORE_CHECKED_H
#define SIPCORE_CHECKED_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef SIPCORE_CHECKED
#define SIPCORE_IS_CHECKED 1
static inline void sipcore_trap(const char *what, unsigned long index, unsigned long limit) {
    fprintf(stderr, "sipcore: %s: index %lu, limit %lu\n", what, index, limit);
    abort();
}
#define SIPCORE_CHECK_INDEX(what, i, n) \
    do { if ((unsigned long)(i) >= (unsigned long)(n)) sipcore_trap(what, (unsigned long)(i), (unsigned long)(n)); } while (0)
#define SIPCORE_CHECK(cond) \
    do { if (!(cond)) sipcore_trap(#cond, 0, 0); } while (0)
#else
#define SIPCORE_IS_CHECKED 0
#define SIPCORE_CHECK_INDEX(what, i, n) ((void)0)
#define SIPCORE_CHECK(cond) ((void)(cond))
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define SIPCORE_POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define SIPCORE_HIDE(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define SIPCORE_UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#elif defined(SIPCORE_CHECKED)
#define SIPCORE_POISON(p, n) ((void)memset((p), 0xDD, (n)))
#define SIPCORE_HIDE(p, n) ((void)0)
#define SIPCORE_UNPOISON(p, n) ((void)0)
#else
#define SIPCORE_POISON(p, n) ((void)0)
#define SIPCORE_HIDE(p, n) ((void)0)
#define SIPCORE_UNPOISON(p, n) ((void)0)
#endif

#endif
