/* Taking over: what a new writer of one bank learns from the bank alone.
 *
 * bank_take_over() stores an open intent's word again, spends two epochs (nobody may still be
 * looking at what the dead writer had retired), then sweeps: everything reachable from the
 * roots and the directories is marked live and counted, everything else is free. The same code
 * opens a fresh segment and one whose writer was killed at any instruction.
 *
 * Nothing found here is trusted: a block outside the arena or with two owners, a group id out
 * of range, a record that is larger than its block makes the segment unusable (-EBADMSG), and
 * the caller builds a new one from the RIB.
 */
#include <errno.h>
#include <stdlib.h>

#include "bank/bank.h"
#include "engines/engine.h"
#include "engines/table.h"

static int sweep_blocks(void *context, uint32_t block, uint32_t size)
{
    struct fib_writer *writer = context;
    if (!arena_mark(&writer->arena, block, size))
        return -EBADMSG;
    writer->arena.live += size;
    return 0;
}

static int sweep_route(void *context, const struct route_row *row)
{
    struct fib_writer *writer = context;
    if (row->nexthop == 0 || row->nexthop >= writer->group_use.max ||
        load_relaxed32(&fib_directory(writer, FIB_OP_GROUP)[row->nexthop]) == 0)
        return -EBADMSG;
    writer->group_use.count[row->nexthop]++;
    writer->routes[family_index(row->family)]++;
    writer->digest += fib_route_digest(row, row->nexthop);
    return 0;
}

static int port_sound(const struct fib_port *port, uint32_t id)
{
    if (port->index != id || port->addresses > FIB_PORT_ADDRESSES)
        return 0;
    for (uint32_t i = 0; i < port->addresses; i++) {
        const struct fib_port_address *own = &port->address[i];
        if ((own->family != 4 && own->family != 6) || own->length > (own->family == 4 ? 32 : 128))
            return 0;
    }
    return 1;
}

/* Whether the functions that set records would have taken this one under this id: the next control
 * makes values of them. */
static int record_sound(const struct fib_writer *writer, uint32_t operation, uint32_t id,
                        const void *record)
{
    const struct fib_group *group = record;
    const struct fib_adjacency *adjacency = record;
    switch (operation) {
    case FIB_OP_GROUP:
        return group->id == id && group->kind != FIB_KIND_NONE &&
               group->kind <= FIB_KIND_BROADCAST && group->buckets <= FIB_MAX_BUCKETS &&
               (group->buckets & (group->buckets - 1)) == 0;
    case FIB_OP_ADJACENCY:
        return adjacency->id == id && adjacency->state <= ADJACENCY_INCOMPLETE &&
               adjacency->port < writer->header->geometry.max_ports &&
               (adjacency->family == 0 || adjacency->family == 4 || adjacency->family == 6);
    default:
        return port_sound(record, id);
    }
}

/* A record's own idea of its size is only trusted inside the segment. */
static int sweep_record(struct fib_writer *writer, uint32_t operation, uint32_t id, uint32_t block)
{
    const struct fib_geometry *geometry = &writer->header->geometry;
    if (block < geometry->arena_at || block >= geometry->blocks - FIB_GUARD ||
        !record_sound(writer, operation, id, fib_block(writer, block)))
        return -EBADMSG;
    return sweep_blocks(writer, block, fib_record_blocks(writer, operation, block));
}

static int sweep_directory(struct fib_writer *writer, uint32_t operation, uint32_t max,
                           uint32_t *found)
{
    const uint32_t *word = fib_directory(writer, operation);
    for (uint32_t id = 0; id < max; id++) {
        uint32_t block = load_relaxed32(&word[id]);
        if (block == 0)
            continue;
        if (sweep_record(writer, operation, id, block) != 0)
            return -EBADMSG;
        (*found)++;
    }
    return 0;
}

static int sweep_buckets(struct fib_writer *writer)
{
    const uint32_t *word = fib_directory(writer, FIB_OP_GROUP);
    const uint32_t *adjacency = fib_directory(writer, FIB_OP_ADJACENCY);
    for (uint32_t id = 1; id < writer->group_use.max; id++) {
        uint32_t block = load_relaxed32(&word[id]);
        const struct fib_group *group = fib_block(writer, block);
        for (uint32_t i = 0; block != 0 && i < group->buckets; i++) {
            uint32_t named = group->bucket[i];
            if (named == 0 || named >= writer->adjacency_use.max ||
                load_relaxed32(&adjacency[named]) == 0)
                return -EBADMSG;
            writer->adjacency_use.count[named]++;
        }
    }
    return 0;
}

static int sweep(struct fib_writer *writer)
{
    const struct lpm_visitor visitor = {sweep_blocks, sweep_route, writer, 0};
    const struct fib_geometry *geometry = &writer->header->geometry;
    uint32_t ports = 0;

    arena_unmark_all(&writer->arena);
    if (sweep_directory(writer, FIB_OP_GROUP, geometry->max_groups, &writer->groups) != 0 ||
        sweep_directory(writer, FIB_OP_ADJACENCY, geometry->max_adjacencies,
                        &writer->adjacencies) != 0 ||
        sweep_directory(writer, FIB_OP_PORT, geometry->max_ports, &ports) != 0 ||
        sweep_buckets(writer) != 0)
        return -EBADMSG;
    for (uint8_t family = 4; family <= 6; family += 2)
        if (writer->engine[family_index(family)]->walk(writer, family, NULL, &visitor) != 0)
            return -EBADMSG;
    return 0;
}

static int private_open(struct fib_writer *writer)
{
    const struct fib_geometry *geometry = &writer->header->geometry;
    return arena_open(&writer->arena, writer->base, geometry->arena_at,
                      geometry->blocks - FIB_GUARD) != 0 ||
                   references_open(&writer->group_use, geometry->max_groups) != 0 ||
                   references_open(&writer->adjacency_use, geometry->max_adjacencies) != 0
               ? -ENOMEM
               : 0;
}

int references_open(struct fib_references *use, uint32_t max)
{
    use->count = calloc(max, sizeof *use->count);
    use->max = max;
    return use->count == NULL ? -ENOMEM : 0;
}

void references_close(struct fib_references *use)
{
    free(use->count);
}

int bank_take_over(struct fib_writer *writer, struct fib_recovery *found)
{
    struct fib_header *header = writer->header;
    const struct fib_geometry *geometry = &header->geometry;
    if (private_open(writer) != 0)
        return -ENOMEM;
    int redone = fib_redo(writer);
    if (redone < 0)
        return redone;
    found->redone = (uint32_t)redone;
    uint32_t high_water = load_relaxed32(&header->published.high_water);
    if (high_water >= geometry->arena_at && high_water < geometry->blocks)
        writer->arena.opened = high_water + 1;
    writer->epoch = load_relaxed64(&header->published.epoch);
    fib_bump(writer);
    fib_bump(writer);
    if (sweep(writer) != 0)
        return -EBADMSG;
    arena_rebuild(&writer->arena);
    if (redone || !fib_accounted(writer))
        writer->unfinished = 1;
    found->reclaimed = writer->arena.opened - geometry->arena_at - writer->arena.live;
    found->routes = (uint64_t)writer->routes[0] + writer->routes[1];
    fib_account(writer);
    return 0;
}

int bank_examine(const struct fib_writer *bank)
{
    struct fib_writer *other = bank_begin(bank->segment, bank->base);
    int error = other == NULL ? -ENOMEM : private_open(other);
    if (error == 0 &&
        ((load_relaxed64(&other->header->intent.sequence) & 1) != 0 || sweep(other) != 0))
        error = -EBADMSG;
    bank_close(other);
    return error;
}

static int engines_open(struct fib_writer *bank)
{
    for (uint8_t family = 4; family <= 6; family += 2) {
        const struct lpm_engine *engine = bank->engine[family_index(family)];
        int error = engine->open == NULL ? 0 : engine->open(bank, family);
        if (error != 0)
            return error;
        bank->derive[family_index(family)] = engine->derive;
    }
    return 0;
}

struct fib_writer *bank_begin(uint8_t *segment, uint8_t *base)
{
    struct fib_writer *bank = calloc(1, sizeof *bank);
    if (bank == NULL)
        return NULL;
    bank->segment = segment;
    bank->base = base;
    bank->header = (struct fib_header *)(void *)base;
    bank->size = (uint64_t)bank->header->geometry.blocks * FIB_BLOCK;
    bank->engine[0] = lpm_engine(bank->header->geometry.engine4);
    bank->engine[1] = lpm_engine(bank->header->geometry.engine6);
    if (engines_open(bank) != 0) {
        bank_close(bank);
        return NULL;
    }
    return bank;
}

struct fib_writer *bank_open(uint8_t *base, struct fib_recovery *found)
{
    struct fib_writer *bank = bank_begin(base, base);
    if (bank != NULL && bank_take_over(bank, found) != 0) {
        bank_close(bank);
        return NULL;
    }
    return bank;
}

void bank_close(struct fib_writer *bank)
{
    if (bank == NULL)
        return;
    for (uint8_t family = 4; family <= 6; family += 2)
        if (bank->engine[family_index(family)]->close != NULL)
            bank->engine[family_index(family)]->close(bank, family);
    references_close(&bank->group_use);
    references_close(&bank->adjacency_use);
    arena_close(&bank->arena);
    free(bank);
}

int bank_reset(struct fib_writer *bank)
{
    struct fib_recovery found = {0};
    references_close(&bank->group_use);
    references_close(&bank->adjacency_use);
    arena_close(&bank->arena);
    bank->routes[0] = bank->routes[1] = bank->groups = bank->adjacencies = bank->changes = 0;
    bank->seen = 0;
    bank->digest = bank->routes_turned_at = bank->groups_turned_at = 0;
    return bank_take_over(bank, &found);
}

