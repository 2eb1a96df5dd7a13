/* Which vector instructions the hot loops may use, chosen once at run time: one build for all.
 *
 * `fast.h` and `run.h` are compiled once for each set; FD_V(name) is the name of a function in the
 * set that is being compiled, FD_TARGET what the compiler must be told for it. The portable set is
 * plain C and the only one where a processor has none of the others.
 */
#ifndef FEEDD_ISA_H
#define FEEDD_ISA_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define FD_HAS_AVX2 1
#include <immintrin.h>
#else
#define FD_HAS_AVX2 0
#endif

enum { FD_PORTABLE = 0, FD_AVX2 = 1, FD_AVX512 = 2 };

/* FD_AVX512 is what Ice Lake and Zen 4 have. Earlier ones (Skylake-SP to Cascade Lake) lower their clock
 * for a while after each use of a register of 512 bits, for everything: they get FD_AVX2.
 *
 * The best set of this processor; FEEDD_ISA=portable or =avx2 in the environment asks for less. */
static inline int fd_isa(void) {
#if FD_HAS_AVX2
    const char *wish = getenv("FEEDD_ISA");
    if (wish != NULL && !strcmp(wish, "portable")) return FD_PORTABLE;
    __builtin_cpu_init();
    const int all = wish == NULL || strcmp(wish, "avx2") != 0;
    if (all && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
        __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt"))
        return FD_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
        __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt"))
        return FD_AVX2;
#endif
    return FD_PORTABLE;
}

#endif
