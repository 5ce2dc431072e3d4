/* Shows libFuzzer which blocks ran; sanitizer builds put it in front of every module. gcc only calls out at each
 * block (-fsanitize-coverage=trace-pc), and libFuzzer wants 8-bit counters with a table of program counters. Blocks
 * share a counter where their hashes meet. The two registrations are missing where no fuzzer is loaded. No system
 * header is included: one that comes before Python.h would settle without _GNU_SOURCE what all of them declare. */
#ifndef SIPCORE_COVERAGE_H
#define SIPCORE_COVERAGE_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* as Python.h would; here the first header is not its, and recvmmsg needs it */
#endif

#define SIPCORE_COUNTERS 8192 /* 2 to the power of 32 - 19 */
#define SIPCORE_UNSEEN __attribute__((no_sanitize_coverage, no_sanitize("address", "undefined")))

void __sanitizer_cov_8bit_counters_init(unsigned char *start, unsigned char *stop) __attribute__((weak));
void __sanitizer_cov_pcs_init(const unsigned long *start, const unsigned long *stop) __attribute__((weak));

static unsigned char sipcore_counters[SIPCORE_COUNTERS];
static unsigned long sipcore_blocks[SIPCORE_COUNTERS][2]; /* program counter, flags */

__attribute__((visibility("hidden"))) SIPCORE_UNSEEN void __sanitizer_cov_trace_pc(void) {
    unsigned block = (unsigned)((unsigned long)__builtin_return_address(0) - (unsigned long)sipcore_counters);
    sipcore_counters[block * 2654435761u >> 19]++;
}

/* gcc calls these for comparisons of floating-point numbers; no runtime has them. */
__attribute__((visibility("hidden"))) SIPCORE_UNSEEN void __sanitizer_cov_trace_cmpf(float a, float b) {}
__attribute__((visibility("hidden"))) SIPCORE_UNSEEN void __sanitizer_cov_trace_cmpd(double a, double b) {}

__attribute__((constructor)) SIPCORE_UNSEEN static void sipcore_register_counters(void) {
    for (int i = 0; i < SIPCORE_COUNTERS; i++)
        sipcore_blocks[i][0] = (unsigned long)&sipcore_counters[i];
    if (__sanitizer_cov_8bit_counters_init && __sanitizer_cov_pcs_init) {
        __sanitizer_cov_8bit_counters_init(sipcore_counters, sipcore_counters + SIPCORE_COUNTERS);
        __sanitizer_cov_pcs_init(sipcore_blocks[0], sipcore_blocks[SIPCORE_COUNTERS]);
    }
}

#endif
