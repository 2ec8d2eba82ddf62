/* Reads single things out of the FIB: a match with its prefix, a record, a stamp.
 *
 * For `route get`, `explain`, `fib show`, and for a worker that builds an ICMP error from a
 * port's own addresses; the packet path itself is in read.c. Same rules: any process, copies
 * under the epoch check, bounded, writes nothing.
 */
#include "engines/engine.h"
#include "fib/fib.h"
#include "sync/strategy.h"

#include <errno.h>
#include <string.h>

/* A copying step, run until the strategy trusts it. */
struct step {
    uint32_t directory, id, max;
    void *out;
    uint32_t bytes; /* a multiple of 8 */
};

static int copy_record(const struct fib_reader *reader, const struct step *step)
{
    const uint32_t *word =
        (const void *)fib_at(reader, step->directory, (uint64_t)step->max * sizeof(uint32_t));
    uint32_t block = word == NULL ? 0 : load_relaxed32(word + step->id);
    const uint8_t *record = fib_at(reader, block, FIB_BLOCK);
    if (record == NULL)
        return -ENOENT;
    /* A record at the end of the segment may be shorter than the room asked for. */
    uint64_t left = reader->size - (uint64_t)(record - reader->base);
    uint64_t words = (step->bytes < left ? step->bytes : left) / sizeof(uint64_t);
    memset(step->out, 0, step->bytes);
    for (uint64_t i = 0; i < words; i++) {
        uint64_t value = load_relaxed64((const uint64_t *)(const void *)record + i);
        memcpy((uint8_t *)step->out + i * sizeof value, &value, sizeof value);
    }
    return 0;
}

static int read_record(struct fib_reader *reader, const struct step *step)
{
    struct fib_ticket ticket = {0};
    if (step->id >= step->max)
        return -EINVAL;
    while (ticket.outrun < FIB_RETRIES) {
        int error = fib_read_begin(reader, &ticket);
        if (error != 0)
            return error;
        int result = copy_record(reader, step);
        if (fib_read_end(reader, &ticket))
            return result;
    }
    return -EAGAIN;
}

int fib_read_port(struct fib_reader *reader, uint32_t index, struct fib_port *out)
{
    const struct fib_geometry *geometry = &fib_header_of(reader)->geometry;
    const struct step step = {geometry->ports_at, index, geometry->max_ports, out, sizeof *out};
    return read_record(reader, &step);
}

int fib_read_adjacency(struct fib_reader *reader, uint32_t id, struct fib_adjacency *out)
{
    const struct fib_geometry *geometry = &fib_header_of(reader)->geometry;
    const struct step step = {geometry->adjacencies_at, id, geometry->max_adjacencies, out,
                              sizeof *out};
    return read_record(reader, &step);
}

uint32_t fib_group_room(void)
{
    uint32_t bytes = (uint32_t)offsetof(struct fib_group, bucket) +
                     FIB_MAX_BUCKETS * (uint32_t)sizeof(uint32_t);
    return (bytes + 7) & ~7u;
}

int fib_read_group(struct fib_reader *reader, uint32_t id, struct fib_group *out)
{
    const struct fib_geometry *geometry = &fib_header_of(reader)->geometry;
    const struct step step = {geometry->groups_at, id, geometry->max_groups, out,
                              fib_group_room()};
    int result = read_record(reader, &step);
    if (result != 0)
        return result;
    /* The room behind a smaller group holds its neighbours in the arena: not the caller's. */
    if (out->buckets > FIB_MAX_BUCKETS)
        out->buckets = FIB_MAX_BUCKETS;
    uint64_t used = offsetof(struct fib_group, bucket) + out->buckets * sizeof(uint32_t);
    memset((uint8_t *)out + used, 0, fib_group_room() - used);
    return 0;
}

static uint32_t match_once(const struct fib_reader *reader, const struct fib_key *key,
                           uint32_t *length)
{
    const struct fib_header *header = fib_header_of(reader);
    int v4 = key->family == 4;
    uint32_t root = load_relaxed32(v4 ? &header->roots.root4 : &header->roots.root6);
    return root == 0 ? 0 : reader->engine[v4 ? 0 : 1]->match(reader, root, key, length);
}

int fib_lookup_match(struct fib_reader *reader, const struct fib_key *key, struct route_row *row)
{
    struct fib_ticket ticket = {0};
    memset(row, 0, sizeof *row);
    if (key->family != 4 && key->family != 6)
        return -EINVAL;
    row->family = key->family;
    while (ticket.outrun < FIB_RETRIES) {
        uint32_t length = 0;
        int error = fib_read_begin(reader, &ticket);
        if (error != 0)
            return error;
        uint32_t group = match_once(reader, key, &length);
        if (!fib_read_end(reader, &ticket))
            continue;
        if (group == 0)
            return 0;
        row->nexthop = group;
        row->length = (uint8_t)length;
        memcpy(row->prefix, key->address, length / 8);
        if (length % 8 != 0)
            row->prefix[length / 8] =
                (uint8_t)(key->address[length / 8] & (0xff00u >> (length % 8)));
        return 0;
    }
    return -EAGAIN;
}

const struct fib_header *fib_header_now(const void *segment)
{
    const struct fib_header *first = segment;
    if (first->geometry.banks != 2 || (load_acquire64(&first->sync.swaps) & 1) == 0)
        return first;
    uint64_t bank = (uint64_t)first->geometry.blocks * FIB_BLOCK;
    return (const struct fib_header *)(const void *)((const uint8_t *)segment + bank);
}

/* Where readers have replicas the bank in force is a snapshot for those who lag. */
const struct fib_header *fib_header_newest(struct fib_writer *writer)
{
    if ((writer->sync->flags & SYNC_REPLICA) != 0)
        return fib_working(writer)->header;
    return fib_header_now(writer->segment);
}

uint64_t fib_generation(const struct fib_reader *reader)
{
    if (unlikely(reader->sync != NULL && reader->sync->generation != NULL))
        return reader->sync->generation(reader);
    return load_acquire64(&fib_header_of(reader)->published.generation);
}

int fib_read_published(const struct fib_reader *reader, struct fib_published *out)
{
    const uint64_t *swaps = &fib_reader_words(reader)->swaps;
    uint64_t two = reader->sync != NULL && reader->sync->banks == 2;
    for (uint32_t tries = 0; tries < FIB_RETRIES; tries++) {
        uint64_t chosen = two ? load_acquire64(swaps) : 0;
        const struct fib_header *header =
            (const void *)(reader->segment + (chosen & 1) * reader->size);
        const uint64_t *from = (const void *)&header->published;
        for (uint32_t i = 0; i < sizeof *out / sizeof *from; i++) {
            uint64_t word = load_relaxed64(from + i);
            memcpy((uint8_t *)out + i * sizeof word, &word, sizeof word);
        }
        atomic_thread_fence(memory_order_acquire);
        if (!two || load_relaxed64(swaps) == chosen)
            return 0;
    }
    return -EAGAIN;
}

static int stamp_of(const struct fib_reader *reader, uint64_t bank, uint64_t generation,
                    struct fib_stamp *out)
{
    const uint8_t *base = reader->segment + bank * reader->size;
    const struct fib_header *header = (const void *)base;
    uint64_t at = (uint64_t)header->geometry.stamps_at * FIB_BLOCK;
    if (at + FIB_STAMPS * sizeof(struct fib_stamp) > reader->size)
        return -ENOENT;
    const struct fib_stamp *ring = (const void *)(base + at);
    const struct fib_stamp *stamp = ring + (generation & (FIB_STAMPS - 1));
    if (load_acquire64(&stamp->generation) != generation)
        return -ENOENT;
    for (uint32_t i = 0; i < sizeof *out / 8; i++) {
        uint64_t word = load_relaxed64((const uint64_t *)(const void *)stamp + i);
        memcpy((uint8_t *)out + i * sizeof word, &word, sizeof word);
    }
    /* Whoever changes a stamp empties it first, also one who copies the whole bank. */
    atomic_thread_fence(memory_order_acquire);
    return load_relaxed64(&stamp->generation) == generation ? 0 : -ENOENT;
}

/* In the bank in force, which a reader that lags may find to be too old: then in the other one. */
int fib_read_stamp(const struct fib_reader *reader, uint64_t generation, struct fib_stamp *out)
{
    uint64_t bank = 0;
    if (generation == 0 || generation > fib_generation(reader))
        return -ENOENT;
    if (reader->sync != NULL && reader->sync->banks == 2)
        bank = load_acquire64(&fib_reader_words(reader)->swaps) & 1;
    int result = stamp_of(reader, bank, generation, out);
    if (result != 0 && reader->lags)
        result = stamp_of(reader, !bank, generation, out);
    return result;
}
