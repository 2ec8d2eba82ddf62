/* One lookup in the compact engine, step by step: node, bitmap word, leaf, sub-node.
 *
 * Use: compact_one() for an address; the steps one by one where a batch takes each for all its
 * addresses first. Inlined, so that every compilation of a batch counts with the instructions it
 * may use: without POPCNT a rank costs a call.
 *
 * Any process, read-only mapping. A word may be stale: the epoch check of fib/read.c finds that;
 * here every node is kept in the segment.
 */
#ifndef RC_FIB_COMPACT_LOOK_H
#define RC_FIB_COMPACT_LOOK_H
#include "engines/compact/compact.h"

#define COMPACT_INLINE static inline __attribute__((always_inline))

/* A node's first byte: never so late that a lookup's loads leave the segment. The last nodes of
 * the arena are further from its end (FIB_GUARD), so a word that is not stale stays as it is. */
COMPACT_INLINE const uint8_t *compact_node(const struct fib_reader *reader, uint32_t word)
{
    uint64_t offset = (uint64_t)compact_block(word) * FIB_BLOCK;
    uint64_t last = reader->size - COMPACT_NODE_REACH;
    return reader->base + (offset < last ? offset : last);
}

COMPACT_INLINE uint32_t compact_bitmap(const uint8_t *node, uint32_t slot)
{
    return load_relaxed32((const uint32_t *)(const void *)node + compact_word_of(slot));
}

COMPACT_INLINE uint32_t compact_leaf(const uint8_t *node, uint32_t word, uint32_t rank)
{
    const uint8_t *leaf = node + COMPACT_LEAVES_AT;
    return (word & COMPACT_WIDE) != 0
               ? load_relaxed16((const uint16_t *)(const void *)leaf + rank)
               : load_relaxed8(leaf + rank);
}

/* The sub-node step alone: `leaf` of the node named by `word`. Without the fallback. */
COMPACT_INLINE uint32_t compact_below(const struct fib_reader *reader, uint32_t word,
                                      uint32_t leaf, uint32_t address)
{
    const uint8_t *node = compact_node(reader, word);
    uint64_t behind = ((leaf & 0xff) + UINT64_C(1)) * sizeof(uint64_t);
    if ((uint64_t)(node - reader->base) < behind)
        return 0;
    uint64_t sub = load_relaxed64((const uint64_t *)(const void *)(node - behind));
    uint32_t below = compact_sub_word(sub), slot = address & 0xff;
    node = compact_node(reader, below);
    uint32_t group = compact_leaf(node, below, compact_rank(compact_bitmap(node, slot), slot));
    return group != 0 ? group : compact_sub_group(sub);
}

/* One address; 0 when nothing matches. */
COMPACT_INLINE uint32_t compact_one(const struct fib_reader *reader,
                                    const struct compact_root *root, uint32_t address)
{
    uint32_t word = load_relaxed32(&root->dir[address >> 16]), slot = address >> 8 & 0xff;
    const uint8_t *node = compact_node(reader, word);
    uint32_t leaf = compact_leaf(node, word, compact_rank(compact_bitmap(node, slot), slot));
    if (unlikely((leaf & COMPACT_SUB) != 0))
        leaf = compact_below(reader, word, leaf, address);
    return leaf != 0 ? leaf : compact_fallback(root);
}

typedef void compact_batch(const struct fib_reader *reader, uint32_t root,
                           const uint32_t *addresses, uint32_t *groups, uint32_t n);

/* A batch of keys handed to one of addresses, a stage at a time: both engines' `lookup`. */
COMPACT_INLINE void compact_keys(compact_batch *batch, const struct fib_reader *reader,
                                 uint32_t root, const struct fib_key *keys, uint32_t *groups,
                                 uint32_t n)
{
    enum { STAGE = 64 };
    uint32_t address[STAGE];
    for (uint32_t at = 0; at < n; at += STAGE) {
        uint32_t size = n - at < STAGE ? n - at : STAGE;
        for (uint32_t i = 0; i < size; i++)
            address[i] = compact_address(keys[at + i].address);
        batch(reader, root, address, groups + at, size);
    }
}

#endif
