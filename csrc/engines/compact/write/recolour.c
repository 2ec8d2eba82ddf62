/* Recolours a stretch of one run, in a copy of a node's words and leaves.
 *
 *   old     a a a a a b b b        the stretch [from, to) lies in one run, whose slots all
 *   new     a a N N a b b b        answered the same; N is not that
 *   begins  | . | . | | . .        only slots `from` and `to` can change whether they begin a run
 *
 * The leaves are copied as far as the stretch, then at most one for it and one for what goes on
 * behind it; a leaf is left out where the stretch joins its neighbour. So it costs two ranks'
 * arithmetic and a copy, whatever the number of routes. Private memory alone, but for the old
 * node, which is its writer's own.
 */
#include "engines/compact/write/build.h"

#include <string.h>

static uint32_t old_leaf(const struct compact_recolour *change, uint32_t i)
{
    return change->wide ? ((const uint16_t *)(const void *)change->old_leaf)[i]
                        : change->old_leaf[i];
}

/* Up to the `end`th of the old leaves, without those already dealt with. */
static void copy_leaves(struct compact_recolour *change, uint32_t end)
{
    uint32_t n = (end - change->done) << change->wide;
    if (end <= change->done)
        return;
    compact_copy(change->leaf, change->old_leaf + (change->done << change->wide), n);
    change->leaf += n;
    change->done = end;
}

static void add_leaf(struct compact_recolour *change, uint32_t group)
{
    *change->leaf = (uint8_t)group;
    if (change->wide)
        change->leaf[1] = (uint8_t)(group >> 8);
    change->leaf += 1 + change->wide;
}

static void flip(struct compact_recolour *change, uint32_t slot, int begins)
{
    uint32_t w = compact_word_of(slot);
    change->word[w] ^= 1u << (slot - COMPACT_WORD_SLOTS * w);
    change->more[w] += begins ? 1 : -1;
}

/* Ones of 24 bits, without POPCNT: one a change is not worth compiling this twice. */
static uint32_t ones(uint32_t x)
{
    x -= x >> 1 & 0x555555;
    x = (x & 0x333333) + (x >> 2 & 0x333333);
    x = (x + (x >> 4)) & 0x0f0f0f;
    return (x * 0x010101 >> 16) & 0xff;
}

void compact_recolour_begin(struct compact_recolour *change, const uint8_t *old, uint8_t *node,
                            uint32_t wide, uint32_t group)
{
    *change = (struct compact_recolour){.old_word = (const uint32_t *)(const void *)old,
                                        .old_leaf = old + COMPACT_LEAVES_AT,
                                        .word = (uint32_t *)(void *)node,
                                        .leaf = node + COMPACT_LEAVES_AT,
                                        .wide = wide,
                                        .group = group};
    memcpy(node, old, COMPACT_WORDS * sizeof(uint32_t));
}

void compact_recolour(struct compact_recolour *change, uint32_t from, uint32_t to)
{
    uint32_t now = change->group, w = compact_word_of(from);
    uint32_t bit = from - COMPACT_WORD_SLOTS * w, word = change->old_word[w];
    uint32_t rank = (word >> 24) + ones(word & ((2u << bit) - 1) & 0xffffff);
    uint32_t was = old_leaf(change, rank);
    int began = from == 0 || (word >> bit & 1) != 0;
    if (was == now)
        return;
    int begins = from == 0 || (began ? old_leaf(change, rank - 1) : was) != now;
    copy_leaves(change, rank + !began);
    change->done = rank + 1;
    if (begins)
        add_leaf(change, now);
    if (began != begins)
        flip(change, from, begins);
    if (to == COMPACT_SLOTS)
        return;
    w = compact_word_of(to);
    if ((change->old_word[w] >> (to - COMPACT_WORD_SLOTS * w) & 1) == 0) {
        add_leaf(change, was);
        flip(change, to, 1);
    } else if (old_leaf(change, rank + 1) == now) {
        change->done++;
        flip(change, to, 0);
    }
}

uint32_t compact_recolour_end(struct compact_recolour *change)
{
    uint32_t *last = &change->word[COMPACT_WORDS - 1];
    copy_leaves(change, compact_leaves(change->old_word[COMPACT_WORDS - 1]));
    uint32_t more = 0;
    for (uint32_t w = 0; w < COMPACT_WORDS; w++) {
        change->word[w] += more << 24;
        more += (uint32_t)change->more[w];
    }
    *last += more << 16;
    return compact_leaves(*last);
}
