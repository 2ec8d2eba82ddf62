/* The root piece of the compact engine: made with the first route, there to stay.
 *
 * A fresh root is filled and given its first routes before the root word names it, so an update
 * that makes one is a single store too. Control alone.
 */
#include "engines/compact/compact.h"
#include "engines/compact/flat.h"
#include "engines/engine.h"

#include <errno.h>
#include <string.h>

static const uint32_t ROOT_BLOCKS = sizeof(struct compact_root) / FIB_BLOCK;

static void zero(struct fib_writer *writer, uint32_t block, uint32_t size)
{
    uint64_t *word = fib_block(writer, block);
    for (uint64_t i = 0; i < (uint64_t)size * FIB_BLOCK / sizeof *word; i++)
        store_relaxed64(&word[i], 0);
}

/* The largest piece first: what a failing attempt gave back then fits the next one again. */
static int make_root(struct fib_writer *writer, struct compact_target *target)
{
    static const struct route_row none = {.family = 4};
    int is_flat = flat_in_use(writer);
    uint32_t flat = is_flat ? fib_take(writer, FLAT_BLOCKS) : 0;
    uint32_t block = is_flat && flat == 0 ? 0 : fib_take(writer, ROOT_BLOCKS);
    if (block == 0) {
        if (flat != 0)
            arena_give(&writer->arena, flat, FLAT_BLOCKS);
        return -ENOSPC;
    }
    struct compact_root *root = fib_block(writer, block);
    zero(writer, block, offsetof(struct compact_root, todo) / FIB_BLOCK);
    store_relaxed32(&root->flat_at, flat);
    *target = (struct compact_target){root, block, 1};
    uint32_t word = compact_uniform(writer, root, 1, &none, 0);
    if (word == 0) {
        compact_target_give(writer, target);
        return -ENOSPC;
    }
    if (flat != 0)
        zero(writer, flat, FLAT_BLOCKS);
    for (uint32_t i = 0; i < COMPACT_CHUNKS; i++)
        store_relaxed32(&root->dir[i], word);
    RC_FAULT("compact-root-built");
    return 0;
}

int compact_target(struct fib_writer *writer, struct compact_target *target)
{
    uint32_t block = load_relaxed32(&writer->header->roots.root4);
    if (block == 0)
        return make_root(writer, target);
    *target = (struct compact_target){fib_block(writer, block), block, 0};
    return 0;
}

void compact_target_give(struct fib_writer *writer, const struct compact_target *target)
{
    if (!target->fresh)
        return;
    for (uint32_t page = 0; page < 128; page++)
        if (target->root->uniform_at[page] != 0)
            arena_give(&writer->arena, target->root->uniform_at[page], COMPACT_UNIFORM_PAGE);
    if (target->root->flat_at != 0)
        arena_give(&writer->arena, target->root->flat_at, FLAT_BLOCKS);
    arena_give(&writer->arena, target->block, ROOT_BLOCKS);
}

/* Blocks for a table of `routes`. The real table of 2023 (901,899 prefixes) lives in 105,000
 * blocks; random /32 are the worst case that has to load: a sub-node of one block each, and
 * 65,536 nodes of four that name them; half of those twice while a /1 is published, and what
 * their growth left in pieces too small for them. Beside: the root, all uniform pages. */
uint64_t compact_blocks_for(uint8_t family, uint32_t routes)
{
    uint64_t chunks = routes < COMPACT_CHUNKS ? routes : COMPACT_CHUNKS;
    (void)family;
    return ROOT_BLOCKS + 128 * COMPACT_UNIFORM_PAGE + (uint64_t)routes + (uint64_t)routes / 4 +
           chunks * 6 + 512;
}
