/* Changes routes of /16 and longer in the compact engine: one node a run of rows.
 *
 *   1 the rows of the front that lie in one /16 are put into copies of its lists: its own
 *     (/16../24) and those of the /24s below (/25../32), each new sub-node built as it is done
 *   2 the node is built beside the old one, or nothing is left and a uniform node takes over
 *   3 one word: the directory's; when a single sub-node changed and nothing else, its sub[] entry
 *   4 the old node and the old sub-nodes are retired
 *
 * Control alone. Until 3 everything can be given back, so -ENOSPC leaves no trace.
 */
#include "engines/compact/write/build.h"
#include "engines/engine.h"

#include <errno.h>
#include <string.h>

#define SUB_FRESH (UINT64_C(1) << 63) /* built by this run */

struct edit {
    struct compact_target target;
    uint32_t chunk;    /* address >> 16 */
    uint32_t word;     /* the directory's before */
    int listed;        /* the list differs */
    int shaped;        /* a sub-node came or went */
    uint32_t replaced; /* sub-nodes built in the place of another */
    uint32_t at;       /* the sub[] position of the last of them */
    uint32_t subs, dropped;
    int64_t room;
    struct compact_list list;
    uint64_t sub[COMPACT_SLOTS + 1];
    uint32_t drop[COMPACT_SLOTS]; /* words of the sub-nodes that are replaced or gone */
};

static uint32_t chunk_of(const struct route_row *row)
{
    return (uint32_t)row->prefix[0] << 8 | row->prefix[1];
}

static uint32_t prefix_of(const struct route_row *row)
{
    return compact_prefix((uint32_t)row->prefix[2] << 8 | row->prefix[3], row->length - 16u);
}

static void load_edit(struct fib_writer *writer, struct edit *edit)
{
    edit->word = load_relaxed32(&edit->target.root->dir[edit->chunk]);
    /* The list lies behind the leaves: where, only the node tells. Fetch both at once. */
    const uint8_t *node = fib_block(writer, compact_block(edit->word));
    for (uint32_t line = 0; line < 6; line++)
        __builtin_prefetch(node + line * 64);
    const struct compact_tail *tail = compact_tail_of(writer, edit->word);
    edit->list.count = tail->routes;
    memcpy(edit->list.entry, tail->entry, tail->routes * sizeof(uint32_t));
    edit->subs = tail->subs;
    for (uint32_t k = 0; k < tail->subs; k++)
        edit->sub[k] = load_relaxed64(compact_sub_of(writer, edit->word, k));
    edit->listed = edit->shaped = 0;
    edit->replaced = edit->dropped = edit->at = 0;
}

/* Puts a row; 0 when there is no room for another route (then nothing was put). */
static int put_row(struct compact_list *list, const struct route_row *row, int64_t *room,
                   uint32_t *before)
{
    uint32_t prefix = prefix_of(row), n = list->count;
    if (row->nexthop != 0 && n > 0 && n < COMPACT_LIST_MAX && *room > 0 &&
        compact_order(compact_entry_prefix(list->entry[n - 1])) < compact_order(prefix)) {
        /* Sorted rows append. */
        list->entry[list->count++] = compact_entry(prefix, row->nexthop);
        *before = 0;
        --*room;
        return 1;
    }
    *before = compact_list_put(list, prefix, row->nexthop);
    *room -= (*before == 0 && row->nexthop != 0) - (*before != 0 && row->nexthop == 0);
    if (likely(*room >= 0))
        return 1;
    compact_list_put(list, prefix, 0);
    *room = 0;
    return 0;
}

/* The first sub[] position whose slot is not below `slot`. */
static uint32_t sub_place(const struct edit *edit, uint32_t slot)
{
    uint32_t at = edit->subs;
    while (at > 0 && compact_sub_slot(edit->sub[at - 1]) >= slot)
        at--;
    return at;
}

static int same_slot(const struct route_row *a, const struct route_row *b)
{
    return b->length > 24 && memcmp(a->prefix, b->prefix, 3) == 0;
}

static void place_sub(struct edit *edit, uint32_t at, int there, uint32_t slot, uint32_t word)
{
    size_t behind = (edit->subs - at) * sizeof edit->sub[0];
    if (there)
        edit->drop[edit->dropped++] = compact_sub_word(edit->sub[at]);
    if (word == 0) {
        memmove(&edit->sub[at], &edit->sub[at + 1], behind - sizeof edit->sub[0]);
        edit->subs--;
        edit->shaped = 1;
        return;
    }
    if (!there) {
        memmove(&edit->sub[at + 1], &edit->sub[at], behind);
        edit->sub[at] = compact_sub(0, slot, 0);
        edit->subs++;
        edit->shaped = 1;
    }
    edit->sub[at] = (edit->sub[at] & ~UINT64_C(0xffffffff)) | word | SUB_FRESH;
    edit->replaced++;
    edit->at = at;
}

/* The rows of the front that lie in one /24 and are longer. Their number, 0: none could be put
 * (no room, or that sub-node is already part of this run), or -ENOSPC. */
static int edit_sub(struct fib_writer *writer, struct edit *edit, const struct route_row *rows,
                    uint64_t n, uint32_t *before)
{
    struct compact_list list;
    uint32_t slot = rows->prefix[2], at = sub_place(edit, slot), differs = 0, taken = 0;
    int there = at < edit->subs && compact_sub_slot(edit->sub[at]) == slot;
    list.count = 0;
    if (there && (edit->sub[at] & SUB_FRESH) != 0)
        return 0;
    if (there) {
        const struct compact_tail *tail =
            compact_tail_of(writer, compact_sub_word(edit->sub[at]));
        list.count = tail->routes;
        memcpy(list.entry, tail->entry, tail->routes * sizeof(uint32_t));
    }
    for (; taken < n && same_slot(rows, &rows[taken]); taken++) {
        if (!put_row(&list, &rows[taken], &edit->room, &before[taken]))
            break;
        differs |= before[taken] != rows[taken].nexthop;
    }
    if (!differs || (list.count == 0 && !there))
        return (int)taken;
    uint32_t word = 0;
    if (list.count > 0) {
        const struct compact_plan plan = {.entry = list.entry, .count = list.count};
        word = compact_build(writer, &plan);
        if (word == 0)
            return -ENOSPC;
    }
    place_sub(edit, at, there, slot, word);
    return (int)taken;
}

/* 1, run->taken rows are put; or -ENOSPC. */
static int edit_run(struct fib_writer *writer, struct edit *edit, const struct route_row *rows,
                    uint64_t n, struct lpm_run *run)
{
    uint32_t taken = 0;
    if (n > LPM_RUN)
        n = LPM_RUN;
    while (taken < n && rows[taken].length >= 16 && chunk_of(&rows[taken]) == edit->chunk) {
        const struct route_row *row = &rows[taken];
        if (row->length > 24) {
            int done = edit_sub(writer, edit, row, n - taken, &run->before[taken]);
            if (done < 0)
                return done;
            if (done == 0)
                break;
            taken += (uint32_t)done;
            continue;
        }
        if (!put_row(&edit->list, row, &edit->room, &run->before[taken]))
            break;
        edit->listed |= run->before[taken] != row->nexthop;
        taken++;
    }
    run->taken = taken;
    return 1;
}

static void give_fresh(struct fib_writer *writer, const struct edit *edit)
{
    for (uint32_t k = 0; k < edit->subs; k++) {
        if ((edit->sub[k] & SUB_FRESH) == 0)
            continue;
        struct compact_piece piece = compact_piece_of(writer, compact_sub_word(edit->sub[k]));
        arena_give(&writer->arena, piece.block, piece.size);
    }
    compact_target_give(writer, &edit->target);
}

/* The word to publish, or 0: arena full. */
static uint32_t build_word(struct fib_writer *writer, struct edit *edit,
                           const struct route_row *row)
{
    const struct compact_plan plan = {
        .entry = edit->list.entry,
        .count = edit->list.count,
        .shift = 8,
        .background = compact_tail_of(writer, edit->word)->background,
        .sub = edit->sub,
        .subs = edit->subs,
    };
    if (plan.count == 0 && plan.subs == 0)
        return compact_uniform(writer, edit->target.root, edit->target.fresh, row,
                               plan.background);
    return compact_build(writer, &plan);
}

static void retire_word(struct fib_writer *writer, uint32_t word)
{
    const struct compact_tail *tail = compact_tail_of(writer, word);
    if (tail->routes == 0 && tail->subs == 0)
        return; /* uniform */
    struct compact_piece piece = compact_piece_of(writer, word);
    fib_retire(writer, piece.block, piece.size);
}

static int publish_node(struct fib_writer *writer, struct edit *edit,
                        const struct fib_change *change)
{
    uint64_t fresh[COMPACT_SLOTS / 64] = {0};
    struct compact_root *root = edit->target.root;
    for (uint32_t k = 0; k < edit->subs; k++)
        fresh[k / 64] |= (edit->sub[k] >> 63) << (k % 64);
    uint32_t word = build_word(writer, edit, change->row); /* which clears the marks */
    if (word == 0) {
        for (uint32_t k = 0; k < edit->subs; k++)
            edit->sub[k] |= (fresh[k / 64] >> (k % 64)) << 63;
        give_fresh(writer, edit);
        return -ENOSPC;
    }
    if (edit->target.fresh) {
        store_relaxed32(&root->dir[edit->chunk], word);
        fib_store32(writer, change, &writer->header->roots.root4, edit->target.block);
        return 0;
    }
    fib_store32(writer, change, &root->dir[edit->chunk], word);
    retire_word(writer, edit->word);
    return 0;
}

/* A sub-node took another's place and nothing else is new: its sub[] entry is the word. */
static void publish_sub(struct fib_writer *writer, const struct edit *edit,
                        const struct fib_change *change)
{
    fib_store64(writer, change, compact_sub_of(writer, edit->word, edit->at),
                edit->sub[edit->at] & ~SUB_FRESH);
}

static void retire_dropped(struct fib_writer *writer, const struct edit *edit)
{
    for (uint32_t i = 0; i < edit->dropped; i++) {
        struct compact_piece piece = compact_piece_of(writer, edit->drop[i]);
        fib_retire(writer, piece.block, piece.size);
    }
}

/* 1 when the run would be this row alone, and it is no sub-node's. */
static int is_single(const struct route_row *rows, uint64_t n)
{
    return rows->length <= 24 &&
           (n == 1 || rows[1].length < 16 || chunk_of(&rows[1]) != chunk_of(&rows[0]));
}

int compact_apply(struct fib_writer *writer, const struct route_row *rows, uint64_t n,
                  struct lpm_run *run)
{
    struct edit edit;
    if (rows->nexthop == 0 && load_relaxed32(&writer->header->roots.root4) == 0) {
        /* Nothing is there to withdraw, and no root is made for that. */
        run->before[0] = 0;
        run->taken = 1;
        return 0;
    }
    if (rows->length < 16)
        return compact_apply_short(writer, rows, run);
    if (compact_target(writer, &edit.target) != 0)
        return -ENOSPC;
    if (is_single(rows, n) && !edit.target.fresh) {
        int done = compact_apply_single(writer, rows, run);
        if (done != 0)
            return done < 0 ? done : 0;
    }
    edit.chunk = chunk_of(rows);
    edit.room = run->room;
    load_edit(writer, &edit);
    int result = edit_run(writer, &edit, rows, n, run);
    if (result > 0 && run->taken == 0)
        result = -E2BIG;
    int changed = edit.listed || edit.shaped || edit.replaced > 0;
    /* Sequential effects can cancel out (add, withdraw): then nothing is there to publish. */
    int nothing = edit.target.fresh && edit.list.count == 0 && edit.subs == 0;
    if (result < 0 || !changed || nothing) {
        give_fresh(writer, &edit);
        return result < 0 ? result : 0;
    }
    const struct fib_change change = {
        .operation = FIB_OP_ROUTE, .row = rows, .rows = (uint16_t)run->taken};
    if (!edit.listed && !edit.shaped && edit.replaced == 1)
        publish_sub(writer, &edit, &change);
    else if (publish_node(writer, &edit, &change) != 0)
        return -ENOSPC;
    retire_dropped(writer, &edit);
    return 0;
}
