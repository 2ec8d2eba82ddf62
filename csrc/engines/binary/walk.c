/* Walks the binary trie in order, finds one exact prefix, and says what a table needs.
 *
 * A node, then its 0 side, then its 1 side: that is the order by address, then length. Lengths
 * grow from node to node, so even a segment that is no tree is walked in bounded stack; the sweep
 * finds the block that has two owners.
 *
 * Control alone: not safe beside a writer.
 */
#include "engines/binary/binary.h"
#include "engines/engine.h"

#include <errno.h>
#include <string.h>

struct walk {
    const struct fib_writer *writer;
    const struct lpm_visitor *visitor;
    const struct route_row *after; /* NULL: from the start */
    uint8_t family;
};

/* A route each, and a branch for each but the first. */
uint64_t binary_blocks_for(uint8_t family, uint32_t routes)
{
    (void)family;
    return 2 * (uint64_t)routes;
}

static void bytes_of(struct binary_prefix prefix, uint8_t bytes[16])
{
    for (uint32_t i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(prefix.high >> (56 - 8 * i));
        bytes[8 + i] = (uint8_t)(prefix.low >> (56 - 8 * i));
    }
}

/* 1: nothing at or below the node lies behind `after`. */
static int passed(const struct walk *walk, struct binary_prefix prefix, uint32_t length)
{
    struct binary_prefix after;
    if (walk->after == NULL)
        return 0;
    after = binary_prefix_of(walk->after->prefix, walk->family);
    /* They part before the node's end: then all below it lies on the same side of `after`. */
    uint32_t common = binary_common(prefix, after);
    return common < length && binary_bit(prefix, common) == 0;
}

static int behind(const struct walk *walk, const struct route_row *row)
{
    if (walk->after == NULL)
        return 1;
    int order = memcmp(row->prefix, walk->after->prefix, sizeof row->prefix);
    return order > 0 || (order == 0 && row->length > walk->after->length);
}

/* The number of a node a sweep may follow: in the arena, below its parent, a prefix as it has to
 * be, and no branch without two sides. */
static int sound(const struct walk *walk, uint32_t block, const struct binary_node *above)
{
    const struct fib_geometry *geometry = &walk->writer->header->geometry;
    if (block < geometry->arena_at || block >= geometry->blocks)
        return 0;
    const struct binary_node *node = fib_block(walk->writer, block);
    struct binary_prefix prefix = {node->high, node->low};
    struct binary_prefix cut = binary_cut(prefix, node->length);
    if (node->length > (walk->family == 4 ? 32u : 128u) || cut.high != prefix.high ||
        cut.low != prefix.low)
        return 0;
    if (node->group == 0 && (node->child[0] == 0 || node->child[1] == 0))
        return 0;
    if (above == NULL)
        return 1;
    return node->length > above->length &&
           binary_common(prefix, (struct binary_prefix){above->high, above->low}) >=
               above->length &&
           above->child[binary_bit(prefix, above->length)] == block;
}

static int walk_node(struct walk *walk, uint32_t block, const struct binary_node *above)
{
    const struct lpm_visitor *visitor = walk->visitor;
    if (!sound(walk, block, above))
        return -EBADMSG;
    const struct binary_node *node = fib_block(walk->writer, block);
    struct binary_prefix prefix = {node->high, node->low};
    struct route_row row = {.family = walk->family};
    int stop = visitor->blocks == NULL ? 0 : visitor->blocks(visitor->context, block, 1);
    if (stop != 0 || passed(walk, prefix, node->length))
        return stop;
    bytes_of(prefix, row.prefix);
    row.length = (uint8_t)node->length;
    row.nexthop = node->group;
    if (row.nexthop != 0 && behind(walk, &row))
        stop = visitor->route(visitor->context, &row);
    for (uint32_t side = 0; side < 2 && stop == 0; side++)
        if (node->child[side] != 0)
            stop = walk_node(walk, node->child[side], node);
    return stop;
}

int binary_walk(const struct fib_writer *writer, uint8_t family, const struct route_row *after,
                const struct lpm_visitor *visitor)
{
    struct walk walk = {writer, visitor, after, family};
    uint32_t root = load_relaxed32(fib_root_word(writer->header, family));
    return root == 0 ? 0 : walk_node(&walk, root, NULL);
}

uint32_t binary_exact(const struct fib_writer *writer, const struct route_row *row)
{
    struct binary_prefix wanted = binary_prefix_of(row->prefix, row->family);
    uint32_t block = load_relaxed32(fib_root_word(writer->header, row->family));
    uint32_t least = 0; /* each node is longer than its parent, or the segment is no tree */
    while (block != 0 && fib_inside(writer, block, sizeof(struct binary_node))) {
        const struct binary_node *node = fib_block(writer, block);
        if (node->length < least || node->length > row->length ||
            binary_common(wanted, (struct binary_prefix){node->high, node->low}) < node->length)
            return 0;
        if (node->length == row->length)
            return node->group;
        least = node->length + 1;
        block = node->child[binary_bit(wanted, node->length)];
    }
    return 0;
}
