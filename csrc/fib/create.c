/* How large a FIB segment is, and a fresh one: its banks (bank/geometry.c), and what the strategy
 * puts behind them. Also the format: what a FIB of this build is made of. Creator only.
 */
#include <errno.h>

#include "base/monotonic.h"
#include "bank/bank.h"
#include "engines/engine.h"
#include "fib/fib.h"
#include "sync/strategy.h"

static const struct layout own_layout = LAYOUT(SEGMENT_LAYOUT FIB_LAYOUT);

/* Ours first, then every engine and every strategy of the build, in use or not. */
static const struct layout *fib_part(uint32_t position)
{
    const struct lpm_engine *engine;
    const struct fib_sync *sync;
    if (position == 0)
        return &own_layout;
    uint32_t at = position - 1, engines = 0;
    for (; (engine = lpm_engine_listed(engines)) != NULL; engines++)
        if (engines == at)
            return &engine->layout;
    sync = fib_sync_listed(at - engines);
    return sync == NULL ? NULL : &sync->layout;
}

const struct segment_format fib_format = {
    .magic = 0x0042494645474252u, /* "RBGEFIB", little-endian */
    .kind = SEGMENT_FIB,
    .header_size = sizeof(struct fib_header),
    .major = 2,
    .part = fib_part,
};

static const struct fib_sync *strategy_of(const struct fib_params *params)
{
    return fib_sync_of(params->strategy == 0 ? fib_strategy_at(0) : params->strategy);
}

static void lay_out(const struct fib_params *params, struct fib_geometry *geometry)
{
    const struct fib_sync *sync = strategy_of(params);
    bank_lay_out(params, geometry);
    geometry->strategy = sync->id;
    geometry->banks = sync->banks;
    geometry->ring_blocks = sync->ring_blocks;
}

uint64_t fib_segment_size(const struct fib_params *params)
{
    const struct fib_sync *sync = strategy_of(params);
    if (sync == NULL)
        return 0;
    uint64_t bytes = bank_size(params);
    return bytes == 0 ? 0 : bytes * sync->banks + (uint64_t)sync->ring_blocks * FIB_BLOCK;
}

int fib_create(void *base, uint64_t size, const struct fib_params *params)
{
    struct fib_header *header = base;
    uint64_t wanted = fib_segment_size(params);
    if (wanted == 0 || size < wanted)
        return -EINVAL;
    lay_out(params, &header->geometry);
    struct fib_geometry *geometry = &header->geometry;
    uint64_t room = size - (uint64_t)geometry->ring_blocks * FIB_BLOCK;
    uint64_t blocks = room / geometry->banks / FIB_BLOCK;
    if (blocks > bank_most_blocks(geometry))
        return -EINVAL;
    geometry->blocks = (uint32_t)blocks;
    header->born = monotonic_ns();
    header->published.epoch = 2; /* so that "two epochs ago" is never below 0 */
    header->published.free_blocks = geometry->blocks - geometry->arena_at - FIB_GUARD;
    if (geometry->banks == 2)
        bank_copy((uint8_t *)base + blocks * FIB_BLOCK, base, blocks * FIB_BLOCK);
    RC_FAULT("header-written");
    return segment_identify(base, size, &fib_format, params->instance_id);
}
