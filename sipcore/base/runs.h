/* Runs of bytes, sixteen at a time where the machine has SSE2 (every x86-64), one at a time elsewhere. Nothing is read
 * outside p[0..n): the last, shorter part of a run is looked at through sixteen bytes that end at n. */
#ifndef SIPCORE_RUNS_H
#define SIPCORE_RUNS_H
#include <stdint.h>

static inline int runs_is_control(uint8_t c) {
    return c < 32 || c == 127;
}

/* Letters, digits, "-" and ".": what nearly all names and values of SIP are made of, and in all their classes. */
static const uint8_t RUNS_PLAIN[256] = {
    ['-'] = 1, ['.'] = 1, ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1
};

#ifdef __SSE2__
#include <emmintrin.h>

/* A bit for each byte that is a control character. */
static inline unsigned runs_controls(__m128i c) {
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(c, _mm_set1_epi8(31)), c);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(c, _mm_set1_epi8(127))));
}

/* A bit for each byte that is not plain. Compared as signed bytes, so ranges are moved to begin at -128. */
static inline unsigned runs_others(__m128i c) {
    __m128i letter = _mm_add_epi8(_mm_or_si128(c, _mm_set1_epi8(0x20)), _mm_set1_epi8((char)(-128 - 'a')));
    __m128i digit = _mm_add_epi8(c, _mm_set1_epi8((char)(-128 - '-')));
    __m128i plain;
    digit = _mm_cmplt_epi8(digit, _mm_set1_epi8(-128 + '9' - '-' + 1));
    digit = _mm_andnot_si128(_mm_cmpeq_epi8(c, _mm_set1_epi8('/')), digit);
    plain = _mm_or_si128(_mm_cmplt_epi8(letter, _mm_set1_epi8(-128 + 26)), digit);
    return (unsigned)_mm_movemask_epi8(plain) ^ 0xFFFF;
}

/* Returns from the function around it, but where fewer than sixteen bytes are there. */
#define RUNS_WIDE(mask)                                                                                     \
    unsigned found;                                                                                         \
    for (; i + 16 <= n; i += 16)                                                                            \
        if ((found = mask(_mm_loadu_si128((const __m128i *)(p + i)))))                                      \
            return i + (uint32_t)__builtin_ctz(found);                                                      \
    if (n >= 16 && i < n) {                                                                                 \
        found = mask(_mm_loadu_si128((const __m128i *)(p + n - 16))) >> (16 - (n - i));                     \
        return found ? i + (uint32_t)__builtin_ctz(found) : n;                                              \
    }
#else
#define RUNS_WIDE(mask)
#endif

/* The first index from i on, before n, of a control character (HT, CR and LF among them); n where there is none. */
static inline uint32_t run_to_control(const uint8_t *p, uint32_t i, uint32_t n) {
    RUNS_WIDE(runs_controls)
    while (i < n && !runs_is_control(p[i]))
        i++;
    return i;
}

/* The first index from i on, before n, of that byte; n where there is none. memchr of the short texts of a message. */
static inline uint32_t run_to_byte(const uint8_t *p, uint32_t i, uint32_t n, uint8_t byte) {
#ifdef __SSE2__
    const __m128i wanted = _mm_set1_epi8((char)byte);
#define RUNS_WANTED(c) (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(c, wanted))
#endif
    RUNS_WIDE(RUNS_WANTED)
    while (i < n && p[i] != byte)
        i++;
    return i;
}

/* The first index from i on, before n, that is not plain; n where there is none. */
static inline uint32_t run_of_plain(const uint8_t *p, uint32_t i, uint32_t n) {
    RUNS_WIDE(runs_others)
    while (i < n && RUNS_PLAIN[p[i]])
        i++;
    return i;
}

/* Where a header's name ends, as run_of_plain says, and the first control character behind, from the same bytes. */
static inline uint32_t run_of_name(const uint8_t *p, uint32_t i, uint32_t n, uint32_t *control) {
    uint32_t end;
#ifdef __SSE2__
    if (i + 16 <= n) {
        const __m128i c = _mm_loadu_si128((const __m128i *)(p + i));
        const unsigned others = runs_others(c), controls = runs_controls(c);
        *control = controls ? i + (uint32_t)__builtin_ctz(controls) : run_to_control(p, i + 16, n);
        return others ? i + (uint32_t)__builtin_ctz(others) : run_of_plain(p, i + 16, n);
    }
#endif
    end = run_of_plain(p, i, n);
    *control = run_to_control(p, end, n);
    return end;
}
#endif
