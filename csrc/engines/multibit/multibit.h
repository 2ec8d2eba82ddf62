/* The multibit engine, plain and the same for IPv4 and IPv6. This is one node of its trie.
 *
 *   level 0     level 1     level 2     level 3 ..          IPv4 has 4 levels, IPv6 16; a node of
 *   bits 0-7    bits 8-15   bits 16-23  bits 24-31          level L is indexed by address byte L
 *
 *   node    +--------------------------------------------------- 2048 bytes
 *           | slot[0]    { group : 32 | child : 32 }             one cache line is read a level
 *           | slot[1]      group: of the longest prefix of THIS node that covers the slot
 *           | ...          child: block of the next level's node, 0 = none
 *           | slot[255]
 *           +--------------------------------------------------- list
 *           | list, own[0] .. own[count-1]                       its own prefixes, sorted
 *           +---------------------------------------------------
 *
 * A node of level L owns the prefixes of length 8L+1 .. 8L+8 (level 0 also /0), at most 511.
 * Nothing is pushed from node to node: the walk remembers the best group it has met (Srinivasan
 * and Varghese, "Fast address lookups using controlled prefix expansion", 1999, without the
 * leaf pushing across strides). So any change of routes repaints one node, beside the old one,
 * and is published by the one word that names it: the parent's slot, or the root word.
 *
 * slot[] of a reachable node: only the child half changes, by one 64-bit release store; readers
 * use single relaxed 64-bit loads. The list is for the writer, for fib_lookup_match (under the
 * epoch check) and for the successor; lookups never touch it.
 */
#ifndef RC_FIB_MULTIBIT_H
#define RC_FIB_MULTIBIT_H
#include "engines/own_prefix.h"
#include "layout/fib_layout.h"

enum {
    MULTIBIT_SLOTS = 256,
    MULTIBIT_LEVELS4 = 4,
    MULTIBIT_LEVELS6 = 16,
    MULTIBIT_OWN_MAX = 511, /* 2 + 4 + .. + 256 prefixes, and /0 in a root */
    MULTIBIT_SLOT_BLOCKS = 32,
};

struct multibit_node {
    uint64_t slot[MULTIBIT_SLOTS]; /* low half: group, high half: child block */
    uint32_t list;                 /* { born : 23 | count : 9 }; count: entries of own[] */
    uint32_t own[1];               /* [count], 512 words with `list`; see own_prefix() */
};
RC_STATIC_ASSERT(offsetof(struct multibit_node, list) == MULTIBIT_SLOT_BLOCKS * FIB_BLOCK,
                 "the list begins on a line of its own");
RC_STATIC_ASSERT(FIB_BLOCK % sizeof(uint64_t) == 0, "no slot straddles two lines");

/* What the layout identity is made of, see layout/identity.h. */
#define MULTIBIT_LAYOUT                                                                          \
    LAYOUT_STRUCT(multibit_node, slot, list, own)                                                  \
    LAYOUT_NUMBER(MULTIBIT_SLOT_BLOCKS)

#if RC_INLINE_SECTION

/* The list's first word. `born`: the epoch the node was published at, its low 23 bits. Since then
 * none of its groups has changed, only children. */
static inline uint32_t multibit_list(uint32_t count, uint64_t born)
{
    return (uint32_t)born << 9 | count;
}
static inline uint32_t multibit_count(uint32_t list)
{
    return list & 511;
}
static inline uint32_t multibit_age(uint32_t list, uint64_t epoch)
{
    return ((uint32_t)epoch - (list >> 9)) & 0x7fffff;
}
RC_STATIC_ASSERT(MULTIBIT_OWN_MAX <= 511, "the count fits its nine bits");

static inline uint32_t multibit_slot_group(uint64_t slot)
{
    return (uint32_t)slot;
}
static inline uint32_t multibit_slot_child(uint64_t slot)
{
    return (uint32_t)(slot >> 32);
}
static inline uint64_t multibit_slot(uint32_t group, uint32_t child)
{
    return (uint64_t)child << 32 | group;
}

/* The level whose node owns prefixes of this length. */
static inline uint32_t multibit_level(uint32_t length)
{
    return length == 0 ? 0 : (length - 1) / 8;
}
static inline uint32_t multibit_levels(uint8_t family)
{
    return family == 4 ? MULTIBIT_LEVELS4 : MULTIBIT_LEVELS6;
}

/* Blocks of a node with `count` own prefixes. The list grows by doubling, so that there are six
 * sizes and a freed node fits the next one. */
static inline uint32_t multibit_blocks(uint32_t count)
{
    uint32_t list = (count + 1 + 15) / 16, doubled = 1; /* 16 words a block */
    while (doubled < list)
        doubled *= 2;
    return MULTIBIT_SLOT_BLOCKS + doubled;
}

struct fib_reader;
struct fib_key;
struct fib_writer;
struct route_row;
struct lpm_run;
struct lpm_visitor;

/* read.c */
void multibit_lookup(const struct fib_reader *reader, uint32_t root, const struct fib_key *keys,
                     uint32_t *groups, uint32_t n);
uint32_t multibit_match(const struct fib_reader *reader, uint32_t root, const struct fib_key *key,
                        uint32_t *length);
/* write.c */
int multibit_apply(struct fib_writer *writer, const struct route_row *rows, uint64_t n,
                   struct lpm_run *run);
/* walk.c */
uint64_t multibit_blocks_for(uint8_t family, uint32_t routes);
uint32_t multibit_exact(const struct fib_writer *writer, const struct route_row *row);
int multibit_walk(const struct fib_writer *writer, uint8_t family, const struct route_row *after,
                  const struct lpm_visitor *visitor);

#endif
#endif
