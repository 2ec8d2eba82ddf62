/* Walks the multibit trie in order, finds one exact prefix, and says what a table needs.
 *
 * Order inside a node: for each slot its own prefixes, shortest first, then the child. An own
 * prefix is never longer than what hangs below its slot, so that is the order by address, then
 * length. The depth is bounded by the levels of the family, so even a segment that is no tree is
 * walked in bounded stack; the sweep finds the block that has two owners.
 *
 * Control alone: not safe beside a writer.
 */
#include "engines/engine.h"
#include "engines/multibit/multibit.h"

#include <errno.h>
#include <string.h>

struct walk {
    const struct fib_writer *writer;
    const struct lpm_visitor *visitor;
    const struct route_row *after; /* NULL: from the start */
    struct route_row row;          /* family and the address bytes of the path */
};

/* Blocks a table of `routes` wants, from real tables (2023): 901,899 IPv4 prefixes need 26,065
 * nodes (35 prefixes a node), 160,147 IPv6 prefixes 38,162 (4.2 a node). Granted are 24 and 3.5
 * a node, 8,192 nodes beside, and the list of each route twice; small tables get the worst
 * case, a node for every level of every route. 1.2 M IPv4 take 132 MB, 300 k IPv6 200 MB. */
uint64_t multibit_blocks_for(uint8_t family, uint32_t routes)
{
    uint64_t worst = 1 + (uint64_t)routes * (multibit_levels(family) - 1);
    uint64_t real = 8192 + (family == 4 ? routes / 24 : (uint64_t)routes * 2 / 7);
    uint64_t nodes = worst < real ? worst : real;
    return nodes * multibit_blocks(0) + (uint64_t)routes / 8;
}

static int behind(const struct walk *walk)
{
    if (walk->after == NULL)
        return 1;
    int order = memcmp(walk->row.prefix, walk->after->prefix, sizeof walk->row.prefix);
    return order > 0 || (order == 0 && walk->row.length > walk->after->length);
}

/* What the sweep asks of a list before anything paints from it: prefixes this level may own, no
 * bits below their length, strictly ascending (hence no more than fit). */
static int list_valid(const struct multibit_node *node, uint32_t level)
{
    for (uint32_t i = 0; i < multibit_count(node->list); i++) {
        uint32_t own = node->own[i], bits = own_bits(own);
        if (bits > 8 || (bits == 0 && level > 0) || (own >> 16 & 15) != 0 ||
            (own_byte(own) & (0xffu >> bits)) != 0 ||
            (i > 0 && own >> 20 <= node->own[i - 1] >> 20))
            return 0;
    }
    return 1;
}

/* `bounded`: the path so far is that of `after`, so what lies before it is skipped. */
static int walk_node(struct walk *walk, uint32_t block, uint32_t level, int bounded)
{
    const struct fib_geometry *geometry = &walk->writer->header->geometry;
    const struct multibit_node *node = fib_block(walk->writer, block);
    const struct lpm_visitor *visitor = walk->visitor;
    uint32_t room = geometry->blocks - MULTIBIT_SLOT_BLOCKS;
    if (level >= multibit_levels(walk->row.family) || block < geometry->arena_at || block >= room)
        return -EBADMSG;
    uint32_t count = multibit_count(node->list), at = 0;
    if (multibit_blocks(count) > geometry->blocks - block)
        return -EBADMSG;
    int stop = 0;
    if (visitor->blocks != NULL) { /* a sweep */
        if (!list_valid(node, level))
            return -EBADMSG;
        stop = visitor->blocks(visitor->context, block, multibit_blocks(count));
    }

    uint32_t first = bounded ? walk->after->prefix[level] : 0;
    while (at < count && own_byte(node->own[at]) < first)
        at++;
    for (uint32_t s = first; s < MULTIBIT_SLOTS && stop == 0; s++) {
        walk->row.prefix[level] = (uint8_t)s;
        for (; at < count && own_byte(node->own[at]) == s && stop == 0; at++) {
            walk->row.length = (uint8_t)(level * 8 + own_bits(node->own[at]));
            walk->row.nexthop = own_group(node->own[at]);
            if (behind(walk))
                stop = visitor->route(visitor->context, &walk->row);
        }
        uint32_t child = multibit_slot_child(load_relaxed64(&node->slot[s]));
        if (child != 0 && stop == 0)
            stop = walk_node(walk, child, level + 1, bounded && s == first);
    }
    walk->row.prefix[level] = 0;
    return stop;
}

int multibit_walk(const struct fib_writer *writer, uint8_t family, const struct route_row *after,
                  const struct lpm_visitor *visitor)
{
    struct walk walk = {.writer = writer, .visitor = visitor, .after = after};
    uint32_t root = load_relaxed32(fib_root_word(writer->header, family));
    walk.row.family = family;
    return root == 0 ? 0 : walk_node(&walk, root, 0, after != NULL);
}

uint32_t multibit_exact(const struct fib_writer *writer, const struct route_row *row)
{
    uint32_t block = load_relaxed32(fib_root_word(writer->header, row->family));
    uint32_t level = multibit_level(row->length);
    for (uint32_t l = 0; l < level && block != 0; l++) {
        if (!fib_inside(writer, block, sizeof(struct multibit_node)))
            return 0;
        const struct multibit_node *node = fib_block(writer, block);
        block = multibit_slot_child(load_relaxed64(&node->slot[row->prefix[l]]));
    }
    if (block == 0 || !fib_inside(writer, block, sizeof(struct multibit_node)))
        return 0;
    const struct multibit_node *node = fib_block(writer, block);
    if (!fib_inside(writer, block, sizeof *node + multibit_count(node->list) * sizeof(uint32_t)))
        return 0;
    uint32_t key = own_prefix(row->prefix[level], row->length - level * 8u, 0);
    for (uint32_t i = 0; i < multibit_count(node->list); i++)
        if (node->own[i] >> 20 == key >> 20)
            return own_group(node->own[i]);
    return 0;
}
