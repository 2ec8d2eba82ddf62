/* Which instructions a batch may use: asked of the CPU once, at run time, never of the build's
 * flags, so that one module serves every machine. Any process. */
#ifndef RC_CPU_H
#define RC_CPU_H
#include "base/base.h"

/* Tests and benchmarks: 1 keeps every batch of this process from using AVX-512. */
void cpu_force_portable(int on);

#if RC_INLINE_SECTION
/* 1 when batches may use AVX-512 (F, BW, VL, DQ, VPOPCNTDQ, VBMI2). */
int cpu_avx512(void);
#if defined(__x86_64__)
int cpu_popcnt(void); /* POPCNT, BMI, BMI2 */
#endif
#endif
#endif
