/* How large one bank is, and where things are in it.
 *
 * The size is all a bank ever gets, so that a full /dev/shm fails at creation and a full table
 * with -ENOSPC, never with SIGBUS. It follows from fib_params alone:
 *
 *   header, directories, stamp ring
 *   + what each engine wants for max_routes (see its blocks_for)
 *   + 2 blocks a group (27 buckets), 1 an adjacency, 4 a port
 *   + FIB_GUARD blocks at the end
 *   + 4 times what is retired before an epoch is spent (two epochs wait, and as much slack)
 *
 * Groups with more buckets take room from the same arena.
 */
#include "bank/bank.h"
#include "engines/engine.h"
#include "engines/table.h"

static uint32_t engine_of(uint32_t wanted, uint8_t family)
{
    return wanted == 0 ? fib_engine_at(0, family) : wanted;
}

uint64_t bank_most_blocks(const struct fib_geometry *geometry)
{
    const uint32_t engine[2] = {geometry->engine4, geometry->engine6};
    uint64_t most = UINT32_MAX;
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t limit = lpm_engine(engine[i])->most_blocks;
        if (limit != 0 && limit < most)
            most = limit;
    }
    return most;
}

static int params_valid(const struct fib_params *params)
{
    return params->max_routes4 > 0 && params->max_routes6 > 0 && params->max_groups > 1 &&
           params->max_groups <= FIB_MAX_GROUPS && params->max_adjacencies > 1 &&
           params->max_adjacencies <= FIB_MAX_ADJACENCIES &&
           lpm_engine_for(engine_of(params->engine4, 4), 4) != NULL &&
           lpm_engine_for(engine_of(params->engine6, 6), 6) != NULL;
}

void bank_lay_out(const struct fib_params *params, struct fib_geometry *geometry)
{
    uint64_t at = FIB_HEADER_SIZE / FIB_BLOCK;
    memset(geometry, 0, sizeof *geometry);
    geometry->max_groups = params->max_groups;
    geometry->max_adjacencies = params->max_adjacencies;
    geometry->max_ports = FIB_MAX_PORTS;
    geometry->max_routes4 = params->max_routes4;
    geometry->max_routes6 = params->max_routes6;
    geometry->engine4 = engine_of(params->engine4, 4);
    geometry->engine6 = engine_of(params->engine6, 6);
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

uint64_t bank_size(const struct fib_params *params)
{
    struct fib_geometry geometry;
    if (!params_valid(params))
        return 0;
    bank_lay_out(params, &geometry);
    uint64_t blocks = geometry.arena_at;
    blocks += lpm_engine(geometry.engine4)->blocks_for(4, params->max_routes4);
    blocks += lpm_engine(geometry.engine6)->blocks_for(6, params->max_routes6);
    blocks += UINT64_C(2) * params->max_groups + params->max_adjacencies;
    blocks += FIB_MAX_PORTS * blocks_of(sizeof(struct fib_port));
    blocks += UINT64_C(4) * ARENA_TURN_BLOCKS + FIB_GUARD;
    uint64_t bytes = (blocks * FIB_BLOCK + 4095) & ~UINT64_C(4095);
    return bytes / FIB_BLOCK > bank_most_blocks(&geometry) ? 0 : bytes;
}

/* 1 when the directories and the stamps lie behind one another, each with room for its entries. */
static int places_valid(const struct fib_geometry *geometry)
{
    const uint32_t at[] = {FIB_HEADER_SIZE / FIB_BLOCK, geometry->groups_at,
                           geometry->adjacencies_at,    geometry->ports_at,
                           geometry->stamps_at,         geometry->arena_at};
    const uint64_t room[] = {0, geometry->max_groups * sizeof(uint32_t),
                             geometry->max_adjacencies * sizeof(uint32_t),
                             geometry->max_ports * sizeof(uint32_t),
                             FIB_STAMPS * sizeof(struct fib_stamp)};
    for (uint32_t i = 0; i < sizeof room / sizeof room[0]; i++)
        if (at[i] > at[i + 1] || (uint64_t)(at[i + 1] - at[i]) * FIB_BLOCK < room[i])
            return 0;
    return 1;
}

int bank_geometry_valid(const struct fib_geometry *geometry, uint64_t size)
{
    const struct fib_params params = {
        .max_routes4 = 1,
        .max_routes6 = 1,
        .max_groups = geometry->max_groups,
        .max_adjacencies = geometry->max_adjacencies,
        .engine4 = geometry->engine4,
        .engine6 = geometry->engine6,
    };
    return (uint64_t)geometry->blocks * FIB_BLOCK == size &&
           geometry->max_ports == FIB_MAX_PORTS && geometry->arena_at < geometry->blocks &&
           places_valid(geometry) && bank_size(&params) != 0 &&
           lpm_engine_for(geometry->engine4, 4) != NULL &&
           lpm_engine_for(geometry->engine6, 6) != NULL &&
           geometry->blocks - geometry->arena_at > FIB_GUARD;
}
