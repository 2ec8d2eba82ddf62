/* How large a FIB segment is, and a fresh one.
 *
 * The size is all a segment ever gets, so that a full /dev/shm fails at creation and a full
 * table with -ENOSPC, never with SIGBUS. It follows from fib_params alone:
 *
 *   header, directories, stamp ring
 *   + what each engine wants for max_routes (see its blocks_for)
 *   + 2 blocks a group (27 buckets), 1 an adjacency, 4 a port
 *   + FIB_GUARD blocks at the end
 *   + 4 times what is retired before an epoch is spent (two epochs wait, and as much slack)
 *
 * Groups with more buckets take room from the same arena. Strategies with two tables take all of
 * it twice; `message` adds its ring. Creator only.
 */
#include "engines/interval/interval.h"
#include "sync/strategy.h"

#include <errno.h>
#include <string.h>

static uint32_t engine4_of(const struct fib_params *params)
{
    return params->engine4 == 0 ? FIB_ENGINE_COMPACT : params->engine4;
}

static uint32_t engine6_of(const struct fib_params *params)
{
    return params->engine6 == 0 ? FIB_ENGINE_INTERVAL : params->engine6;
}

static uint32_t strategy_of(const struct fib_params *params)
{
    return params->strategy == 0 ? FIB_STRATEGY_EPOCH : params->strategy;
}

/* Blocks of a bank the words of the engines can name. */
static uint64_t blocks_limit(const struct fib_geometry *geometry)
{
    int interval =
        geometry->engine4 == FIB_ENGINE_INTERVAL || geometry->engine6 == FIB_ENGINE_INTERVAL;
    return interval ? INTERVAL_MAX_BLOCKS : UINT32_MAX;
}

static int params_valid(const struct fib_params *params)
{
    return params->max_routes4 > 0 && params->max_routes6 > 0 && params->max_groups > 1 &&
           params->max_groups <= FIB_MAX_GROUPS && params->max_adjacencies > 1 &&
           params->max_adjacencies <= FIB_MAX_ADJACENCIES &&
           lpm_engine_for(engine4_of(params), 4) != NULL &&
           lpm_engine_for(engine6_of(params), 6) != NULL &&
           fib_sync_of(strategy_of(params)) != NULL;
}

static void lay_out(const struct fib_params *params, struct fib_geometry *geometry)
{
    uint64_t at = FIB_HEADER_SIZE / FIB_BLOCK;
    memset(geometry, 0, sizeof *geometry);
    geometry->max_groups = params->max_groups;
    geometry->max_adjacencies = params->max_adjacencies;
    geometry->max_ports = FIB_MAX_PORTS;
    geometry->max_routes4 = params->max_routes4;
    geometry->max_routes6 = params->max_routes6;
    geometry->engine4 = engine4_of(params);
    geometry->engine6 = engine6_of(params);
    geometry->strategy = strategy_of(params);
    geometry->banks = fib_sync_of(geometry->strategy)->banks;
    if (geometry->strategy == FIB_STRATEGY_MESSAGE)
        geometry->ring_blocks = MESSAGE_RING_BLOCKS;
    geometry->groups_at = (uint32_t)at;
    at += blocks_of((uint64_t)params->max_groups * sizeof(uint32_t));
    geometry->adjacencies_at = (uint32_t)at;
    at += blocks_of((uint64_t)params->max_adjacencies * sizeof(uint32_t));
    geometry->ports_at = (uint32_t)at;
    at += blocks_of(FIB_MAX_PORTS * sizeof(uint32_t));
    geometry->stamps_at = (uint32_t)at;
    at += blocks_of(FIB_STAMPS * sizeof(struct fib_stamp));
    geometry->arena_at = (uint32_t)at;
}

uint64_t fib_segment_size(const struct fib_params *params)
{
    struct fib_geometry geometry;
    if (!params_valid(params))
        return 0;
    lay_out(params, &geometry);
    uint64_t blocks = geometry.arena_at;
    blocks += lpm_engine(geometry.engine4)->blocks_for(4, params->max_routes4);
    blocks += lpm_engine(geometry.engine6)->blocks_for(6, params->max_routes6);
    blocks += UINT64_C(2) * params->max_groups + params->max_adjacencies;
    blocks += FIB_MAX_PORTS * blocks_of(sizeof(struct fib_port));
    blocks += UINT64_C(4) * ARENA_TURN_BLOCKS + FIB_GUARD;
    uint64_t bytes = (blocks * FIB_BLOCK + 4095) & ~UINT64_C(4095);
    if (bytes / FIB_BLOCK > blocks_limit(&geometry))
        return 0;
    return bytes * geometry.banks + (uint64_t)geometry.ring_blocks * FIB_BLOCK;
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
    if (blocks > blocks_limit(geometry))
        return -EINVAL;
    geometry->blocks = (uint32_t)blocks;
    header->born = fib_now();
    header->published.epoch = 2; /* so that "two epochs ago" is never below 0 */
    header->published.free_blocks = geometry->blocks - geometry->arena_at - FIB_GUARD;
    if (geometry->banks == 2)
        bank_copy((uint8_t *)base + blocks * FIB_BLOCK, base, blocks * FIB_BLOCK);
    RC_FAULT("header-written");
    return segment_identify(base, size, SEGMENT_FIB, params->instance_id);
}
