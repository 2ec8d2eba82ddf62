/* What the files of this room share: the handle, and the small functions every one of them needs.
 * Not public; control's process only. */
#ifndef RC_RIB_PRIVATE_H
#define RC_RIB_PRIVATE_H
#include "rib/rib.h"
#include "rows/rows.h"

#include <string.h>

enum rib_nexthop_flag { NEXTHOP_KNOWN = 1, NEXTHOP_DEAD = 2, NEXTHOP_AFFECTED = 4 };
enum { RIB_CHAIN_MOST = 1 << 16 }; /* rows of one chain; an honest one has some dozens at most */
enum { RIB_MERGE = 4096 }; /* changes of one rib_apply among which flips are merged */

struct rib_order; /* walk.c */

struct rib {
    uint8_t *base;
    uint64_t size;
    struct rib_header *header;
    uint32_t *bucket;
    uint32_t bucket_mask;
    uint32_t max_rows;
    struct rib_row *row;
    uint32_t *directory;
    struct rib_node *node;
    struct rib_journal_entry *journal;
    uint32_t max_nexthops;
    uint32_t max_nodes;
    uint64_t seed;

    /* All below is private and found again by rib_open. Free lists run through the `next` words
     * of free rows and nodes; slots at or above `fresh_*` were never used. */
    uint32_t free_row, fresh_row;
    uint32_t free_node, fresh_node;
    struct rib_counts count;
    uint32_t limit[SOURCE_COUNT];
    uint32_t length_routes[2][129]; /* prefixes of each length: where rib_match has to look */
    uint32_t *refs;                 /* rows naming a set */
    uint8_t *nexthop_flags;         /* enum rib_nexthop_flag */
    uint32_t *intern_head, *intern_next, *intern_hash;
    uint32_t intern_mask, intern_hint;
    uint32_t reselect_slot;
    uint32_t now; /* seconds, read once a call */
    struct rib_order *order; /* NULL until the first rib_walk */
    uint16_t *merge;         /* change index + 1 by hash of prefix */
    uint32_t *merge_old;     /* next hop before the call, by change index */
};

/* ---- pure ---- */

static inline uint32_t family_index(uint8_t family)
{
    return family == 6;
}

/* The slot that a chain word names. One that leads out of the table is the end: somebody wrote into
 * the segment, which rib_scan tells soon, and nobody follows it until then. */
static inline uint32_t row_of_word(const struct rib *rib, uint32_t word)
{
    return likely(word <= rib->max_rows + 1) ? word : 0;
}

static inline int same_key(const struct route_row *a, const struct route_row *b)
{
    return memcmp(a, b, offsetof(struct route_row, source)) == 0;
}

static inline int same_prefix(const struct rib_row *row, const struct route_row *key)
{
    /* prefix, length and family are the first 18 bytes of both structs */
    uint64_t a[2], b[2];
    memcpy(a, row->prefix, 16);
    memcpy(b, key->prefix, 16);
    return a[0] == b[0] && a[1] == b[1] && row->length == key->length &&
           row->family == key->family;
}

/* Lower wins. */
static inline uint64_t row_rank(uint8_t distance, uint32_t metric, uint8_t source)
{
    return (uint64_t)distance << 40 | (uint64_t)metric << 8 | source;
}
static inline uint64_t rib_row_rank(const struct rib_row *row)
{
    return row_rank(row->distance, row->metric, row->source);
}

static inline uint32_t rib_hash(const struct rib *rib, const struct route_row *key)
{
    /* Two rounds of multiply-and-fold over the 18 bytes, seeded: as good as needed for chains
     * and not to be aimed at without the seed. */
    uint64_t w[2];
    memcpy(w, key->prefix, 16);
    uint64_t tail = (uint64_t)key->length << 8 | key->family;
    __uint128_t m = (__uint128_t)(w[0] ^ rib->seed) * (0x9e3779b97f4a7c15u ^ tail << 17);
    uint64_t h = (uint64_t)m ^ (uint64_t)(m >> 64);
    m = (__uint128_t)(h ^ w[1]) * 0xc2b2ae3d27d4eb4fu;
    h = (uint64_t)m ^ (uint64_t)(m >> 64);
    return (uint32_t)(h ^ h >> 32);
}

/* Which slots the walk of rib_open has met. One bit a slot: 196 KB for 1.5 M rows stay in the
 * second-level cache beside the rows. */
static inline int slot_seen(const uint64_t *seen, uint32_t index)
{
    return (int)(seen[index / 64] >> (index % 64) & 1);
}
static inline void slot_see(uint64_t *seen, uint32_t index)
{
    seen[index / 64] |= (uint64_t)1 << (index % 64);
}

/* ---- rows (slots.c) ---- */

int rib_row_check(const struct rib *rib, const struct route_row *row);
uint32_t row_take(struct rib *rib); /* 0: none; a slot nothing reaches, contents undefined */
void row_give(struct rib *rib, uint32_t index);
void row_account(struct rib *rib, const struct rib_row *row, int32_t by);
/* The word that points to `index` in the chain of `hash`; the row is known to be there. */
uint32_t *row_link(struct rib *rib, uint32_t hash, uint32_t index);
void row_export(const struct rib *rib, const struct rib_row *row, struct rib_route *out);
void route_account(struct rib *rib, const struct route_row *key, int32_t by);

static inline int row_stale(const struct rib *rib, const struct rib_row *row)
{
    return (row->mark & RIB_GENERATION_MASK) !=
           rib->header->sources.generation[row->source % SOURCE_COUNT];
}
static inline int row_eligible(const struct rib *rib, const struct rib_row *row)
{
    return row->nexthop < rib->max_nexthops && !(rib->nexthop_flags[row->nexthop] & NEXTHOP_DEAD);
}
static inline void row_set_mark(struct rib_row *row, uint32_t mark)
{
    store_release32(&row->mark, mark);
}

/* ---- selection (select.c) ---- */

/* Selects the best of a prefix's candidates again; 1 when its best next hop changed (*change). */
int rib_select(struct rib *rib, const struct route_row *key, struct route_row *change);
/* The same for the successor: marks are made right, nothing is journalled. 1 when one was wrong. */
int rib_repair(struct rib *rib, const struct route_row *key);
void change_fill(struct route_row *change, const struct route_row *key,
                 const struct rib_row *best);
/* Unlinks candidates of (prefix, source) with another metric than *keep (NULL: all). */
void rib_drop(struct rib *rib, const struct route_row *key, uint32_t hash, const uint32_t *keep);

/* ---- merging (merge.c) ---- */

struct rib_merging {
    struct route_row *changes; /* [n] is scratch for the next one */
    uint32_t n;
    uint32_t start; /* first change that the table knows */
    uint32_t mask;
};
void merge_begin(struct rib *rib, struct rib_merging *m, struct route_row *changes, uint64_t n);
/* Takes changes[n] in; `old` is the next hop before it. */
void merge_add(struct rib *rib, struct rib_merging *m, uint32_t hash, uint32_t old);
uint32_t merge_end(struct rib *rib, struct rib_merging *m); /* returns how many there are */

/* ---- the others ---- */
void journal_append(struct rib *rib, const struct route_row *key);
void order_add(struct rib *rib, uint32_t index);
void order_remove(struct rib *rib, uint32_t index);
uint64_t order_bytes(const struct rib *rib);
int nexthops_open(struct rib *rib, uint64_t *reclaimed, uint64_t *seen);
uint32_t rib_now(void);

#endif
