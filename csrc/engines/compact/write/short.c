/* Changes routes shorter than /16 in the compact engine: up to 2^15 nodes, one intent.
 *
 * A prefix of /1../15 is pushed into the nodes of the /16s it covers, so all of them change with
 * its list. Everything is built beside, then the words are stored from a word list kept in the
 * root piece for the successor (fib_store_list): each /16 is old or new, and a killed writer's
 * successor finishes the whole route. Copying the directory instead, to switch the root, would make
 * every reader fetch its 256 KiB again. /0 is two words: its list and `fallback`.
 *
 * Only /16s whose answer changes are touched. Control alone.
 */
#include "engines/compact/write/build.h"
#include "engines/engine.h"

#include <errno.h>
#include <string.h>

struct spread { /* what one short row does */
    struct compact_target target;
    const struct route_row *row;
    uint32_t first, chunks; /* /16s it covers */
    uint32_t list_index;    /* of the list's word, counted in words from the root piece */
    uint32_t old_list;
    struct compact_list list;
    struct fib_word *todo; /* the root's */
    uint32_t *was;
    uint32_t n;
};

/* The root piece as the words it is. */
static uint32_t *words_of(struct compact_root *root)
{
    return (uint32_t *)(void *)root;
}

static uint32_t index_of(const struct compact_root *root, const uint32_t *word)
{
    return (uint32_t)(word - (const uint32_t *)(const void *)root);
}

static uint32_t list_blocks(uint32_t count)
{
    return blocks_of((count + UINT64_C(1)) * sizeof(uint32_t));
}

static void load_list(const struct fib_writer *writer, uint32_t block, struct compact_list *list)
{
    const struct compact_short *from = fib_block(writer, block);
    list->count = block == 0 ? 0 : from->count;
    memcpy(list->entry, from->entry, list->count * sizeof(uint32_t));
}

static void add_word(struct spread *spread, const uint32_t *word, uint32_t value)
{
    spread->was[spread->n] = load_relaxed32(word);
    spread->todo[spread->n++] =
        (struct fib_word){index_of(spread->target.root, word), value};
}

/* The new list as a piece, and the word that names it. */
static int add_list(struct fib_writer *writer, struct spread *spread)
{
    uint32_t image[COMPACT_LIST_MAX + 3] = {0}, block = 0;
    uint32_t *word = &words_of(spread->target.root)[spread->list_index];
    if (spread->list.count > 0) {
        block = fib_take(writer, list_blocks(spread->list.count));
        if (block == 0)
            return -ENOSPC;
        image[0] = spread->list.count;
        memcpy(image + 1, spread->list.entry, spread->list.count * sizeof image[0]);
        fib_fill(fib_block(writer, block), image,
                 ((spread->list.count + UINT64_C(1)) * sizeof image[0] + 7) & ~UINT64_C(7));
    }
    add_word(spread, word, block);
    return 0;
}

/* The /16 `chunk` with another background: a uniform node, or its node painted again. */
static uint32_t rebuilt(struct fib_writer *writer, const struct spread *spread, uint32_t word,
                        uint32_t background)
{
    const struct compact_tail *tail = compact_tail_of(writer, word);
    uint64_t sub[COMPACT_SLOTS];
    if (tail->routes == 0 && tail->subs == 0)
        return compact_uniform(writer, spread->target.root, spread->target.fresh, spread->row,
                               background);
    for (uint32_t k = 0; k < tail->subs; k++)
        sub[k] = *compact_sub_of(writer, word, k);
    const struct compact_plan plan = {.entry = tail->entry,
                                      .count = tail->routes,
                                      .shift = 8,
                                      .background = background,
                                      .sub = sub,
                                      .subs = tail->subs};
    return compact_build(writer, &plan);
}

/* Paints the /16s of [first, first + n) below one first byte from a list. */
static void paint(const uint32_t *entry, uint32_t count, uint32_t first, uint32_t n,
                  uint16_t *group)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t prefix = compact_entry_prefix(entry[i]);
        uint32_t from = compact_first(prefix), to = from + compact_span(prefix);
        if (compact_bits(prefix) == 0 || to <= first || from >= first + n)
            continue; /* /0 is the fallback, nobody's background */
        from = from < first ? first : from;
        to = to > first + n ? first + n : to;
        for (uint32_t c = from; c < to; c++)
            group[c - first] = (uint16_t)compact_entry_group(entry[i]);
    }
}

static int add_chunks(struct fib_writer *writer, struct spread *spread, uint32_t first, uint32_t n)
{
    const struct compact_root *root = spread->target.root;
    uint32_t lists[2] = {root->top_at, root->short_at[first >> 8]};
    uint16_t group[256] = {0};
    for (uint32_t i = 0; i < 2; i++) {
        const struct compact_short *list = fib_block(writer, lists[i]);
        int mine = spread->list_index == index_of(root, i == 0 ? &root->top_at
                                                               : &root->short_at[first >> 8]);
        if (mine)
            paint(spread->list.entry, spread->list.count, first, n, group);
        else if (lists[i] != 0)
            paint(list->entry, list->count, first, n, group);
    }
    for (uint32_t c = 0; c < n; c++) {
        uint32_t word = load_relaxed32(&root->dir[first + c]);
        if (compact_tail_of(writer, word)->background == group[c])
            continue;
        uint32_t next = rebuilt(writer, spread, word, group[c]);
        if (next == 0)
            return -ENOSPC;
        add_word(spread, &root->dir[first + c], next);
    }
    return 0;
}

static int is_node(const struct fib_writer *writer, uint32_t word)
{
    const struct compact_tail *tail = compact_tail_of(writer, word);
    return tail->routes != 0 || tail->subs != 0;
}

static void give_all(struct fib_writer *writer, struct spread *spread)
{
    for (uint32_t i = 0; i < spread->n; i++) {
        uint32_t value = spread->todo[i].value;
        if (spread->todo[i].index < COMPACT_CHUNKS && is_node(writer, value)) {
            struct compact_piece piece = compact_piece_of(writer, value);
            arena_give(&writer->arena, piece.block, piece.size);
        } else if (spread->todo[i].index == spread->list_index && value != 0) {
            arena_give(&writer->arena, value, list_blocks(spread->list.count));
        }
    }
}

static void retire_all(struct fib_writer *writer, const struct spread *spread, uint32_t old_count)
{
    for (uint32_t i = 0; i < spread->n; i++) {
        uint32_t was = spread->was[i];
        if (spread->todo[i].index < COMPACT_CHUNKS && is_node(writer, was)) {
            struct compact_piece piece = compact_piece_of(writer, was);
            fib_retire(writer, piece.block, piece.size);
        } else if (spread->todo[i].index == spread->list_index && was != 0) {
            fib_retire(writer, was, list_blocks(old_count));
        }
    }
}

static int add_all(struct fib_writer *writer, struct spread *spread)
{
    struct compact_root *root = spread->target.root;
    int result = add_list(writer, spread);
    if (spread->row->length == 0) {
        if (result == 0)
            add_word(spread, &root->fallback, spread->row->nexthop);
        return result;
    }
    uint32_t end = spread->first + spread->chunks;
    for (uint32_t first = spread->first; first < end && result == 0; first = (first | 0xff) + 1) {
        uint32_t n = end - first < 256 ? end - first : 256;
        result = add_chunks(writer, spread, first, n);
    }
    return result;
}

static void publish(struct fib_writer *writer, struct spread *spread)
{
    const struct fib_change change = {.operation = FIB_OP_ROUTE, .row = spread->row, .rows = 1};
    uint32_t *base = words_of(spread->target.root);
    /* A lookup reads `fallback`, and a match the lists, after what is longer: two epochs keep
     * them from meeting a change of these that came after a longer prefix they did not find. */
    fib_grace_since(writer, writer->routes_turned_at);
    if (!spread->target.fresh) {
        fib_store_list(writer, &change, base, spread->todo, spread->n);
        return;
    }
    for (uint32_t i = 0; i < spread->n; i++)
        store_relaxed32(&base[spread->todo[i].index], spread->todo[i].value);
    fib_store32(writer, &change, &writer->header->roots.root4, spread->target.block);
}

static int spread_row(struct fib_writer *writer, struct spread *spread, uint32_t old_count)
{
    int result = add_all(writer, spread);
    RC_FAULT("compact-spread-built");
    if (result != 0) {
        give_all(writer, spread);
        compact_target_give(writer, &spread->target);
        return result;
    }
    publish(writer, spread);
    retire_all(writer, spread, old_count);
    return 0;
}

int compact_apply_short(struct fib_writer *writer, const struct route_row *row,
                        struct lpm_run *run)
{
    struct spread spread;
    if (compact_target(writer, &spread.target) != 0)
        return -ENOSPC;
    struct compact_root *root = spread.target.root;
    spread.row = row;
    spread.first = (uint32_t)row->prefix[0] << 8 | row->prefix[1];
    spread.chunks = 1u << (16 - row->length);
    spread.list_index =
        index_of(root, row->length < 8 ? &root->top_at : &root->short_at[row->prefix[0]]);
    spread.old_list = words_of(root)[spread.list_index];
    load_list(writer, spread.old_list, &spread.list);
    uint32_t old_count = spread.list.count;
    run->before[0] = compact_list_put(
        &spread.list, compact_prefix(spread.first, row->length), row->nexthop);
    run->taken = 1;
    uint32_t grows = run->before[0] == 0 && row->nexthop != 0;
    if (run->before[0] == row->nexthop || grows > run->room) {
        compact_target_give(writer, &spread.target);
        run->taken = run->before[0] == row->nexthop;
        return run->taken ? 0 : -E2BIG;
    }
    spread.todo = root->todo;
    spread.was = root->was;
    spread.n = 0;
    return spread_row(writer, &spread, old_count);
}
