/* Which table of the segment is meant, and whether all are there.
 *
 * Most strategies have one. Some have two, laid out alike, one behind the other; the low bit of
 * `swaps` says which one readers use. The other one is the writer's.
 */
#include "sync/strategy.h"

int fib_banks_valid(const void *segment, uint64_t size)
{
    const struct fib_geometry *geometry = &((const struct fib_header *)segment)->geometry;
    const struct fib_sync *sync = fib_sync_of(geometry->strategy);
    uint32_t ring = sync == NULL ? 0 : sync->ring_blocks;
    uint64_t bank = (uint64_t)geometry->blocks * FIB_BLOCK;
    if (sync == NULL || geometry->banks != sync->banks || geometry->ring_blocks != ring ||
        bank < FIB_HEADER_SIZE || bank * geometry->banks + (uint64_t)ring * FIB_BLOCK > size)
        return 0;
    const struct fib_header *second = (const void *)((const uint8_t *)segment + bank);
    return geometry->banks == 1 || memcmp(geometry, &second->geometry, sizeof *geometry) == 0;
}

int fib_tables_valid(const void *segment)
{
    const struct fib_header *header = segment;
    const struct fib_geometry *geometry = &header->geometry;
    return fib_banks_valid(segment, header->identity.segment_size) &&
           bank_geometry_valid(geometry, (uint64_t)geometry->blocks * FIB_BLOCK);
}

struct fib_writer *fib_working(struct fib_writer *writer)
{
    if (writer->twin == NULL)
        return writer;
    return load_relaxed64(&fib_writer_words(writer)->swaps) & 1 ? writer : writer->twin;
}
