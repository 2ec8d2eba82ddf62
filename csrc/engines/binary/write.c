/* Changes routes in the binary engine: a row at a time, a word a row.
 *
 *   the node is there        its group word
 *   nothing is there         a leaf; the word that named nothing names it
 *   a longer one is there    a node above it, or a branch above it and a new leaf
 *   withdrawn, two children  its group word becomes 0, it goes on branching
 *   withdrawn, one           the word that named it names the child
 *   withdrawn, none          likewise 0; a parent that only branched goes with it, and the
 *                            word that named that names the sibling
 *
 * Control alone.
 */
#include "engines/binary/binary.h"
#include "engines/engine.h"

#include <errno.h>

/* Where a row belongs, and the way there. */
struct place {
    struct binary_prefix prefix;
    uint32_t length;
    struct binary_node *way[BINARY_STEPS]; /* nodes that cover the row and are shorter */
    uint32_t *word[BINARY_STEPS + 1];      /* word[i] names way[i], word[steps] what is there */
    uint32_t steps;
    uint32_t block;            /* there: 0 = nothing */
    struct binary_node *there; /* NULL = nothing */
    uint32_t common;           /* bits in which it agrees with the row, at most both lengths */
};

static void find_place(struct fib_writer *writer, const struct route_row *row, struct place *place)
{
    place->prefix = binary_prefix_of(row->prefix, row->family);
    place->length = row->length;
    place->word[0] = fib_root_word(writer->header, row->family);
    for (place->steps = 0;; place->steps++) {
        place->block = load_relaxed32(place->word[place->steps]);
        place->there = place->block == 0 ? NULL : fib_block(writer, place->block);
        if (place->there == NULL)
            return;
        struct binary_node *node = place->there;
        uint32_t least = node->length < place->length ? node->length : place->length;
        place->common =
            binary_common(place->prefix, (struct binary_prefix){node->high, node->low});
        if (place->common > least)
            place->common = least;
        if (place->common < node->length || node->length == place->length)
            return;
        place->way[place->steps] = node;
        place->word[place->steps + 1] = &node->child[binary_bit(place->prefix, node->length)];
    }
}

static int is_exact(const struct place *place)
{
    return place->there != NULL && place->common == place->length &&
           place->there->length == place->length;
}

static uint32_t now(const struct fib_writer *writer)
{
    return (uint32_t)writer->epoch;
}

/* A node nobody can reach yet; 0: arena full. */
static uint32_t make_node(struct fib_writer *writer, struct binary_prefix prefix, uint32_t length,
                          uint32_t group)
{
    uint32_t block = fib_take(writer, 1);
    if (block == 0)
        return 0;
    struct binary_prefix cut = binary_cut(prefix, length);
    const struct binary_node image = {.high = cut.high,
                                      .low = cut.low,
                                      .length = length,
                                      .group = group,
                                      .turned = now(writer),
                                      .turned_above = now(writer) - 2};
    fib_fill(fib_block(writer, block), &image, sizeof image);
    return block;
}

static void set_child(struct fib_writer *writer, uint32_t block, uint32_t bit, uint32_t child)
{
    struct binary_node *node = fib_block(writer, block);
    store_relaxed32(&node->child[bit], child);
}

/* What is there hangs below a new node; the block to name, or 0: arena full. */
static uint32_t make_above(struct fib_writer *writer, const struct place *place, uint32_t group)
{
    uint32_t leaf = make_node(writer, place->prefix, place->length, group), branch = 0;
    struct binary_prefix old = {place->there->high, place->there->low};
    if (leaf == 0)
        return 0;
    if (place->common == place->length) {
        set_child(writer, leaf, binary_bit(old, place->length), place->block);
        return leaf;
    }
    branch = make_node(writer, place->prefix, place->common, 0);
    if (branch == 0) {
        arena_give(&writer->arena, leaf, 1);
        return 0;
    }
    set_child(writer, branch, binary_bit(old, place->common), place->block);
    set_child(writer, branch, binary_bit(place->prefix, place->common), leaf);
    return branch;
}

static int announce(struct fib_writer *writer, struct place *place,
                    const struct fib_change *change)
{
    uint32_t group = change->row->nexthop;
    if (is_exact(place)) {
        store_relaxed32(&place->there->turned, now(writer));
        fib_store32(writer, change, &place->there->group, group);
        return 0;
    }
    uint32_t block = place->there == NULL
                         ? make_node(writer, place->prefix, place->length, group)
                         : make_above(writer, place, group);
    RC_FAULT("binary-built");
    if (block == 0)
        return -ENOSPC;
    fib_store32(writer, change, place->word[place->steps], block);
    return 0;
}

static void grace_since(struct fib_writer *writer, uint32_t turned)
{
    uint32_t age = now(writer) - turned;
    if (age < 2)
        fib_grace_since(writer, writer->epoch - age);
}

/* A walk that took a shorter prefix as it was must not find the longer one gone. */
static void grace_on_path(struct fib_writer *writer, const struct place *place)
{
    for (uint32_t i = 0; i < place->steps; i++) {
        grace_since(writer, place->way[i]->turned);
        grace_since(writer, place->way[i]->turned_above);
    }
    grace_since(writer, place->there->turned_above);
}

/* The word names `child` (or 0) instead of one or two nodes above it. */
static void unlink_to(struct fib_writer *writer, const struct fib_change *change, uint32_t *word,
                      uint32_t child)
{
    if (child != 0) {
        struct binary_node *node = fib_block(writer, child);
        store_relaxed32(&node->turned_above, now(writer));
    }
    RC_FAULT("binary-grace-over");
    fib_store32(writer, change, word, child);
}

static void withdraw(struct fib_writer *writer, struct place *place,
                     const struct fib_change *change)
{
    struct binary_node *node = place->there;
    struct binary_node *parent = place->steps > 0 ? place->way[place->steps - 1] : NULL;
    uint32_t zero = load_relaxed32(&node->child[0]), one = load_relaxed32(&node->child[1]);
    grace_on_path(writer, place);
    if (zero != 0 && one != 0) {
        store_relaxed32(&node->turned, now(writer));
        fib_store32(writer, change, &node->group, 0);
        return;
    }
    if ((zero | one) != 0 || parent == NULL || parent->group != 0) {
        unlink_to(writer, change, place->word[place->steps], zero | one);
        fib_retire(writer, place->block, 1);
        return;
    }
    uint32_t *above = place->word[place->steps - 1], block = load_relaxed32(above);
    uint32_t side = place->word[place->steps] == &parent->child[1];
    unlink_to(writer, change, above, load_relaxed32(&parent->child[!side]));
    fib_retire(writer, place->block, 1);
    fib_retire(writer, block, 1);
}

int binary_apply(struct fib_writer *writer, const struct route_row *rows, uint64_t n,
                 struct lpm_run *run)
{
    const struct fib_change change = {.operation = FIB_OP_ROUTE, .row = rows, .rows = 1};
    struct place place;
    (void)n;
    find_place(writer, rows, &place);
    run->before[0] = is_exact(&place) ? load_relaxed32(&place.there->group) : 0;
    run->taken = 1;
    if (run->before[0] == rows->nexthop)
        return 0;
    if (rows->nexthop == 0) {
        withdraw(writer, &place, &change);
        return 0;
    }
    if (run->before[0] == 0 && run->room == 0)
        return -E2BIG;
    return announce(writer, &place, &change);
}
