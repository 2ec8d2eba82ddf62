/* Grace periods: when retired memory may be used again, and when a record may change.
 *
 * The rules are in layout/fib_layout.h: what is retired at epoch r is reused at epoch >= r + 2, and
 * what an arrow turned away from at epoch r is changed at epoch >= r + 2. Bumping
 * never waits for anybody; it only makes readers whose batch spans two bumps look up again. So
 * memory and ids can always be had back, and a stopped reader holds up nothing.
 */
#include "arena/writer.h"

void fib_bump(struct fib_writer *writer)
{
    RC_FAULT("before-bump");
    writer->epoch++;
    store_release64(&writer->header->published.epoch, writer->epoch);
    /* Between the epoch and the first store into a reused block: a reader that meets such a
     * store, then fences, must find this epoch (Boehm, MSPC 2012; x86 needs no instruction). */
    atomic_thread_fence(memory_order_release);
    RC_FAULT("bumped");
    arena_turn(&writer->arena, writer->epoch);
    if (unlikely(writer->reuse_at_once)) /* this epoch's as well, see sync/table.c */
        arena_turn(&writer->arena, writer->epoch + 1);
}

void fib_make_room(struct fib_writer *writer)
{
    if (unlikely(arena_wants_turn(&writer->arena, writer->epoch)))
        fib_bump(writer);
}

uint32_t fib_take(struct fib_writer *writer, uint32_t size)
{
    struct fib_arena *arena = &writer->arena;
    uint32_t block = arena_take(arena, size);
    if (likely(block != 0))
        return block;
    /* Two epochs bring back all that is retired; then neighbours are merged. Not again and
     * again for the last piece, though, while there is ground to open. */
    if (arena_worth_merging(arena) || arena->opened == arena->end) {
        if (arena_retired(arena) > 0) {
            fib_bump(writer);
            fib_bump(writer);
        }
        arena_merge(arena);
        block = arena_take(arena, size);
    }
    if (block == 0 && arena_open_ground(arena, size))
        block = arena_take(arena, size);
    return block;
}

void fib_retire(struct fib_writer *writer, uint32_t block, uint32_t size)
{
    /* What is retired cannot be reached any more, so an epoch may be spent at any time. */
    if (unlikely(arena_retire_full(&writer->arena, writer->epoch)))
        fib_bump(writer);
    arena_retire(&writer->arena, writer->epoch, block, size);
}

uint64_t fib_retired_most(const struct fib_geometry *geometry)
{
    uint64_t most = UINT64_C(2) * ARENA_RETIRED * ARENA_SIZES;
    uint64_t arena = geometry->blocks - geometry->arena_at;
    return (most < arena ? most : arena) * FIB_BLOCK;
}

void fib_grace_since(struct fib_writer *writer, uint64_t epoch)
{
    while (writer->epoch < epoch + 2 && !writer->reuse_at_once)
        fib_bump(writer);
}
