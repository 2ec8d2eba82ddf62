/* The compact IPv4 engine: a 16-8-8 trie of ranked bitmaps, one node a /16 in use.
 *
 *   root piece                      node of a /16                         sub-node of a /24
 *   dir[65536] ---- word ------>  +--------------------------+   +----> the same format,
 *   fallback  (group of /0)       | sub[k] .. sub[0]   u64   |---+      slots are address bits
 *   top_at    (list of /0../7)    +== 64-byte boundary ======+          24..31
 *   short_at[256] (/8../15)       | word[0..10]  u32         |
 *   uniform_at[128]               | leaf[0..]    u8 or u16   |
 *                                 | tail, routes[]  u32      |  (the writer's, never looked up)
 *                                 +--------------------------+
 *
 *   word[w]   { run starts before slot 24w : 8 | run starts in slots 24w .. 24w+23 : 24 };
 *             the last word has only 16 slots, and in bits 16..23 the number of runs less one
 *   leaf[i]   the group of the i-th run of equal slots; 0x8000 | k goes on in sub[k]
 *
 * A lookup is three dependent loads and no branch: the directory word, word[slot / 24], and the
 * leaf at base + popcount(run starts up to the slot) (the counting of Degermark et al., SIGCOMM
 * 1997, in the shape Poptrie and DXR gave it). Answers are
 * pushed into the leaves, except for two: /0 stands once, in `fallback`, and is what 0 turns
 * into at the end; and a sub-node's 0 turns into the answer its sub[] entry carries, so that
 * changing a prefix of /24 or shorter never touches the sub-nodes below it.
 *
 * A node carries the routes it was painted from (copy-on-write with it), so ONE directory word
 * publishes routes and leaves together. A /16 without a route of its own names a uniform node,
 * one a group, made in pages of 256. Root and pages stay once they are made.
 *
 * Every prefix list (of /0../7, of a first byte's /8../15, of a /16's /16../24, of a /24's
 * /25../32) is sorted by address, then length, and has one entry format: see compact_entry().
 * Limits: group ids to 32,767; 2^31 blocks; the AVX-512 lookup up to 2 GiB of segment.
 */
#ifndef RC_FIB_COMPACT_H
#define RC_FIB_COMPACT_H
#include "engines/engine.h"
#include "layout/fib_layout.h"
#include "layout/row_layout.h"

enum {
    COMPACT_WORDS = 11,
    COMPACT_WORD_SLOTS = 24,
    COMPACT_SLOTS = 256,
    COMPACT_LEAVES_AT = 44,     /* bytes into a node */
    COMPACT_LIST_MAX = 511,     /* 1 + 2 + .. + 256: the /16 and all of /17../24 */
    COMPACT_CHUNKS = 65536,
    COMPACT_SPREAD = 32768 + 16, /* a /1 changes half of the directory, its list, .. */
    COMPACT_UNIFORM_PAGE = 256, /* uniform nodes, one block each, made together */
    COMPACT_SUB = 0x8000,       /* a leaf that names a sub-node */
    COMPACT_PIECE_BLOCKS = 80,  /* the largest node: 32 of sub[], 41 of the rest */
    COMPACT_NODE_REACH = 1024,  /* no load of a lookup goes further behind a node's start */
};
#define COMPACT_WIDE 0x80000000u /* of a node word: leaves are u16 */

struct compact_root {
    uint32_t dir[COMPACT_CHUNKS]; /* node words; writer: release, readers: relaxed */
    uint32_t fallback;            /* group of 0.0.0.0/0 */
    uint32_t top_at;              /* block of the list of /0../7, 0 = none */
    uint32_t flat_at;             /* the flat engine's table, 0 in the compact engine */
    uint32_t unused[13];
    uint32_t short_at[256];       /* blocks of the lists of /8../15, by first byte */
    uint32_t uniform_at[128];     /* blocks of the uniform pages, by group / 256 */
    struct fib_word todo[COMPACT_SPREAD]; /* the writer's: words a short prefix changes */
    uint32_t was[COMPACT_SPREAD];         /* what they were */
};

struct compact_tail { /* at compact_tail_at() bytes into a node */
    uint16_t routes;
    uint16_t subs;
    uint16_t background; /* what the slots were before painting */
    uint16_t unused;
    uint32_t entry[1];   /* [routes] */
};

struct compact_short { /* a piece of its own: the list of some short prefixes */
    uint32_t count;
    uint32_t entry[1]; /* [count] */
};

/* What the layout identity is made of, see layout/identity.h. */
#define COMPACT_LAYOUT                                                                           \
    LAYOUT_STRUCT(compact_root, dir, fallback, top_at, flat_at, unused, short_at, uniform_at,    \
                  todo, was)                                                                     \
    LAYOUT_STRUCT(compact_tail, routes, subs, background, unused, entry)                         \
    LAYOUT_STRUCT(compact_short, count, entry)                                                   \
    LAYOUT_NUMBER(COMPACT_WORDS) LAYOUT_NUMBER(COMPACT_WORD_SLOTS)                               \
    LAYOUT_NUMBER(COMPACT_LEAVES_AT) LAYOUT_NUMBER(COMPACT_SUB) LAYOUT_NUMBER(COMPACT_WIDE)

#if RC_INLINE_SECTION
RC_STATIC_ASSERT(sizeof(struct compact_root) % FIB_BLOCK == 0, "whole blocks");
RC_STATIC_ASSERT(offsetof(struct compact_root, todo) % FIB_BLOCK == 0, "a list begins a block");
RC_STATIC_ASSERT((int)FIB_MAX_GROUPS <= (int)COMPACT_SUB, "a group id is below the mark of a sub-node");

/* An entry: { prefix : 17 | group : 15 }. The prefix is 16 address bits (the upper half for
 * lengths to 15, the lower half above), a one behind the last that counts, zeros. So the lowest
 * one tells both the length and how many addresses of the half are covered. */
static inline uint32_t compact_prefix(uint32_t half, uint32_t bits)
{
    return (half << 1 & 0x1ffff) | 1u << (16 - bits);
}
static inline uint32_t compact_entry(uint32_t prefix, uint32_t group)
{
    return prefix << 15 | group;
}
static inline uint32_t compact_entry_prefix(uint32_t entry)
{
    return entry >> 15;
}
static inline uint32_t compact_entry_group(uint32_t entry)
{
    return entry & 0x7fff;
}
/* Addresses (of the half) a prefix covers, and the first of them. */
static inline uint32_t compact_span(uint32_t prefix)
{
    return prefix & (0u - prefix);
}
static inline uint32_t compact_first(uint32_t prefix)
{
    return (prefix & (prefix - 1)) >> 1;
}
static inline uint32_t compact_bits(uint32_t prefix)
{
    /* Every prefix has a one in 0..16; a zero, which is none, counts as the shortest. */
    return 16 - (uint32_t)__builtin_ctz(prefix | 1u << 16);
}
/* As numbers these sort by address, then length. */
static inline uint32_t compact_order(uint32_t prefix)
{
    return compact_first(prefix) << 5 | compact_bits(prefix);
}

/* A node word: { wide : 1 | block : 31 }. */
static inline uint32_t compact_block(uint32_t word)
{
    return word & ~COMPACT_WIDE;
}
static inline uint32_t compact_word_of(uint32_t slot)
{
    return slot * 171 >> 12; /* slot / 24, exact below 256 */
}
/* The leaf's index: starts before this word, and in it up to the slot. The shift drops the slots
 * behind it, and the count in the upper byte with them. */
static inline uint32_t compact_rank(uint32_t word, uint32_t slot)
{
    uint32_t bit = slot - COMPACT_WORD_SLOTS * compact_word_of(slot);
    return (word >> 24) + (uint32_t)__builtin_popcount(word << (31 - bit));
}
static inline uint32_t compact_leaves(uint32_t last_word)
{
    return 1 + (last_word >> 16 & 0xff);
}
static inline uint32_t compact_tail_at(uint32_t leaves, uint32_t wide)
{
    return (COMPACT_LEAVES_AT + (leaves << wide) + 3) & ~3u;
}

/* A sub[] entry: { unused : 9 | slot : 8 | answer where the sub-node has none : 15 | node word : 32 } */
static inline uint64_t compact_sub(uint32_t word, uint32_t slot, uint32_t group)
{
    return (uint64_t)(slot << 15 | group) << 32 | word;
}
static inline uint32_t compact_sub_word(uint64_t sub)
{
    return (uint32_t)sub;
}
static inline uint32_t compact_sub_slot(uint64_t sub)
{
    return (uint32_t)(sub >> 47) & 0xff;
}
static inline uint32_t compact_sub_group(uint64_t sub)
{
    return (uint32_t)(sub >> 32) & 0x7fff;
}
static inline uint32_t compact_sub_blocks(uint32_t subs)
{
    return (subs + 7) / 8;
}

/* The group of /0, after everything that may turn out not to match has been loaded: the writer
 * keeps a change of it two epochs behind the last change of a longer prefix (fib_grace_since), so
 * an address without a match and this word belong to one moment. */
static inline uint32_t compact_fallback(const struct compact_root *root)
{
    atomic_thread_fence(memory_order_acquire);
    return load_relaxed32(&root->fallback);
}

/* ---- reading (read.c, avx512.c, look.h) ---- */

void compact_lookup(const struct fib_reader *reader, uint32_t root, const struct fib_key *keys,
                    uint32_t *groups, uint32_t n);
void compact_lookup4(const struct fib_reader *reader, uint32_t root, const uint32_t *addresses,
                     uint32_t *groups, uint32_t n);
uint32_t compact_match(const struct fib_reader *reader, uint32_t root, const struct fib_key *key,
                       uint32_t *length);
const struct compact_root *compact_root_at(const struct fib_reader *reader, uint32_t root);
#if defined(__x86_64__)
int compact_avx512_able(const struct fib_reader *reader);
/* How many of the n it did: the first ones. Too few for its 64 lanes are left to the caller. */
uint32_t compact_lookup4_avx512(const struct fib_reader *reader, const struct compact_root *root,
                                const uint32_t *addresses, uint32_t *groups, uint32_t n);
#endif

/* ---- writing: control alone ---- */

struct compact_list {
    uint32_t count;
    uint32_t entry[COMPACT_LIST_MAX + 1]; /* one more than ever stays */
};

/* list.c */
struct compact_position {
    uint32_t at;    /* the first position whose prefix does not come before the one asked for */
    uint32_t cover; /* position of the longest shorter prefix that covers it, or: */
};
#define COMPACT_NO_COVER UINT32_MAX
/* `cover` only when it is wanted. */
struct compact_position compact_list_find(const uint32_t *entry, uint32_t count, uint32_t prefix,
                                          int wanted);
#if defined(__x86_64__)
struct compact_position compact_list_find_avx512(const uint32_t *entry, uint32_t count,
                                              uint32_t prefix);
#endif
uint32_t compact_list_put(struct compact_list *list, uint32_t prefix, uint32_t group);
uint32_t compact_list_get(const uint32_t *entry, uint32_t count, uint32_t prefix);
/* The position of the longest prefix that covers `half`; count when there is none. */
uint32_t compact_list_cover(const uint32_t *entry, uint32_t count, uint32_t half);
int compact_list_valid(const uint32_t *entry, uint32_t count, uint32_t shortest, uint32_t longest);

/* engines/compact/write/node.c. A uniform node's word, or 0: arena full. */
uint32_t compact_uniform(struct fib_writer *writer, struct compact_root *root, int fresh,
                         const struct route_row *row, uint32_t group);
const struct compact_tail *compact_tail_of(const struct fib_writer *writer, uint32_t word);
uint64_t *compact_sub_of(const struct fib_writer *writer, uint32_t word, uint32_t k);
struct compact_piece {
    uint32_t block, size;
};
struct compact_piece compact_piece_of(const struct fib_writer *writer, uint32_t word);

/* engines/compact/write/root.c */
struct compact_target { /* where an update goes */
    struct compact_root *root;
    uint32_t block; /* of the root piece */
    int fresh;      /* made by this update, not published yet */
};
/* 0, or -ENOSPC. */
int compact_target(struct fib_writer *writer, struct compact_target *target);
void compact_target_give(struct fib_writer *writer, const struct compact_target *target);
int compact_apply(struct fib_writer *writer, const struct route_row *rows, uint64_t n,
                  struct lpm_run *run);
/* A row of /16../24, the only one of its /16: 1 when it is done, 0 when that has to be done by
 * painting, or -ENOSPC. There is a root. */
int compact_apply_single(struct fib_writer *writer, const struct route_row *row,
                         struct lpm_run *run);
int compact_apply_short(struct fib_writer *writer, const struct route_row *row,
                        struct lpm_run *run);
uint32_t compact_exact(const struct fib_writer *writer, const struct route_row *row);
int compact_walk(const struct fib_writer *writer, uint8_t family, const struct route_row *after,
                 const struct lpm_visitor *visitor);
uint64_t compact_blocks_for(uint8_t family, uint32_t routes);

static inline uint32_t compact_address(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

#endif
#endif
