/* Builds nodes of the compact engine: painted runs and their list, in fresh blocks.
 *
 * A node is assembled in private memory and stored as relaxed words into fresh blocks, since a
 * reader that began two epochs ago may still be looking at them. Control alone.
 */
#include "engines/compact/write/build.h"
#include "engines/engine.h"

#include <string.h>

uint32_t compact_place(struct fib_writer *writer, const struct compact_image *image,
                       uint32_t front, uint32_t tail_at, uint32_t count)
{
    uint64_t used = tail_at + offsetof(struct compact_tail, entry) + count * sizeof(uint32_t);
    uint32_t block = fib_take(writer, front + blocks_of(used));
    if (block == 0)
        return 0;
    fib_fill(fib_block(writer, block), image->bytes,
             (front * FIB_BLOCK + used + 7) & ~UINT64_C(7));
    RC_FAULT("compact-node-built");
    return block + front;
}

uint32_t compact_build(struct fib_writer *writer, const struct compact_plan *plan)
{
    struct compact_image image;
    struct compact_runs runs;
#if defined(__x86_64__)
    if (cpu_avx512())
        compact_paint_avx512(plan, &runs);
    else
#endif
        compact_paint(plan, &runs);
    uint32_t front = compact_sub_blocks(plan->subs);
    uint32_t tail_at = compact_tail_at(runs.leaves, runs.wide);
    uint8_t *node = image.bytes + front * FIB_BLOCK;
    for (uint32_t k = 0; k < plan->subs; k++)
        memcpy(node - (k + 1) * sizeof(uint64_t), &plan->sub[k], sizeof(uint64_t));
    memcpy(node, runs.word, sizeof runs.word);
    compact_copy(node + COMPACT_LEAVES_AT, runs.leaf, runs.leaves << runs.wide);
    const uint16_t head[4] = {(uint16_t)plan->count, (uint16_t)plan->subs,
                              (uint16_t)plan->background, 0};
    memcpy(node + tail_at, head, sizeof head);
    memcpy(node + tail_at + sizeof head, plan->entry, plan->count * sizeof(uint32_t));
    uint32_t block = compact_place(writer, &image, front, tail_at, plan->count);
    return block == 0 ? 0 : block | (runs.wide ? COMPACT_WIDE : 0);
}

static const uint32_t *words_of(const struct fib_writer *writer, uint32_t word)
{
    return fib_block(writer, compact_block(word));
}

const struct compact_tail *compact_tail_of(const struct fib_writer *writer, uint32_t word)
{
    const uint32_t *words = words_of(writer, word);
    uint32_t leaves = compact_leaves(words[COMPACT_WORDS - 1]);
    return (const void *)((const uint8_t *)words +
                          compact_tail_at(leaves, (word & COMPACT_WIDE) != 0));
}

uint64_t *compact_sub_of(const struct fib_writer *writer, uint32_t word, uint32_t k)
{
    return (uint64_t *)fib_block(writer, compact_block(word)) - (k + 1);
}

struct compact_piece compact_piece_of(const struct fib_writer *writer, uint32_t word)
{
    const struct compact_tail *tail = compact_tail_of(writer, word);
    uint64_t bytes = (uint64_t)((const uint8_t *)tail->entry -
                                (const uint8_t *)words_of(writer, word)) +
                     tail->routes * sizeof(uint32_t);
    uint32_t front = compact_sub_blocks(tail->subs);
    return (struct compact_piece){compact_block(word) - front, front + blocks_of(bytes)};
}

static void fill_page(struct fib_writer *writer, uint32_t block, uint32_t first, int wide)
{
    for (uint32_t i = 0; i < COMPACT_UNIFORM_PAGE; i++) {
        uint8_t node[FIB_BLOCK] = {0};
        uint16_t group = (uint16_t)(first + i), head[4] = {0, 0, group, 0};
        memcpy(node + COMPACT_LEAVES_AT, &group, sizeof group);
        memcpy(node + compact_tail_at(1, (uint32_t)wide), head, sizeof head);
        fib_fill(fib_block(writer, block + i), node, sizeof node);
    }
}

uint32_t compact_uniform(struct fib_writer *writer, struct compact_root *root, int fresh,
                         const struct route_row *row, uint32_t group)
{
    uint32_t page = group / COMPACT_UNIFORM_PAGE, wide = page > 0 ? COMPACT_WIDE : 0;
    uint32_t block = load_relaxed32(&root->uniform_at[page]);
    if (block == 0) {
        struct fib_change change = {.operation = FIB_OP_ROUTE, .row = row, .rows = 1};
        block = fib_take(writer, COMPACT_UNIFORM_PAGE);
        if (block == 0)
            return 0;
        fill_page(writer, block, page * COMPACT_UNIFORM_PAGE, page > 0);
        if (fresh)
            store_relaxed32(&root->uniform_at[page], block);
        else
            fib_store32(writer, &change, &root->uniform_at[page], block);
    }
    return (block + group % COMPACT_UNIFORM_PAGE) | wide;
}
