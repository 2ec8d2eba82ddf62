/* Walks the compact engine: every block and route, in order; what a successor accepts of it.
 *
 * Order: under each first byte its /0../7 (which begin there), then its /8../15 and its /16s
 * merged by address; in a /16 its own list merged with the sub-nodes. A prefix comes before
 * what it covers, which is the order by address, then length.
 *
 * A sweep trusts nothing: a node is looked into only after its block numbers, counts and lists
 * made sense, and the sweep itself finds a block with two owners. Control alone.
 */
#include "engines/compact/compact.h"
#include "engines/compact/flat.h"
#include "engines/engine.h"

#include <errno.h>
#include <string.h>

struct walk {
    const struct fib_writer *writer;
    const struct lpm_visitor *visitor;
    const struct route_row *after; /* NULL: from the start */
    const struct compact_root *root;
    struct route_row row;
};

static int emit(struct walk *walk, uint32_t address, uint32_t length, uint32_t group)
{
    uint32_t big = __builtin_bswap32(address);
    if (length > 32 || group == 0) /* a list that somebody wrote into, seen by a walk that did not
                                      check it as a sweep does */
        return -EBADMSG;
    memcpy(walk->row.prefix, &big, sizeof big);
    walk->row.length = (uint8_t)length;
    walk->row.nexthop = group;
    if (unlikely(walk->after != NULL)) {
        int order = memcmp(walk->row.prefix, walk->after->prefix, sizeof walk->row.prefix);
        if (order < 0 || (order == 0 && length <= walk->after->length))
            return 0;
    }
    return walk->visitor->route(walk->visitor->context, &walk->row);
}

static int visit_blocks(const struct walk *walk, uint32_t block, uint32_t size)
{
    return walk->visitor->blocks == NULL
               ? 0
               : walk->visitor->blocks(walk->visitor->context, block, size);
}

static int inside(const struct walk *walk, uint64_t block, uint64_t size)
{
    const struct fib_geometry *geometry = &walk->writer->header->geometry;
    return block >= geometry->arena_at && block + size <= geometry->blocks;
}

/* Is this a node? Then its piece is reported (a uniform one belongs to its page). */
static int check_node(const struct walk *walk, uint32_t word, uint32_t shortest, uint32_t longest)
{
    uint64_t block = compact_block(word);
    if (!inside(walk, block, FIB_GUARD)) /* the guard lies behind the last node too */
        return -EBADMSG;
    const struct compact_tail *tail = compact_tail_of(walk->writer, word);
    uint64_t room = walk->writer->size - (uint64_t)((const uint8_t *)tail - walk->writer->base);
    if (tail->routes > COMPACT_LIST_MAX || tail->subs > COMPACT_SLOTS ||
        tail->routes * sizeof(uint32_t) + sizeof *tail > room)
        return -EBADMSG;
    struct compact_piece piece = compact_piece_of(walk->writer, word);
    if (piece.block > block || !inside(walk, piece.block, piece.size))
        return -EBADMSG;
    if (walk->visitor->blocks == NULL)
        return 0;
    if (tail->routes == 0 && tail->subs == 0) {
        uint32_t group = tail->background, page = group / COMPACT_UNIFORM_PAGE;
        return group < FIB_MAX_GROUPS && walk->root->uniform_at[page] != 0 &&
                       block == walk->root->uniform_at[page] + group % COMPACT_UNIFORM_PAGE
                   ? 0
                   : -EBADMSG;
    }
    if (!compact_list_valid(tail->entry, tail->routes, shortest, longest))
        return -EBADMSG;
    return visit_blocks(walk, piece.block, piece.size);
}

static int walk_sub(struct walk *walk, uint64_t sub, uint32_t chunk)
{
    uint32_t word = compact_sub_word(sub);
    int stop = check_node(walk, word, 9, 16);
    if (stop != 0)
        return stop;
    const struct compact_tail *tail = compact_tail_of(walk->writer, word);
    if (tail->subs != 0)
        return -EBADMSG;
    for (uint32_t i = 0; i < tail->routes && stop == 0; i++) {
        uint32_t prefix = compact_entry_prefix(tail->entry[i]);
        if (compact_first(prefix) >> 8 != compact_sub_slot(sub))
            return -EBADMSG;
        stop = emit(walk, chunk << 16 | compact_first(prefix), 16 + compact_bits(prefix),
                    compact_entry_group(tail->entry[i]));
    }
    return stop;
}

static int walk_chunk(struct walk *walk, uint32_t chunk)
{
    uint32_t word = walk->root->dir[chunk], k = 0;
    int stop = check_node(walk, word, 0, 8);
    if (stop != 0)
        return stop;
    const struct compact_tail *tail = compact_tail_of(walk->writer, word);
    for (uint32_t i = 0; i <= tail->routes && stop == 0; i++) {
        uint32_t prefix = i < tail->routes ? compact_entry_prefix(tail->entry[i]) : 0;
        uint32_t limit = i < tail->routes ? compact_first(prefix) >> 8 : COMPACT_SLOTS;
        for (; k < tail->subs && stop == 0; k++) {
            uint64_t sub = *compact_sub_of(walk->writer, word, k);
            if (compact_sub_slot(sub) >= limit)
                break;
            stop = walk_sub(walk, sub, chunk);
        }
        if (i < tail->routes && stop == 0)
            stop = emit(walk, chunk << 16 | compact_first(prefix), 16 + compact_bits(prefix),
                        compact_entry_group(tail->entry[i]));
    }
    return stop;
}

/* The list at `block`, checked and reported; NULL with *stop == 0 when there is none. */
static const struct compact_short *list_of(const struct walk *walk, uint32_t block,
                                           uint32_t shortest, uint32_t longest, int *stop)
{
    const struct compact_short *list = fib_block(walk->writer, block);
    *stop = 0;
    if (block == 0)
        return NULL;
    *stop = -EBADMSG;
    if (!inside(walk, block, 1) || list->count > COMPACT_LIST_MAX)
        return NULL;
    uint32_t size = blocks_of((list->count + UINT64_C(1)) * sizeof(uint32_t));
    if (!inside(walk, block, size) ||
        !compact_list_valid(list->entry, list->count, shortest, longest))
        return NULL;
    *stop = visit_blocks(walk, block, size);
    return list;
}

static int emit_short(struct walk *walk, uint32_t entry)
{
    uint32_t prefix = compact_entry_prefix(entry);
    return emit(walk, compact_first(prefix) << 16, compact_bits(prefix),
                compact_entry_group(entry));
}

static int walk_byte(struct walk *walk, uint32_t byte, const struct compact_short *top,
                     uint32_t *top_i)
{
    int stop;
    const struct compact_short *list = list_of(walk, walk->root->short_at[byte], 8, 15, &stop);
    uint32_t i = 0, count = list == NULL ? 0 : list->count;
    for (; stop == 0 && top != NULL && *top_i < top->count; (*top_i)++) {
        if (compact_first(compact_entry_prefix(top->entry[*top_i])) >> 8 != byte)
            break;
        stop = emit_short(walk, top->entry[*top_i]);
    }
    for (uint32_t chunk = byte << 8; chunk < (byte + 1) << 8 && stop == 0; chunk++) {
        for (; i < count && stop == 0; i++) {
            uint32_t first = compact_first(compact_entry_prefix(list->entry[i]));
            if (first >> 8 != byte)
                return -EBADMSG;
            if (first > chunk)
                break;
            stop = emit_short(walk, list->entry[i]);
        }
        if (stop == 0)
            stop = walk_chunk(walk, chunk);
    }
    return stop;
}

/* Pages, table and root of a sweep. */
static int walk_root(const struct walk *walk, uint32_t block)
{
    const struct compact_root *root = walk->root;
    int stop = visit_blocks(walk, block, sizeof *root / FIB_BLOCK);
    for (uint32_t page = 0; page < 128 && stop == 0; page++)
        if (root->uniform_at[page] != 0)
            stop = visit_blocks(walk, root->uniform_at[page], COMPACT_UNIFORM_PAGE);
    int flat = flat_in_use(walk->writer);
    if (stop == 0 && flat != (root->flat_at != 0))
        return -EBADMSG;
    return stop == 0 && flat ? visit_blocks(walk, root->flat_at, FLAT_BLOCKS) : stop;
}

int compact_walk(const struct fib_writer *writer, uint8_t family, const struct route_row *after,
                 const struct lpm_visitor *visitor)
{
    struct walk walk = {.writer = writer, .visitor = visitor, .after = after};
    uint32_t block = load_relaxed32(&writer->header->roots.root4), top_i = 0;
    int stop;
    walk.row.family = family;
    if (block == 0)
        return 0;
    if (!inside(&walk, block, sizeof *walk.root / FIB_BLOCK))
        return -EBADMSG;
    walk.root = fib_block(writer, block);
    stop = walk_root(&walk, block);
    const struct compact_short *top =
        stop != 0 ? NULL : list_of(&walk, walk.root->top_at, 0, 7, &stop);
    uint32_t first = after == NULL ? 0 : after->prefix[0];
    for (uint32_t i = 0; top != NULL && i < top->count; i++)
        top_i += compact_first(compact_entry_prefix(top->entry[i])) >> 8 < first;
    for (uint32_t byte = first; byte < 256 && stop == 0; byte++)
        stop = walk_byte(&walk, byte, top, &top_i);
    return stop;
}
