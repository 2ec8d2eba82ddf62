/* Groups, adjacencies and ports: immutable records, each reached through one directory word.
 *
 *    group id --> groups[id] --> struct fib_group --bucket--> adjacencies[id] --> adjacency
 *
 * Setting an id that is in use replaces its record beside the old one and stores the word, so a
 * link or a neighbour that changes costs one store whatever the number of routes behind it.
 * Control alone.
 */
#include "bank/bank.h"

#include <errno.h>
#include <string.h>

static uint64_t group_bytes(uint32_t buckets)
{
    return offsetof(struct fib_group, bucket) + (uint64_t)buckets * sizeof(uint32_t);
}

uint32_t *fib_directory(const struct fib_writer *writer, uint32_t operation)
{
    const struct fib_geometry *geometry = &writer->header->geometry;
    switch (operation) {
    case FIB_OP_GROUP:
        return fib_block(writer, geometry->groups_at);
    case FIB_OP_ADJACENCY:
        return fib_block(writer, geometry->adjacencies_at);
    default:
        return fib_block(writer, geometry->ports_at);
    }
}

uint32_t fib_record_blocks(const struct fib_writer *writer, uint32_t operation, uint32_t block)
{
    const struct fib_group *group = fib_block(writer, block);
    switch (operation) {
    case FIB_OP_GROUP:
        return blocks_of(group_bytes(group->buckets));
    case FIB_OP_ADJACENCY:
        return blocks_of(sizeof(struct fib_adjacency));
    default:
        return blocks_of(sizeof(struct fib_port));
    }
}

/* Before a record that is there changes or goes: lets every walk end that may have come by an
 * arrow turned away since. */
static void grace_for_record(struct fib_writer *writer, uint32_t operation)
{
    if (operation == FIB_OP_PORT) /* no arrow of a lookup leads to a port */
        return;
    fib_grace_since(writer, writer->routes_turned_at);
    if (operation == FIB_OP_ADJACENCY)
        fib_grace_since(writer, writer->groups_turned_at);
}

/* 1 when the word changed, 0 when the record was already so, or -ENOSPC. */
static int set_record(struct fib_writer *writer, uint32_t operation, uint32_t id,
                      const void *record, uint64_t bytes)
{
    struct fib_change change = {.operation = operation, .id = id};
    uint32_t *word = &fib_directory(writer, operation)[id];
    uint32_t old = load_relaxed32(word), size = blocks_of(bytes);
    uint32_t old_size = old == 0 ? 0 : fib_record_blocks(writer, operation, old);
    if (old_size == size && memcmp(fib_block(writer, old), record, bytes) == 0)
        return 0;
    if (old != 0)
        grace_for_record(writer, operation);
    fib_make_room(writer);
    uint32_t block = fib_take(writer, size);
    if (block == 0)
        return -ENOSPC;
    fib_fill(fib_block(writer, block), record, bytes);
    RC_FAULT("record-built");
    fib_store32(writer, &change, word, block);
    if (old != 0)
        fib_retire(writer, old, old_size);
    return 1;
}

static void clear_record(struct fib_writer *writer, uint32_t operation, uint32_t id)
{
    struct fib_change change = {.operation = operation, .id = id};
    uint32_t *word = &fib_directory(writer, operation)[id];
    uint32_t old = load_relaxed32(word);
    uint32_t size = fib_record_blocks(writer, operation, old);
    grace_for_record(writer, operation);
    fib_make_room(writer);
    fib_store32(writer, &change, word, 0);
    fib_retire(writer, old, size);
}

static int group_valid(const struct fib_writer *writer, const struct fib_group *group)
{
    const uint32_t *adjacency = fib_directory(writer, FIB_OP_ADJACENCY);
    uint32_t buckets = group->buckets;
    if (group->id == 0 || group->id >= writer->group_use.max || group->kind == FIB_KIND_NONE ||
        group->kind > FIB_KIND_BROADCAST)
        return 0;
    if (buckets > FIB_MAX_BUCKETS || (buckets & (buckets - 1)) != 0)
        return 0;
    if (buckets == 0 && (group->kind == FIB_KIND_FORWARD || group->kind == FIB_KIND_GLEAN))
        return 0;
    for (uint32_t i = 0; i < buckets; i++) {
        uint32_t id = group->bucket[i];
        if (id == 0 || id >= writer->adjacency_use.max || load_relaxed32(&adjacency[id]) == 0)
            return 0;
    }
    return 1;
}

int bank_set_group(struct fib_writer *writer, const struct fib_group *group)
{
    uint64_t aligned[(sizeof(struct fib_group) + FIB_MAX_BUCKETS * sizeof(uint32_t)) / 8 + 1];
    uint32_t before[FIB_MAX_BUCKETS], n_before = 0;
    if (!group_valid(writer, group))
        return -EINVAL;
    uint32_t old = load_relaxed32(&fib_directory(writer, FIB_OP_GROUP)[group->id]);
    if (old != 0) {
        const struct fib_group *record = fib_block(writer, old);
        n_before = record->buckets;
        memcpy(before, record->bucket, n_before * sizeof before[0]);
    }
    /* Padded with zeros to whole words, which is how records are stored and compared. */
    uint64_t bytes = group_bytes(group->buckets);
    memset(aligned, 0, sizeof aligned);
    memcpy(aligned, group, bytes);
    int changed = set_record(writer, FIB_OP_GROUP, group->id, aligned, (bytes + 7) & ~UINT64_C(7));
    if (changed <= 0)
        return changed;
    for (uint32_t i = 0; i < group->buckets; i++)
        writer->adjacency_use.count[group->bucket[i]]++;
    for (uint32_t i = 0; i < n_before; i++)
        writer->adjacency_use.count[before[i]]--;
    writer->groups += old == 0;
    return 0;
}

int bank_clear_group(struct fib_writer *writer, uint32_t id)
{
    if (id == 0 || id >= writer->group_use.max)
        return -EINVAL;
    uint32_t block = load_relaxed32(&fib_directory(writer, FIB_OP_GROUP)[id]);
    if (block == 0)
        return -ENOENT;
    if (writer->group_use.count[id] != 0)
        return -EBUSY;
    clear_record(writer, FIB_OP_GROUP, id);
    /* Retired, hence untouched until the next bump: its buckets can still be read. */
    const struct fib_group *record = fib_block(writer, block);
    for (uint32_t i = 0; i < record->buckets; i++)
        writer->adjacency_use.count[record->bucket[i]]--;
    writer->groups--;
    return 0;
}

int bank_set_adjacency(struct fib_writer *writer, const struct fib_adjacency *adjacency)
{
    uint32_t id = adjacency->id;
    if (id == 0 || id >= writer->adjacency_use.max ||
        adjacency->port >= writer->header->geometry.max_ports ||
        adjacency->state > ADJACENCY_INCOMPLETE ||
        (adjacency->family != 0 && adjacency->family != 4 && adjacency->family != 6))
        return -EINVAL;
    int fresh = load_relaxed32(&fib_directory(writer, FIB_OP_ADJACENCY)[id]) == 0;
    int changed = set_record(writer, FIB_OP_ADJACENCY, id, adjacency, sizeof *adjacency);
    if (changed > 0)
        writer->adjacencies += (uint32_t)fresh;
    return changed < 0 ? changed : 0;
}

int bank_clear_adjacency(struct fib_writer *writer, uint32_t id)
{
    if (id == 0 || id >= writer->adjacency_use.max)
        return -EINVAL;
    if (load_relaxed32(&fib_directory(writer, FIB_OP_ADJACENCY)[id]) == 0)
        return -ENOENT;
    if (writer->adjacency_use.count[id] != 0)
        return -EBUSY;
    clear_record(writer, FIB_OP_ADJACENCY, id);
    writer->adjacencies--;
    return 0;
}

int bank_set_port(struct fib_writer *writer, const struct fib_port *port)
{
    if (port->index >= writer->header->geometry.max_ports || port->addresses > FIB_PORT_ADDRESSES)
        return -EINVAL;
    int changed = set_record(writer, FIB_OP_PORT, port->index, port, sizeof *port);
    return changed < 0 ? changed : 0;
}

int bank_clear_port(struct fib_writer *writer, uint32_t index)
{
    if (index >= writer->header->geometry.max_ports)
        return -EINVAL;
    if (load_relaxed32(&fib_directory(writer, FIB_OP_PORT)[index]) == 0)
        return -ENOENT;
    clear_record(writer, FIB_OP_PORT, index);
    return 0;
}
