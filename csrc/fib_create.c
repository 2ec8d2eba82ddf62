/* How large a FIB segment is, and a fresh one.
 *
 * The size is all a segment ever gets, so that a full /dev/shm fails at creation and a full
 * table with -ENOSPC, never with SIGBUS. It follows from fib_params alone:
 *
 *   header, directories, stamp ring
 *   + what each engine wants for max_routes (see its blocks_for)
 *   + 2 blocks a group (27 buckets), 1 an adjacency, 4 a port
 *   + 4 times what is retired before an epoch is spent (two epochs wait, and as much slack)
 *
 * Groups with more buckets take room from the same arena. Creator only.
 */
#include "fib_writer.h"

#include <errno.h>
#include <string.h>

static int params_valid(const struct fib_params *params)
{
    return params->max_routes4 > 0 && params->max_routes6 > 0 && params->max_groups > 1 &&
           params->max_groups <= FIB_MAX_GROUPS && params->max_adjacencies > 1 &&
           params->max_adjacencies <= FIB_MAX_ADJACENCIES;
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
    geometry->engine4 = geometry->engine6 = FIB_ENGINE_MULTIBIT;
    geometry->strategy = FIB_STRATEGY_EPOCH;
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
    blocks += UINT64_C(4) * ARENA_TURN_BLOCKS;
    uint64_t bytes = (blocks * FIB_BLOCK + 4095) & ~UINT64_C(4095);
    return bytes / FIB_BLOCK > UINT32_MAX ? 0 : bytes;
}

int fib_create(void *base, uint64_t size, const struct fib_params *params)
{
    struct fib_header *header = base;
    uint64_t wanted = fib_segment_size(params);
    if (wanted == 0 || size < wanted || size / FIB_BLOCK > UINT32_MAX)
        return -EINVAL;
    lay_out(params, &header->geometry);
    header->geometry.blocks = (uint32_t)(size / FIB_BLOCK);
    header->published.epoch = 2; /* so that "two epochs ago" is never below 0 */
    header->published.free_blocks = header->geometry.blocks - header->geometry.arena_at;
    RC_FAULT("header-written");
    return segment_identify(base, size, SEGMENT_FIB, params->instance_id);
}
