/* What the binary engine offers. See binary.h. */
#include "engines/binary/binary.h"
#include "engines/engine.h"
#include "engines/table.h"

const struct lpm_engine lpm_binary = {
    .id = FIB_ENGINE_BINARY,
    .families = LPM_IPV4 | LPM_IPV6,
    .name = "binary",
    .layout = LAYOUT(BINARY_LAYOUT),
    .lookup = binary_lookup,
    .match = binary_match,
    .blocks_for = binary_blocks_for,
    .apply = binary_apply,
    .exact = binary_exact,
    .walk = binary_walk,
};
