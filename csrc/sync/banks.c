/* Which table of the segment is meant, and one made equal to the other.
 *
 * Most strategies have one. `double` and `message` have two, laid out alike, one behind the
 * other; the low bit of `swaps` says which one readers use. The other one is the writer's.
 */
#include "sync/strategy.h"

#include <string.h>

static int by_bank(const struct fib_header *first)
{
    return first->geometry.banks == 2;
}

const struct fib_header *fib_header_now(const void *segment)
{
    const struct fib_header *first = segment;
    if (!by_bank(first) || (load_acquire64(&first->sync.swaps) & 1) == 0)
        return first;
    uint64_t bank = (uint64_t)first->geometry.blocks * FIB_BLOCK;
    return (const struct fib_header *)(const void *)((const uint8_t *)segment + bank);
}

int fib_banks_valid(const void *segment, uint64_t size)
{
    const struct fib_geometry *geometry = &((const struct fib_header *)segment)->geometry;
    const struct fib_sync *sync = fib_sync_of(geometry->strategy);
    uint32_t ring = geometry->strategy == FIB_STRATEGY_MESSAGE ? MESSAGE_RING_BLOCKS : 0;
    uint64_t bank = (uint64_t)geometry->blocks * FIB_BLOCK;
    if (sync == NULL || geometry->banks != sync->banks || geometry->ring_blocks != ring ||
        bank < FIB_HEADER_SIZE || bank * geometry->banks + (uint64_t)ring * FIB_BLOCK > size)
        return 0;
    const struct fib_header *second = (const void *)((const uint8_t *)segment + bank);
    return geometry->banks == 1 || memcmp(geometry, &second->geometry, sizeof *geometry) == 0;
}

/* A bank's number counts while readers use that bank. One who was stopped between the two loads
 * could meet the number of a publish that is still to come, in a bank that is the writer's by
 * then: as everywhere, `swaps` has to be the same after. Outrun for ever by a writer that never
 * rests: the last number is at most one publish early. */
static uint64_t generation_in_force(const struct fib_reader *reader)
{
    const struct fib_sync_words *words = fib_reader_words(reader);
    uint64_t generation = 0, swaps = 0;
    for (uint32_t tries = 0; tries < FIB_RETRIES; tries++) {
        swaps = load_acquire64(&words->swaps);
        const uint8_t *bank = reader->segment + (swaps & 1) * reader->size;
        const struct fib_header *header = (const void *)bank;
        generation = load_relaxed64(&header->published.generation);
        atomic_thread_fence(memory_order_acquire);
        if (likely(load_relaxed64(&words->swaps) == swaps))
            break;
    }
    return generation;
}

/* `message` commits to the ring before it stores the word, so a replica can be ahead of it. */
static uint64_t generation_told(const struct fib_reader *reader)
{
    uint64_t told = load_acquire64(&fib_reader_words(reader)->generation);
    uint64_t own = reader->base == reader->segment
                       ? 0
                       : load_relaxed64(&fib_header_of(reader)->published.generation);
    return own > told ? own : told;
}

uint64_t fib_generation(const struct fib_reader *reader)
{
    if (unlikely(reader->strategy == FIB_STRATEGY_DOUBLE))
        return generation_in_force(reader);
    if (unlikely(reader->strategy == FIB_STRATEGY_MESSAGE))
        return generation_told(reader);
    return load_acquire64(&fib_header_of(reader)->published.generation);
}

/* Under `message` the bank in force is a snapshot for those who lag, up to half a ring old. */
const struct fib_header *fib_header_newest(struct fib_writer *writer)
{
    if (writer->sync->id == FIB_STRATEGY_MESSAGE)
        return fib_working(writer)->header;
    return fib_header_now(writer->segment);
}

struct fib_writer *fib_working(struct fib_writer *writer)
{
    if (writer->twin == NULL)
        return writer;
    return load_relaxed64(&fib_writer_words(writer)->swaps) & 1 ? writer : writer->twin;
}

/* Whole words on both sides: a reader that was left behind may still be looking at `to`, and a
 * reader that makes its replica may find `from` being changed (and will see that it was). */
static void copy_words(uint8_t *to, const uint8_t *from, uint64_t bytes)
{
    uint64_t *target = (uint64_t *)(void *)to;
    const uint64_t *source = (const uint64_t *)(const void *)from;
    for (uint64_t i = 0; i < bytes / sizeof *source; i++)
        store_relaxed64(&target[i], load_relaxed64(&source[i]));
}

/* As bank_publish does with one: nobody may take half of two stamps for one. */
static void copy_stamps(struct fib_stamp *to, const struct fib_stamp *from)
{
    enum { REST = offsetof(struct fib_stamp, update_id) };
    for (uint32_t i = 0; i < FIB_STAMPS; i++)
        store_relaxed64(&to[i].generation, 0);
    atomic_thread_fence(memory_order_release);
    for (uint32_t i = 0; i < FIB_STAMPS; i++) {
        copy_words((uint8_t *)&to[i] + REST, (const uint8_t *)&from[i] + REST, sizeof *to - REST);
        if ((i & (i + 1)) == 0) /* a point after 1, 2, 4, 8 .. stamps */
            RC_FAULT("bank-stamp-copied");
        store_release64(&to[i].generation, load_relaxed64(&from[i].generation));
    }
}

void bank_copy(uint8_t *to, const uint8_t *from, uint64_t size)
{
    const struct fib_header *header = (const void *)from;
    uint64_t used = ((uint64_t)load_relaxed32(&header->published.high_water) + 1) * FIB_BLOCK;
    uint64_t least = (uint64_t)load_relaxed32(&header->geometry.arena_at) * FIB_BLOCK;
    uint64_t stamps = (uint64_t)load_relaxed32(&header->geometry.stamps_at) * FIB_BLOCK;
    uint64_t behind = stamps + FIB_STAMPS * sizeof(struct fib_stamp);
    uint64_t lines[2] = {offsetof(struct fib_header, geometry), offsetof(struct fib_header, sync)};
    if (used < least)
        used = least;
    if (used > size)
        used = size;
    copy_words(to + lines[0], from + lines[0], lines[1] - lines[0]);
    RC_FAULT("bank-header-copied");
    if (stamps < FIB_HEADER_SIZE || behind > used)
        return; /* not what was attached: whoever opens the copy refuses it */
    copy_stamps((void *)(to + stamps), (const void *)(from + stamps));
    copy_words(to + FIB_HEADER_SIZE, from + FIB_HEADER_SIZE, stamps - FIB_HEADER_SIZE);
    copy_words(to + behind, from + behind, used - behind);
    RC_FAULT("bank-copied");
}
