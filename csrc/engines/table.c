/* The engines of this build, and which instructions their batches may use. */
#include "engines/binary/binary.h"
#include "engines/compact/compact.h"
#include "engines/compact/flat.h"
#include "engines/engine.h"
#include "engines/interval/interval.h"
#include "engines/multibit/multibit.h"

const struct lpm_engine lpm_multibit = {
    .id = FIB_ENGINE_MULTIBIT,
    .families = LPM_IPV4 | LPM_IPV6,
    .name = "multibit",
    .lookup = multibit_lookup,
    .match = multibit_match,
    .blocks_for = multibit_blocks_for,
    .apply = multibit_apply,
    .exact = multibit_exact,
    .walk = multibit_walk,
};

const struct lpm_engine lpm_compact = {
    .id = FIB_ENGINE_COMPACT,
    .families = LPM_IPV4,
    .name = "compact",
    .lookup = compact_lookup,
    .lookup4 = compact_lookup4,
    .match = compact_match,
    .blocks_for = compact_blocks_for,
    .apply = compact_apply,
    .exact = compact_exact,
    .walk = compact_walk,
};

const struct lpm_engine lpm_flat = {
    .id = FIB_ENGINE_FLAT,
    .families = LPM_IPV4,
    .name = "flat",
    .lookup = flat_lookup,
    .lookup4 = flat_lookup4,
    .match = compact_match,
    .blocks_for = flat_blocks_for,
    .apply = compact_apply,
    .derive = flat_derive,
    .exact = compact_exact,
    .walk = compact_walk,
};

const struct lpm_engine lpm_interval = {
    .id = FIB_ENGINE_INTERVAL,
    .families = LPM_IPV4 | LPM_IPV6,
    .name = "interval",
    .lookup = interval_lookup,
    .lookup6 = interval_lookup_lean,
    .match = interval_match,
    .blocks_for = interval_blocks_for,
    .apply = interval_apply,
    .exact = interval_exact,
    .walk = interval_walk,
};

const struct lpm_engine lpm_binary = {
    .id = FIB_ENGINE_BINARY,
    .families = LPM_IPV4 | LPM_IPV6,
    .name = "binary",
    .lookup = binary_lookup,
    .match = binary_match,
    .blocks_for = binary_blocks_for,
    .apply = binary_apply,
    .exact = binary_exact,
    .walk = binary_walk,
};

/* By id: one load, since a reader asks for every batch. */
static const struct lpm_engine *const engines[] = {
    [FIB_ENGINE_MULTIBIT] = &lpm_multibit,
    [FIB_ENGINE_COMPACT] = &lpm_compact,
    [FIB_ENGINE_FLAT] = &lpm_flat,
    [FIB_ENGINE_INTERVAL] = &lpm_interval,
    [FIB_ENGINE_BINARY] = &lpm_binary,
};

const struct lpm_engine *lpm_engine(uint32_t id)
{
    return id < sizeof engines / sizeof engines[0] ? engines[id] : NULL;
}

const struct lpm_engine *lpm_engine_for(uint32_t id, uint8_t family)
{
    const struct lpm_engine *engine = lpm_engine(id);
    uint32_t bit = family == 4 ? LPM_IPV4 : LPM_IPV6;
    return engine != NULL && (engine->families & bit) != 0 ? engine : NULL;
}

static int portable; /* set by lpm_force_portable: tests and benchmarks, before any thread */

void lpm_force_portable(int on)
{
    portable = on;
}

int lpm_avx512(void)
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
int lpm_popcnt(void)
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
