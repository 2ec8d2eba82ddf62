/* How nodes of the compact engine are made: painted from a list, or recoloured from the node that
 * was there; in both cases assembled in private memory and then placed in fresh blocks.
 *
 *   list, sub-nodes --- compact_paint --> words, leaves --+
 *                                                         +-- image -- compact_place --> arena
 *   the old node ---- compact_recolour --> both, copied --+
 *
 * Both ways lead to the same bits. Control alone.
 */
#ifndef RC_FIB_COMPACT_BUILD_H
#define RC_FIB_COMPACT_BUILD_H
#include "engines/compact/compact.h"

/* What a node is built from. */
struct compact_plan {
    const uint32_t *entry; /* the list */
    uint32_t count;
    uint32_t shift;        /* address bits below a slot: 8 in a /16's node, 0 in a sub-node */
    uint32_t background;
    uint64_t *sub;         /* answers are filled in; ascending by slot */
    uint32_t subs;
};

/* What painting a plan gives: the head of a node. */
struct compact_runs {
    uint32_t word[COMPACT_WORDS];
    uint32_t leaves;
    uint32_t wide;                                  /* 1: leaf[] holds u16 */
    _Alignas(64) uint8_t leaf[COMPACT_SLOTS * 2 + 64]; /* room for whole vectors behind the last */
};

/* paint.c, paint512.c: 256 slots in order of address, then length (what
 * is longer comes later and wins), then runs. Sub-nodes get their slots and answers too. */
void compact_paint(const struct compact_plan *plan, struct compact_runs *runs);
#if defined(__x86_64__)
void compact_paint_avx512(const struct compact_plan *plan, struct compact_runs *runs);
#endif
/* The words, from one bit a slot that begins a run (bit 0 of the first is clear). Inlined, so
 * that each caller counts with the instructions it may use. */
static inline __attribute__((always_inline)) void compact_words(const uint64_t starts[4],
                                                                struct compact_runs *runs)
{
    uint32_t before = 0;
    for (uint32_t w = 0; w < COMPACT_WORDS; w++) {
        uint32_t bit = w * COMPACT_WORD_SLOTS, q = bit / 64, shift = bit % 64;
        uint64_t bits = starts[q] >> shift;
        if (shift > 40 && q < 3)
            bits |= starts[q + 1] << (64 - shift);
        bits &= 0xffffff;
        runs->word[w] = before << 24 | (uint32_t)bits;
        before += (uint32_t)__builtin_popcountll(bits);
    }
    runs->word[COMPACT_WORDS - 1] |= before << 16;
    runs->leaves = before + 1;
}

/* recolour.c: a copy of a node's head in which some slots get another answer. */
struct compact_recolour {
    const uint32_t *old_word;
    const uint8_t *old_leaf;
    uint32_t *word;
    uint8_t *leaf;               /* where the next one goes */
    uint32_t done;               /* old leaves copied or left out */
    uint32_t wide;               /* 1: leaves are u16, before and after */
    uint32_t group;              /* what the slots get */
    int32_t more[COMPACT_WORDS]; /* run starts that each word has gained */
};
void compact_recolour_begin(struct compact_recolour *change, const uint8_t *old, uint8_t *node,
                            uint32_t wide, uint32_t group);
/* Slots [from, to) of one run, behind those of the last call. */
void compact_recolour(struct compact_recolour *change, uint32_t from, uint32_t to);
/* The number of leaves. */
uint32_t compact_recolour_end(struct compact_recolour *change);

/* ---- node.c ---- */

/* Copies n bytes, and up to 31 behind them: both sides have room for that. A call of memcpy for
 * a dozen bytes costs more than they do. */
static inline void compact_copy(void *to, const void *from, size_t n)
{
    for (size_t i = 0; i < n; i += 32)
        __builtin_memcpy((uint8_t *)to + i, (const uint8_t *)from + i, 32);
}

/* A piece as it will lie in the arena, and behind it room for compact_copy(). */
struct compact_image {
    _Alignas(FIB_BLOCK) uint8_t bytes[(COMPACT_PIECE_BLOCKS + 1) * FIB_BLOCK];
};
/* The block of a node whose image is done: `front` blocks of sub[] lie before it, a list of `count`
 * begins at tail_at. 0: arena full. */
uint32_t compact_place(struct fib_writer *writer, const struct compact_image *image,
                       uint32_t front, uint32_t tail_at, uint32_t count);
/* A painted node's word, or 0: arena full. */
uint32_t compact_build(struct fib_writer *writer, const struct compact_plan *plan);

#endif
