/* What the multibit engine offers. See multibit.h. */
#include "engines/engine.h"
#include "engines/multibit/multibit.h"
#include "engines/table.h"

const struct lpm_engine lpm_multibit = {
    .id = FIB_ENGINE_MULTIBIT,
    .families = LPM_IPV4 | LPM_IPV6,
    .name = "multibit",
    .layout = LAYOUT(MULTIBIT_LAYOUT),
    .lookup = multibit_lookup,
    .match = multibit_match,
    .blocks_for = multibit_blocks_for,
    .apply = multibit_apply,
    .exact = multibit_exact,
    .walk = multibit_walk,
};
