/* The binary engine: one node where a route ends or two ways part, one bit a step. For teaching.
 *
 *   root word -> [ 10.0.0.0/8   group 1 ]
 *                     0 |        | 1
 *                       v        v
 *   [ 10.1.0.0/16 group 2 ]    [ 10.128.0.0/14  group 0 ]   group 0: it only branches,
 *                                  0 |        | 1           so it has both children
 *                                    v        v
 *               [ 10.129.0.0/16 group 3 ]   [ 10.130.0.0/16 group 1 ]
 *
 * The textbook's binary trie without the nodes that have one child and no route (Morrison,
 * "PATRICIA", J. ACM 1968), so n routes take at most 2n - 1 nodes of one block, and a lookup at
 * most 33 or 129 steps. Each step is a load that waits for the one before: that is the lesson,
 * and why the other engines exist.
 *
 * A node's prefix never changes. Its words do, one a change: `group` when a route comes to a
 * node that is there or leaves one that has to stay, else the word that names the node, its
 * parent's child[] or the root word.
 *
 * Moments (see layout/fib_layout.h): a walk takes the shorter prefixes first, and of a node the
 * group before the child. So only what is withdrawn can make it answer with something that was
 * never right: a shorter prefix as it was before, while the longer one is gone. `turned` and
 * `turned_above` tell how long ago anything changed on the way to a node, and a withdrawal keeps
 * two epochs behind that.
 */
#ifndef RC_FIB_BINARY_H
#define RC_FIB_BINARY_H
#include "layout/fib_layout.h"

enum { BINARY_STEPS = 129 }; /* nodes on one way: lengths 0 to 128 */

struct binary_node { /* one block */
    uint64_t high;         /* the prefix as a number, zeros behind it; IPv4 in the upper 32 bits */
    uint64_t low;
    uint32_t length;       /* bits of it that count */
    uint32_t group;        /* writer: release; reader: acquire (before child); 0: no route */
    uint32_t child[2];     /* blocks, by the bit behind the prefix; writer: release */
    uint32_t turned;       /* the writer's: epoch (low half) at which `group` last changed */
    uint32_t turned_above; /* likewise of what went between this node and its parent */
    uint8_t unused[24];
};
RC_STATIC_ASSERT(sizeof(struct binary_node) == FIB_BLOCK, "a node is a block");

/* What the layout identity is made of, see layout/identity.h. */
#define BINARY_LAYOUT                                                                            \
    LAYOUT_STRUCT(binary_node, high, low, length, group, child, turned, turned_above, unused)

#if RC_INLINE_SECTION

struct fib_reader;
struct fib_key;
struct fib_writer;
struct route_row;
struct lpm_run;
struct lpm_visitor;

struct binary_prefix {
    uint64_t high, low;
};

static inline struct binary_prefix binary_prefix_of(const uint8_t bytes[16], uint8_t family)
{
    struct binary_prefix p = {0, 0};
    for (uint32_t i = 0; i < (family == 4 ? 4u : 8u); i++)
        p.high |= (uint64_t)bytes[i] << (56 - 8 * i);
    for (uint32_t i = 0; i < 8 && family != 4; i++)
        p.low |= (uint64_t)bytes[8 + i] << (56 - 8 * i);
    return p;
}

/* How many leading bits are equal, 0..128. */
static inline uint32_t binary_common(struct binary_prefix a, struct binary_prefix b)
{
    uint64_t high = a.high ^ b.high, low = a.low ^ b.low;
    if (high != 0)
        return (uint32_t)__builtin_clzll(high);
    return low != 0 ? 64 + (uint32_t)__builtin_clzll(low) : 128;
}

/* Bit `at` (0 is the first) of an address; 0 behind the last. */
static inline uint32_t binary_bit(struct binary_prefix p, uint32_t at)
{
    if (at < 64)
        return (uint32_t)(p.high >> (63 - at)) & 1;
    return at < 128 ? (uint32_t)(p.low >> (127 - at)) & 1 : 0;
}

/* The first `length` bits, zeros behind them. */
static inline struct binary_prefix binary_cut(struct binary_prefix p, uint32_t length)
{
    if (length < 64)
        return (struct binary_prefix){length == 0 ? 0 : p.high >> (64 - length) << (64 - length), 0};
    if (length < 128)
        p.low = length == 64 ? 0 : p.low >> (128 - length) << (128 - length);
    return p;
}

/* read.c */
void binary_lookup(const struct fib_reader *reader, uint32_t root, const struct fib_key *keys,
                   uint32_t *groups, uint32_t n);
uint32_t binary_match(const struct fib_reader *reader, uint32_t root, const struct fib_key *key,
                      uint32_t *length);
/* write.c */
int binary_apply(struct fib_writer *writer, const struct route_row *rows, uint64_t n,
                 struct lpm_run *run);
/* walk.c */
uint64_t binary_blocks_for(uint8_t family, uint32_t routes);
uint32_t binary_exact(const struct fib_writer *writer, const struct route_row *row);
int binary_walk(const struct fib_writer *writer, uint8_t family, const struct route_row *after,
                const struct lpm_visitor *visitor);

#endif
#endif
