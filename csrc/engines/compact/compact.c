/* What the compact engine offers, and the flat one before it. See compact.h, flat.h. */
#include "engines/compact/compact.h"
#include "engines/compact/flat.h"
#include "engines/engine.h"
#include "engines/table.h"

const struct lpm_engine lpm_compact = {
    .id = FIB_ENGINE_COMPACT,
    .families = LPM_IPV4,
    .name = "compact",
    .layout = LAYOUT(COMPACT_LAYOUT),
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
    .layout = LAYOUT(COMPACT_LAYOUT FLAT_LAYOUT),
    .lookup = flat_lookup,
    .lookup4 = flat_lookup4,
    .match = compact_match,
    .blocks_for = flat_blocks_for,
    .apply = compact_apply,
    .derive = flat_derive,
    .exact = compact_exact,
    .walk = compact_walk,
};
