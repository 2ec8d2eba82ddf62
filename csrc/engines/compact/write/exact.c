/* The group of exactly one prefix, whatever somebody may have written into the segment: every number
 * is checked before it is followed. Control alone.
 */
#include "engines/compact/compact.h"

static uint32_t chunk_of(const struct route_row *row)
{
    return (uint32_t)row->prefix[0] << 8 | row->prefix[1];
}

static uint32_t prefix_of(const struct route_row *row)
{
    return compact_prefix((uint32_t)row->prefix[2] << 8 | row->prefix[3], row->length - 16u);
}

/* The tail of a node whose number was read out of the segment, NULL when that leads out of it. */
static const struct compact_tail *tail_inside(const struct fib_writer *writer, uint32_t word)
{
    uint32_t block = compact_block(word);
    if (!fib_inside(writer, block, FIB_GUARD * FIB_BLOCK))
        return NULL;
    const struct compact_tail *tail = compact_tail_of(writer, word);
    uint64_t bytes = (uint64_t)((const uint8_t *)tail - (const uint8_t *)fib_block(writer, block)) +
                     sizeof *tail + tail->routes * sizeof(uint32_t);
    if (tail->routes > COMPACT_LIST_MAX || tail->subs > COMPACT_SLOTS ||
        !fib_inside(writer, block, bytes) ||
        block - writer->arena.first < compact_sub_blocks(tail->subs))
        return NULL;
    return tail;
}

static uint32_t exact_short(const struct fib_writer *writer, const struct compact_root *root,
                            const struct route_row *row)
{
    uint32_t at = row->length < 8 ? root->top_at : root->short_at[row->prefix[0]];
    const struct compact_short *list = fib_block(writer, at);
    if (!fib_inside(writer, at, sizeof *list) || list->count > COMPACT_LIST_MAX ||
        !fib_inside(writer, at, (list->count + UINT64_C(1)) * sizeof(uint32_t)))
        return 0;
    return compact_list_get(list->entry, list->count, compact_prefix(chunk_of(row), row->length));
}

uint32_t compact_exact(const struct fib_writer *writer, const struct route_row *row)
{
    uint32_t block = load_relaxed32(&writer->header->roots.root4);
    if (block == 0 || !fib_inside(writer, block, sizeof(struct compact_root)))
        return 0;
    const struct compact_root *root = fib_block(writer, block);
    if (row->length < 16)
        return exact_short(writer, root, row);
    uint32_t word = root->dir[chunk_of(row)];
    const struct compact_tail *tail = tail_inside(writer, word);
    for (uint32_t k = 0; tail != NULL && row->length > 24 && k <= tail->subs; k++) {
        if (k == tail->subs)
            return 0;
        uint64_t sub = *compact_sub_of(writer, word, k);
        if (compact_sub_slot(sub) == row->prefix[2]) {
            tail = tail_inside(writer, compact_sub_word(sub));
            break;
        }
    }
    return tail == NULL ? 0 : compact_list_get(tail->entry, tail->routes, prefix_of(row));
}
