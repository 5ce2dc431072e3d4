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

/* A bit for each of the sixty-four bytes at p that is a control character. */
static inline uint64_t runs_controls_64(const uint8_t *p) {
    uint64_t found = 0;
    int i;
#ifdef __SSE2__
    for (i = 0; i < 4; i++)
        found |= (uint64_t)runs_controls(_mm_loadu_si128((const __m128i *)(p + 16 * i))) << (16 * i);
#else
    for (i = 0; i < 64; i++)
        found |= (uint64_t)runs_is_control(p[i]) << i;
#endif
    return found;
}

/* The control characters of p[0..n), to be had one after the other; each sixty-four bytes are looked at once. */
typedef struct {
    const uint8_t *p;
    uint32_t n;
    uint32_t at;            /* where the bytes stand that `found` tells of */
    uint64_t found;         /* a bit for each that was not handed out yet */
} Controls;

static inline uint64_t controls_at(const Controls *c) {
    uint64_t found = 0;
    uint32_t left = c->n - c->at, i;
    if (left >= 64)
        return runs_controls_64(c->p + c->at);
    if (c->n >= 64)
        return left ? runs_controls_64(c->p + c->n - 64) >> (64 - left) : 0;
    for (i = 0; i < left; i++)
        found |= (uint64_t)runs_is_control(c->p[c->at + i]) << i;
    return found;
}

/* Always inlined, so that what these share stays in registers. */
#define CONTROLS_INLINE static inline __attribute__((always_inline))

/* Begin at index i, not above n. */
CONTROLS_INLINE void controls_from(Controls *c, const uint8_t *p, uint32_t n, uint32_t i) {
    c->p = p;
    c->n = n;
    c->at = i;
    c->found = controls_at(c);
}

/* The index of the next one; n where there is none. */
CONTROLS_INLINE uint32_t controls_next(Controls *c) {
    uint32_t i;
    while (!c->found) {
        if (c->n - c->at <= 64)
            return c->n;
        c->at += 64;
        c->found = controls_at(c);
    }
    i = c->at + (uint32_t)__builtin_ctzll(c->found);
    c->found &= c->found - 1;
    return i;
}

/* Leave out the next one, which is known to be there. */
CONTROLS_INLINE void controls_skip(Controls *c) {
    if (c->found)
        c->found &= c->found - 1;
    else
        controls_next(c);
}

/* The colon that ends a header's name among the sixteen bytes at p: its index; 16 where there is none. low and high
 * become the bytes before it, the first one lowest, with the bit that makes letters small, and zeros behind. */
static inline uint32_t run_to_colon(const uint8_t *p, uint64_t *low, uint64_t *high) {
    uint32_t n;
#ifdef __SSE2__
    static const uint8_t MASKS[32] = {[0 ... 15] = 0xff};
    const __m128i c = _mm_loadu_si128((const __m128i *)p);
    const unsigned colons = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(c, _mm_set1_epi8(':')));
    __m128i name;
    if (!colons)
        return 16;
    n = (uint32_t)__builtin_ctz(colons);
    name = _mm_and_si128(_mm_or_si128(c, _mm_set1_epi8(0x20)), _mm_loadu_si128((const __m128i *)(MASKS + 16 - n)));
    *low = (uint64_t)_mm_cvtsi128_si64(name);
    *high = (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(name, name));
#else
    uint64_t words[2] = {0, 0};
    for (n = 0; n < 16 && p[n] != ':'; n++)
        words[n / 8] |= (uint64_t)(p[n] | 0x20) << (n % 8 * 8);
    *low = words[0];
    *high = words[1];
#endif
    return n;
}
#endif
