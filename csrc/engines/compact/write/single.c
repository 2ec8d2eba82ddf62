/* Changes one route of /16../24 in the compact engine: the old node, partly recoloured.
 *
 *   list    ..  10.1.0/17  [10.1.16/20]  10.1.17/24  10.1.20/22  ..
 *   slots             ......  16 17 18 19 20 21 22 23 24 .. 31  ......
 *                             ##    #####             ########          # = what /20 decides
 *
 * A route decides the slots of its span that no longer prefix covers, and those follow it in the
 * list. They all had one answer and get another one, so nothing is painted: each stretch lies in
 * one run, and only its two ends can begin or cease to begin one (compact_recolour). Everything
 * else is copied. The node is bit for bit what compact_build would have made.
 *
 * Not for everything: a node that comes or goes, or that turns wide or narrow, is painted.
 * Control alone.
 */
#include "engines/compact/write/build.h"
#include "engines/engine.h"

#include <errno.h>
#include <string.h>

struct single {
    uint32_t word; /* of the old node */
    const uint8_t *node;
    const struct compact_tail *tail;
    uint32_t prefix, at; /* where it is in the list, or belongs */
    uint32_t before, after;
    uint32_t now; /* what the slots it decides answer from now on */
};

static void look(struct fib_writer *writer, const struct compact_root *root,
                 const struct route_row *row, struct single *single)
{
    single->word = load_relaxed32(&root->dir[(uint32_t)row->prefix[0] << 8 | row->prefix[1]]);
    single->node = fib_block(writer, compact_block(single->word));
    /* The list lies behind the leaves: where, only the node tells. Fetch both at once. */
    for (uint32_t line = 1; line < 6; line++)
        __builtin_prefetch(single->node + line * 64);
    single->prefix =
        compact_prefix((uint32_t)row->prefix[2] << 8 | row->prefix[3], row->length - 16u);
    single->tail = compact_tail_of(writer, single->word);
    const uint32_t *entry = single->tail->entry;
    uint32_t count = single->tail->routes;
    struct compact_position place =
        compact_list_find(entry, count, single->prefix, row->nexthop == 0);
    int there = place.at < count && compact_entry_prefix(entry[place.at]) == single->prefix;
    single->at = place.at;
    single->before = there ? compact_entry_group(entry[place.at]) : 0;
    single->after = single->now = row->nexthop;
    if (row->nexthop == 0)
        single->now = place.cover == COMPACT_NO_COVER ? single->tail->background
                                                      : compact_entry_group(entry[place.cover]);
}

/* 1 when the new node has what the old one has: routes, and leaves of that width. */
static int alike(const struct single *single)
{
    const struct compact_tail *tail = single->tail;
    if (single->after == 0 && tail->routes == 1 && tail->subs == 0)
        return 0;
    if ((single->word & COMPACT_WIDE) != 0)
        return tail->subs > 0 || single->now >= 256;
    return single->now < 256;
}

/* Slots [from, to), which no longer prefix covers. A sub-node's slot keeps its leaf: what it
 * answers where it has no route of its own stands beside. */
static void recolour(struct compact_recolour *change, uint32_t *k, uint32_t subs, uint32_t from,
                     uint32_t to)
{
    for (; *k < subs; ++*k) {
        uint64_t *sub = (uint64_t *)(void *)change->word - (*k + 1);
        uint32_t slot = compact_sub_slot(*sub);
        if (slot >= to)
            break;
        if (slot < from)
            continue;
        if (from < slot)
            compact_recolour(change, from, slot);
        *sub = compact_sub(compact_sub_word(*sub), slot, change->group);
        from = slot + 1;
    }
    if (from < to)
        compact_recolour(change, from, to);
}

/* Every slot the route decides. */
static void recolour_all(struct compact_recolour *change, const struct single *single)
{
    const struct compact_tail *tail = single->tail;
    uint32_t from = compact_first(single->prefix) >> 8, k = 0;
    uint32_t end = from + (compact_span(single->prefix) >> 8);
    for (uint32_t i = single->at + (single->before != 0); i < tail->routes && from < end; i++) {
        uint32_t longer = compact_entry_prefix(tail->entry[i]), at = compact_first(longer) >> 8;
        if (at >= end)
            break;
        if (from < at)
            recolour(change, &k, tail->subs, from, at);
        at += compact_span(longer) >> 8;
        from = from < at ? at : from;
    }
    if (from < end)
        recolour(change, &k, tail->subs, from, end);
}

/* The list with the route put, taken out, or with another group. Returns how many there are. */
static uint32_t copy_list(const struct single *single, uint32_t *entry)
{
    const uint32_t *old = single->tail->entry;
    uint32_t at = single->at, skip = single->before != 0, put = single->after != 0;
    uint32_t behind = single->tail->routes - at - skip;
    compact_copy(entry, old, at * sizeof *entry);
    entry[at] = compact_entry(single->prefix, single->after);
    compact_copy(entry + at + put, old + at + skip, behind * sizeof *entry);
    return at + put + behind;
}

/* The new node's word, or 0: arena full. */
static uint32_t build(struct fib_writer *writer, const struct single *single)
{
    struct compact_image image;
    const struct compact_tail *tail = single->tail;
    uint32_t front = compact_sub_blocks(tail->subs), wide = (single->word & COMPACT_WIDE) != 0;
    uint8_t *node = image.bytes + front * FIB_BLOCK;
    struct compact_recolour change;
    memcpy(node - tail->subs * sizeof(uint64_t), single->node - tail->subs * sizeof(uint64_t),
           tail->subs * sizeof(uint64_t));
    compact_recolour_begin(&change, single->node, node, wide, single->now);
    recolour_all(&change, single);
    uint32_t tail_at = compact_tail_at(compact_recolour_end(&change), wide);
    uint16_t *head = (uint16_t *)(void *)(node + tail_at);
    uint32_t *entry = (uint32_t *)(void *)(head + 4); /* as in struct compact_tail */
    uint32_t count = copy_list(single, entry);
    head[0] = (uint16_t)count;
    head[1] = tail->subs;
    head[2] = tail->background;
    head[3] = 0;
    return compact_place(writer, &image, front, tail_at, count) | (single->word & COMPACT_WIDE);
}

int compact_apply_single(struct fib_writer *writer, const struct route_row *row,
                         struct lpm_run *run)
{
    struct single single;
    struct compact_root *root = fib_block(writer, load_relaxed32(&writer->header->roots.root4));
    const struct fib_change change = {.operation = FIB_OP_ROUTE, .row = row, .rows = 1};
    look(writer, root, row, &single);
    run->before[0] = single.before;
    run->taken = 1;
    if (single.before == single.after)
        return 1;
    if (!alike(&single) || (single.before == 0 && run->room == 0))
        return 0;
    uint32_t word = build(writer, &single);
    if (compact_block(word) == 0)
        return -ENOSPC;
    fib_store32(writer, &change, &root->dir[(uint32_t)row->prefix[0] << 8 | row->prefix[1]], word);
    if (single.tail->routes != 0 || single.tail->subs != 0) {
        struct compact_piece piece = compact_piece_of(writer, single.word);
        fib_retire(writer, piece.block, piece.size);
    }
    return 1;
}
