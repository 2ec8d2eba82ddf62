/* See cpu.h. */
#include "base/cpu.h"

static int portable; /* before any thread starts */

void cpu_force_portable(int on)
{
    portable = on;
}

int cpu_avx512(void)
{
#if defined(__x86_64__)
    static int able = -1; /* the same whoever writes it first */
    int known = __atomic_load_n(&able, __ATOMIC_RELAXED);
    if (unlikely(known < 0)) {
        __builtin_cpu_init();
        known = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vpopcntdq") &&
                __builtin_cpu_supports("avx512vbmi2");
        __atomic_store_n(&able, known, __ATOMIC_RELAXED);
    }
    return known && !portable;
#else
    return 0;
#endif
}

#if defined(__x86_64__)
int cpu_popcnt(void)
{
    static int able = -1;
    int known = __atomic_load_n(&able, __ATOMIC_RELAXED);
    if (unlikely(known < 0)) {
        __builtin_cpu_init();
        known = __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi") &&
                __builtin_cpu_supports("bmi2");
        __atomic_store_n(&able, known, __ATOMIC_RELAXED);
    }
    return known;
}
#endif
