/* Shows libFuzzer which blocks ran; sanitizer builds put it in front of every module. gcc only calls out at each
 * block (-fsanitize-coverage=trace-pc), and libFuzzer wants 8-bit counters with a table of program counters. Blocks
 * share a counter where their hashes meet. The two registrations are missing where no fuzzer is loaded. */
#ifndef SIPCORE_COVERAGE_H
#define SIPCORE_COVERAGE_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* as Python.h would; here the first header is not its, and recvmmsg needs it */
#endif
#include <stdint.h>

#define SIPCORE_COUNTERS 8192 /* 2 to the power of 32 - 19 */
#define SIPCORE_UNSEEN __attribute__((no_sanitize_coverage, no_sanitize("address", "undefined")))

void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop) __attribute__((weak));
void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop) __attribute__((weak));

static uint8_t sipcore_counters[SIPCORE_COUNTERS];
static uintptr_t sipcore_blocks[SIPCORE_COUNTERS][2]; /* program counter, flags */

__attribute__((visibility("hidden"))) SIPCORE_UNSEEN void __sanitizer_cov_trace_pc(void) {
    uint32_t block = (uint32_t)((uintptr_t)__builtin_return_address(0) - (uintptr_t)sipcore_counters);
    sipcore_counters[block * 2654435761u >> 19]++;
}

/* gcc calls these for comparisons of floating-point numbers; no runtime has them. */
__attribute__((visibility("hidden"))) SIPCORE_UNSEEN void __sanitizer_cov_trace_cmpf(float a, float b) {}
__attribute__((visibility("hidden"))) SIPCORE_UNSEEN void __sanitizer_cov_trace_cmpd(double a, double b) {}

__attribute__((constructor)) SIPCORE_UNSEEN static void sipcore_register_counters(void) {
    for (int i = 0; i < SIPCORE_COUNTERS; i++)
        sipcore_blocks[i][0] = (uintptr_t)&sipcore_counters[i];
    if (__sanitizer_cov_8bit_counters_init && __sanitizer_cov_pcs_init) {
        __sanitizer_cov_8bit_counters_init(sipcore_counters, sipcore_counters + SIPCORE_COUNTERS);
        __sanitizer_cov_pcs_init(sipcore_blocks[0], sipcore_blocks[SIPCORE_COUNTERS]);
    }
}

#endif
