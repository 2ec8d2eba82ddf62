/* The IPv6 engine: a byte trie whose leaves are lines of interval ends.
 *
 *   root    short_word: a trie of the prefixes of /0../16
 *     |     slot[65536]: tries of the longer ones, by the first two bytes of the address
 *     |
 *   word    { block : 27 | 0 : 2 | kind : 3 }, or { group | kind 0 }: a leaf, the same answer
 *     |                                                               everywhere below
 *     +-- directory   slot[256] of words, by the next byte of the address; then its own
 *     |               prefixes (those that end inside that byte), sorted
 *     +-- chunk       every prefix below a slot, painted to intervals, 64 bytes a line:
 *
 *          narrow line   +----------------- end[12] : u32 --------+- group[12] : u8 -+ rows +
 *          wide line     +-------------- end[10] : u32 ----+------ group[10] : u16 --+ rows +
 *          deep line     +-------- end[6] : u64 -----------+- group[6] : u16 --------+ rows +
 *
 *          end    last key of each interval, in the 32 (deep: 64) key bits below the chunk's
 *                 depth; unused ends are all ones. The answer of key k is group[i], i = how
 *                 many ends are below k: one compare of a line and a population count.
 *          rows   how many lines further the writer's sorted routes begin (first line only)
 *
 *          More than one line's worth of intervals: a line of separators before them (16 u32 or
 *          8 u64, the last key of each line), searched in the same way.
 *
 *            [ separators ] [ line 0 ] .. [ line 16 ] [ header | escapes | routes ]
 *
 * Longer than /64: the bucket's group has the top bit set and names an escape { /64, word,
 * group of the /64 }, whose word is the root of another such trie, over the low 64 bits. There
 * "no route" means the group of the /64, so what is above never changes what is below.
 * Likewise the prefixes of /0../16 are a trie of their own that is asked when the first finds
 * nothing: a default route is changed without touching what is more specific. In between,
 * answers are pushed down to the leaves: a change of a prefix repaints what it covers.
 *
 * A chunk is never changed, but for the words of its escapes; a directory never but for its
 * slots. Each is replaced by a new one beside it, and the one word that names it is stored. So
 * routes and lines are published together, and no state of the writer is elsewhere.
 *
 * After "DXR" (Zec, Rizzo, Mikuc, CCR 2012: search in ranges below a directory) and PlanB
 * (NSDI 2026: wide compares over linearised nodes), made incremental.
 */
#ifndef RC_FIB_INTERVAL_H
#define RC_FIB_INTERVAL_H
#include "engines/own_prefix.h"
#include "layout/fib_layout.h"

enum {
    INTERVAL_SLOTS = 256,
    INTERVAL_LEVELS = 8,      /* directories of one half of the address, the root being two */
    INTERVAL_SHORT = 16,      /* longest prefix of the other trie; what the root has resolved */
    INTERVAL_ROOT_SLOTS = 1 << INTERVAL_SHORT,
    INTERVAL_OWN_MAX = 511,   /* 2 + 4 + .. + 256 prefixes, and /0 */
    INTERVAL_SLOT_BLOCKS = 16,
    INTERVAL_NARROW = 12,     /* intervals of a line */
    INTERVAL_WIDE = 10,
    INTERVAL_DEEP = 6,
    INTERVAL_SEPARATORS = 16, /* of u32: 17 lines */
    INTERVAL_SEPARATORS_DEEP = 8,
    INTERVAL_ENTRIES = 183,   /* routes and escapes of a chunk: with 18 lines before, 64 blocks */
    INTERVAL_ESCAPE = 0x8000,
    INTERVAL_PIECE = 64,      /* blocks of the largest piece but the root */
    INTERVAL_MAX_BLOCKS = 1 << 27,
};

enum interval_kind { /* the last bits of a word */
    INTERVAL_LEAF = 0,
    INTERVAL_DIRECTORY = 1,
    INTERVAL_NARROW_LINE = 2,
    INTERVAL_NARROW_LINES = 3, /* odd: separators first */
    INTERVAL_WIDE_LINE = 4,
    INTERVAL_WIDE_LINES = 5,
    INTERVAL_DEEP_LINE = 6,
    INTERVAL_DEEP_LINES = 7,
};

/* Made with the first route, kept from then on: only its words change. */
struct interval_root {
    uint32_t short_word; /* writer: release */
    uint32_t unused[15];
    uint32_t slot[INTERVAL_ROOT_SLOTS]; /* writer: release */
};

struct interval_directory {
    uint32_t slot[INTERVAL_SLOTS]; /* writer: release */
    uint32_t count;
    uint32_t own[1]; /* [count] { byte : 8 | bits that count : 4 | 0 : 4 | group : 16 } */
};
RC_STATIC_ASSERT(offsetof(struct interval_directory, count) == INTERVAL_SLOT_BLOCKS * FIB_BLOCK,
                 "the list begins on a line of its own");

struct interval_narrow {
    uint32_t end[INTERVAL_NARROW];
    uint8_t group[INTERVAL_NARROW];
    uint32_t rows;
};
struct interval_wide {
    uint32_t end[INTERVAL_WIDE];
    uint16_t group[INTERVAL_WIDE];
    uint32_t rows;
};
struct interval_deep {
    uint64_t end[INTERVAL_DEEP];
    uint16_t group[INTERVAL_DEEP];
    uint32_t rows;
};
RC_STATIC_ASSERT(sizeof(struct interval_narrow) == FIB_BLOCK, "one line");
RC_STATIC_ASSERT(sizeof(struct interval_wide) == FIB_BLOCK, "one line");
RC_STATIC_ASSERT(sizeof(struct interval_deep) == FIB_BLOCK, "one line");

/* The writer's half of a chunk: entry[0..escapes) by address, entry[escapes..+routes) by
 * address, then length. */
struct interval_entry {
    uint64_t key;   /* the half of the address this trie is over; bits below `length` are 0 */
    uint32_t value; /* a route's group, or the word of an escape (writer: release) */
    uint16_t group; /* of an escape: the answer where its trie has none */
    uint8_t length; /* in this half: 0..64 */
    uint8_t unused;
};
struct interval_rows {
    uint32_t routes;
    uint32_t escapes;
    uint32_t blocks; /* of the whole chunk */
    uint32_t unused;
    struct interval_entry entry[1];
};
RC_STATIC_ASSERT(sizeof(struct interval_entry) == 16, "four a block");
RC_STATIC_ASSERT(offsetof(struct interval_rows, entry) == 16, "entries follow the header");

/* What the layout identity is made of, see layout/identity.h. */
#define INTERVAL_LAYOUT                                                                          \
    LAYOUT_STRUCT(interval_root, short_word, unused, slot)                                       \
    LAYOUT_STRUCT(interval_directory, slot, count, own)                                          \
    LAYOUT_STRUCT(interval_narrow, end, group, rows)                                             \
    LAYOUT_STRUCT(interval_wide, end, group, rows)                                               \
    LAYOUT_STRUCT(interval_deep, end, group, rows)                                               \
    LAYOUT_STRUCT(interval_entry, key, value, group, length, unused)                             \
    LAYOUT_STRUCT(interval_rows, routes, escapes, blocks, unused, entry)                         \
    LAYOUT_NUMBER(INTERVAL_ESCAPE) LAYOUT_NUMBER(INTERVAL_SHORT)                                 \
    LAYOUT_NUMBER(INTERVAL_SEPARATORS) LAYOUT_NUMBER(INTERVAL_SEPARATORS_DEEP)                   \
    LAYOUT_NUMBER(INTERVAL_DEEP_LINES)

#if RC_INLINE_SECTION

static inline uint32_t interval_kind(uint32_t word)
{
    return word & 7;
}
static inline uint32_t interval_block(uint32_t word)
{
    return word >> 5;
}
static inline uint32_t interval_word(uint32_t block, uint32_t kind)
{
    return block << 5 | kind;
}
static inline uint32_t interval_leaf(uint32_t group)
{
    return group << 5;
}

/* The address from bit `depth` on (0..64), at the top of a word. */
static inline uint64_t interval_below(uint64_t key, uint32_t depth)
{
    return depth > 63 ? 0 : key << depth;
}
/* The bits a prefix of this length leaves open. */
static inline uint64_t interval_open(uint32_t length)
{
    return length > 63 ? 0 : UINT64_MAX >> length;
}
static inline uint32_t interval_byte(uint64_t key, uint32_t depth)
{
    return (uint32_t)(interval_below(key, depth) >> 56);
}

static inline uint32_t interval_directory_blocks(uint32_t count)
{
    uint32_t list = (count + 1 + 15) / 16, doubled = 1;
    while (doubled < list)
        doubled *= 2;
    return INTERVAL_SLOT_BLOCKS + doubled;
}

static inline uint64_t interval_half(const uint8_t *address, uint32_t half)
{
    uint64_t word;
    __builtin_memcpy(&word, address + half * 8, sizeof word);
    return __builtin_bswap64(word);
}

struct fib_reader;
struct fib_key;
struct fib_writer;
struct route_row;
struct lpm_run;
struct lpm_visitor;

/* What a batch needs of the segment. Every block number is held against `limit` before use: a
 * directory and 18 lines fit behind every block below it. */
struct interval_table {
    const uint8_t *base;
    const uint32_t *slot; /* of the root */
    uint32_t limit;
    const uint32_t *short_at; /* its other word */
};

/* The trie of the short prefixes, once what is longer has been looked up in vain and not before:
 * the writer keeps a change of it two epochs behind the last change of a longer prefix
 * (fib_grace_since), so what was not found and this word belong to one moment. */
static inline uint32_t interval_short(const struct interval_table *table)
{
    atomic_thread_fence(memory_order_acquire);
    return load_relaxed32(table->short_at);
}

/* read.c */
void interval_lookup(const struct fib_reader *reader, uint32_t root, const struct fib_key *keys,
                     uint32_t *groups, uint32_t n);
void interval_lookup_lean(const struct fib_reader *reader, uint32_t root,
                          const uint8_t (*addresses)[16], uint32_t *groups, uint32_t n);
/* From `word`, `depth` bits into the upper half, to the answer; 0 when there is none. */
uint32_t interval_walk_down(const struct interval_table *table, uint32_t word, uint32_t depth,
                            const uint8_t *address);
/* One address through both tries. */
static inline uint32_t interval_one(const struct interval_table *table, const uint8_t *address)
{
    uint32_t word = load_relaxed32(&table->slot[interval_half(address, 0) >> 48]);
    uint32_t group = interval_walk_down(table, word, INTERVAL_SHORT, address);
    return group != 0 ? group : interval_walk_down(table, interval_short(table), 0, address);
}
/* avx512.c: addresses lie `stride` bytes apart. How many of the n it did: the first
 * ones. Too few for its 64 lanes are left to the caller. */
uint32_t interval_batch_avx512(const struct interval_table *table, const uint8_t *address,
                               uint32_t stride, uint32_t *groups, uint32_t n);
/* match.c */
uint32_t interval_match(const struct fib_reader *reader, uint32_t root, const struct fib_key *key,
                        uint32_t *length);
/* engines/interval/write/write.c */
int interval_apply(struct fib_writer *writer, const struct route_row *rows, uint64_t n,
                   struct lpm_run *run);
/* walk.c */
uint64_t interval_blocks_for(uint8_t family, uint32_t routes);
uint32_t interval_exact(const struct fib_writer *writer, const struct route_row *row);
int interval_walk(const struct fib_writer *writer, uint8_t family, const struct route_row *after,
                  const struct lpm_visitor *visitor);

#endif
#endif
