/* The engines of this build. */
#include "fib_lpm.h"
#include "fib_multibit.h"

const struct lpm_engine lpm_multibit = {
    .id = FIB_ENGINE_MULTIBIT,
    .name = "multibit",
    .lookup = multibit_lookup,
    .match = multibit_match,
    .blocks_for = multibit_blocks_for,
    .apply = multibit_apply,
    .exact = multibit_exact,
    .walk = multibit_walk,
};

const struct lpm_engine *lpm_engine(uint32_t id)
{
    return id == FIB_ENGINE_MULTIBIT ? &lpm_multibit : NULL;
}
