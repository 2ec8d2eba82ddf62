/* Changes the multibit trie: one node a run of rows, built beside the old one.
 *
 *   1 go down to the node that owns the front row's length; rows behind it that belong to the
 *     same node join the run (sorted tables bring 20 and more at once)
 *   2 edit a private copy of the node's list, row by row
 *   3 build the new node, and the chain above it where nodes are missing, bottom up; or find
 *     the highest node that the removal leaves with nothing to do
 *   4 store one word: the slot of the deepest node that stays, or the root word
 *   5 retire what the word named before
 *
 * Control alone. Until 4 everything can be given back, so -ENOSPC leaves no trace.
 */
#include "engines/engine.h"
#include "engines/multibit/multibit.h"

#include <errno.h>
#include <string.h>

struct path {
    uint32_t level;                   /* of the node the run belongs to */
    uint32_t found;                   /* nodes of block[] that exist, at most level + 1 */
    uint32_t block[MULTIBIT_LEVELS6]; /* by level */
};

struct edit {
    uint32_t count;
    uint32_t own[MULTIBIT_OWN_MAX + 1]; /* one more than ever stays: an entry is put, then counted */
};

static struct multibit_node *node_of(const struct fib_writer *writer, uint32_t block)
{
    return fib_block(writer, block);
}

static void find_path(const struct fib_writer *writer, const struct route_row *row,
                      struct path *path)
{
    uint32_t block = load_relaxed32(fib_root_word(writer->header, row->family));
    path->level = multibit_level(row->length);
    path->found = 0;
    while (block != 0) {
        uint32_t level = path->found;
        path->block[path->found++] = block;
        if (level == path->level)
            return;
        block = multibit_slot_child(
            load_relaxed64(&node_of(writer, block)->slot[row->prefix[level]]));
    }
}

static int same_node(const struct route_row *a, const struct route_row *b)
{
    uint32_t level = multibit_level(a->length);
    return multibit_level(b->length) == level && memcmp(a->prefix, b->prefix, level) == 0;
}

/* Puts (or takes out, group 0) one prefix; returns the group it had. */
static uint32_t edit_own(struct edit *edit, uint32_t byte, uint32_t bits, uint32_t group)
{
    uint32_t key = own_prefix(byte, bits, 0), low = 0, high = edit->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (edit->own[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    uint32_t *at = &edit->own[low];
    int there = low < edit->count && *at >> 20 == key >> 20;
    uint32_t before = there ? own_group(*at) : 0;
    size_t behind = (edit->count - low) * sizeof *at;
    if (group != 0) {
        if (!there) {
            memmove(at + 1, at, behind);
            edit->count++;
        }
        *at = key | group;
    } else if (there) {
        memmove(at, at + 1, behind - sizeof *at);
        edit->count--;
    }
    return before;
}

enum { DIFFERS = 1, WITHDRAWS = 2 };

/* Edits as many rows of the front as belong to this node and fit; says what that does. */
static int edit_run(struct edit *edit, const struct route_row *rows, uint64_t n,
                    struct lpm_run *run)
{
    uint32_t level = multibit_level(rows->length);
    int64_t room = run->room;
    int does = 0;
    for (run->taken = 0; run->taken < n && run->taken < LPM_RUN; run->taken++) {
        const struct route_row *row = &rows[run->taken];
        uint32_t bits = row->length - level * 8u, byte = row->prefix[level];
        if (run->taken > 0 && !same_node(rows, row))
            break;
        uint32_t before = edit_own(edit, byte, bits, row->nexthop);
        room -= (before == 0 && row->nexthop != 0) - (before != 0 && row->nexthop == 0);
        if (room < 0) {
            edit_own(edit, byte, bits, 0);
            break;
        }
        run->before[run->taken] = before;
        does |= before != row->nexthop ? DIFFERS : 0;
        does |= before != 0 && row->nexthop == 0 ? WITHDRAWS : 0;
    }
    return does;
}

/* Paints in order of address, then length: what is longer comes later and wins. */
static void paint(const struct edit *edit, uint64_t *slot)
{
    for (uint32_t i = 0; i < edit->count; i++) {
        uint32_t own = edit->own[i], first = own_byte(own);
        uint32_t end = first + (1u << (8 - own_bits(own)));
        for (uint32_t s = first; s < end; s++)
            slot[s] = own_group(own);
    }
}

/* A complete node in fresh blocks; `old` (or NULL) lends its children. 0: arena full. */
static uint32_t build_node(struct fib_writer *writer, const struct edit *edit,
                           const struct multibit_node *old)
{
    uint64_t slot[MULTIBIT_SLOTS] = {0};
    uint32_t block = fib_take(writer, multibit_blocks(edit->count));
    if (block == 0)
        return 0;
    struct multibit_node *node = node_of(writer, block);
    paint(edit, slot);
    for (uint32_t s = 0; s < MULTIBIT_SLOTS; s++) {
        uint64_t child = old == NULL ? 0 : load_relaxed64(&old->slot[s]) >> 32 << 32;
        store_relaxed64(&node->slot[s], slot[s] | child);
    }
    store_relaxed32(&node->list, multibit_list(edit->count, writer->epoch));
    for (uint32_t i = 0; i < edit->count; i++)
        store_relaxed32(&node->own[i], edit->own[i]);
    RC_FAULT("node-built");
    return block;
}

/* The one store: makes `block` (0 = nothing) the node at `level` of this path. */
static void publish(struct fib_writer *writer, const struct path *path, uint32_t level,
                    const struct route_row *row, uint32_t rows, uint32_t block)
{
    struct fib_change change = {.operation = FIB_OP_ROUTE, .row = row, .rows = (uint16_t)rows};
    if (level == 0) {
        fib_store32(writer, &change, fib_root_word(writer->header, row->family), block);
        return;
    }
    uint64_t *slot = &node_of(writer, path->block[level - 1])->slot[row->prefix[level - 1]];
    fib_store64(writer, &change, slot,
                multibit_slot(multibit_slot_group(load_relaxed64(slot)), block));
}

static void retire_node(struct fib_writer *writer, uint32_t block)
{
    fib_retire(writer, block, multibit_blocks(multibit_count(node_of(writer, block)->list)));
}

/* Nodes for the levels between `block` and the deepest that exists: each with one child. */
static uint32_t build_chain(struct fib_writer *writer, const struct path *path,
                            const struct route_row *row, uint32_t block)
{
    static const struct edit nothing = {0};
    uint32_t made[MULTIBIT_LEVELS6], n = 0;
    for (uint32_t level = path->level; level > path->found; level--) {
        uint32_t above = build_node(writer, &nothing, NULL);
        if (above == 0) {
            while (n > 0)
                arena_give(&writer->arena, made[--n], multibit_blocks(0));
            return 0;
        }
        made[n++] = above;
        store_relaxed64(&node_of(writer, above)->slot[row->prefix[level - 1]],
                        multibit_slot(0, block));
        block = above;
    }
    return block;
}

static int put_node(struct fib_writer *writer, const struct path *path, const struct edit *edit,
                    const struct route_row *row, uint32_t rows)
{
    uint32_t old = path->found > path->level ? path->block[path->level] : 0;
    uint32_t block = build_node(writer, edit, old == 0 ? NULL : node_of(writer, old));
    if (block == 0)
        return -ENOSPC;
    uint32_t top = build_chain(writer, path, row, block);
    if (top == 0) {
        arena_give(&writer->arena, block, multibit_blocks(edit->count));
        return -ENOSPC;
    }
    /* Taking the blocks of the chain may have spent epochs. */
    store_relaxed32(&node_of(writer, block)->list, multibit_list(edit->count, writer->epoch));
    publish(writer, path, old != 0 ? path->level : path->found, row, rows, top);
    if (old != 0)
        retire_node(writer, old);
    return 0;
}

/* 1 when the node has no child but perhaps the one at `except` (256: none is excepted). */
static int childless(const struct multibit_node *node, uint32_t except)
{
    for (uint32_t s = 0; s < MULTIBIT_SLOTS; s++)
        if (s != except && multibit_slot_child(load_relaxed64(&node->slot[s])) != 0)
            return 0;
    return 1;
}

/* The node has lost its last prefix and has no child: out with it, and with every node above
 * that stood only for its sake. */
static void remove_node(struct fib_writer *writer, const struct path *path,
                        const struct route_row *row, uint32_t rows)
{
    uint32_t top = path->level;
    while (top > 0) {
        const struct multibit_node *above = node_of(writer, path->block[top - 1]);
        if (multibit_count(above->list) != 0 || !childless(above, row->prefix[top - 1]))
            break;
        top--;
    }
    publish(writer, path, top, row, rows, 0);
    for (uint32_t level = top; level <= path->level; level++)
        retire_node(writer, path->block[level]);
}

/* What is withdrawn here uncovers the best of the nodes above. A walk that passed one of them
 * before it changed must not meet the gap: it would answer with a prefix that was never the
 * longest. So the gap appears two epochs after the newest change on the way to it. */
static void grace_above(struct fib_writer *writer, const struct path *path)
{
    for (uint32_t level = 0; level < path->level && level < path->found; level++) {
        uint32_t age = multibit_age(node_of(writer, path->block[level])->list, writer->epoch);
        if (age < 2)
            fib_grace_since(writer, writer->epoch - age);
    }
}

int multibit_apply(struct fib_writer *writer, const struct route_row *rows, uint64_t n,
                   struct lpm_run *run)
{
    struct path path;
    struct edit edit;
    find_path(writer, rows, &path);
    const struct multibit_node *old =
        path.found > path.level ? node_of(writer, path.block[path.level]) : NULL;
    edit.count = old == NULL ? 0 : multibit_count(old->list);
    if (old != NULL)
        memcpy(edit.own, old->own, edit.count * sizeof edit.own[0]);
    int does = edit_run(&edit, rows, n, run);
    if (run->taken == 0)
        return -E2BIG;
    if (does == 0)
        return 0;
    if (does & WITHDRAWS)
        grace_above(writer, &path);
    /* Sequential effects can cancel out (add, withdraw): then nothing exists and nothing is made. */
    if (edit.count == 0 && old == NULL)
        return 0;
    if (edit.count == 0 && childless(old, MULTIBIT_SLOTS)) {
        remove_node(writer, &path, rows, run->taken);
        return 0;
    }
    return put_node(writer, &path, &edit, rows, run->taken);
}
