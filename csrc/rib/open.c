/* Creates a RIB segment, or takes one over. A takeover walks all of it: it finds what is free, what
 * is in force, and whether the segment is sound. Control only.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "rib/private.h"

static const struct layout own_layout = LAYOUT(SEGMENT_LAYOUT RIB_LAYOUT);

static const struct layout *rib_part(uint32_t position)
{
    return position == 0 ? &own_layout : NULL;
}

const struct segment_format rib_format = {
    .magic = 0x0042495245474252u, /* "RBGERIB", little-endian */
    .kind = SEGMENT_RIB,
    .header_size = sizeof(struct rib_header),
    .major = 2,
    .part = rib_part,
};

enum { AHEAD = 48 }; /* buckets whose first row is prefetched: 20 rows, each a TLB miss too */

/* Fills everything but the seed; 0, or -EINVAL when a number is out of range. */
static int geometry_of(const struct rib_params *params, struct rib_geometry *g)
{
    uint64_t at = RIB_HEADER_SIZE / 64;
    memset(g, 0, sizeof *g);
    if (params->max_rows == 0 || params->max_rows > RIB_MAX_ROWS || params->max_nexthops < 2 ||
        params->max_nexthops > RIB_MAX_NEXTHOPS || params->max_nodes == 0 ||
        params->max_nodes > RIB_MAX_NEXTHOPS * RIB_MAX_PATHS)
        return -EINVAL;
    g->max_rows = params->max_rows;
    g->max_nexthops = params->max_nexthops;
    g->max_nodes = params->max_nodes;
    g->journal = RIB_JOURNAL;
    for (g->buckets = 16; g->buckets < g->max_rows;)
        g->buckets *= 2;
    g->buckets_at = (uint32_t)at;
    at += ((uint64_t)g->buckets * sizeof(uint32_t) + 63) / 64;
    g->directory_at = (uint32_t)at;
    at += ((uint64_t)g->max_nexthops * sizeof(uint32_t) + 63) / 64;
    g->journal_at = (uint32_t)at;
    at += (RIB_JOURNAL * sizeof(struct rib_journal_entry) + 63) / 64;
    g->nodes_at = (uint32_t)at;
    at += ((g->max_nodes + 2ull) * sizeof(struct rib_node) + 63) / 64;
    g->rows_at = (uint32_t)at;
    at += ((g->max_rows + 2ull) * sizeof(struct rib_row) + 63) / 64;
    g->blocks = (uint32_t)at;
    return 0;
}

uint64_t rib_segment_size(const struct rib_params *params)
{
    struct rib_geometry geometry;
    return geometry_of(params, &geometry) == 0 ? geometry.blocks * 64ull : 0;
}

int rib_create(void *base, uint64_t size, const struct rib_params *params)
{
    struct rib_header *header = base;
    struct rib_geometry geometry;
    if (geometry_of(params, &geometry) != 0 || size < geometry.blocks * 64ull ||
        (uintptr_t)base % 64 != 0)
        return -EINVAL;
    geometry.seed = params->seed;
    header->geometry = geometry;
    return segment_identify(base, size, &rib_format, params->instance_id);
}

/* The stored geometry is trusted only where it is what this build would compute itself. */
static int attach(struct rib *rib, void *base, uint64_t size)
{
    struct rib_header *header = base;
    struct rib_geometry mine, *theirs = &header->geometry;
    if ((uintptr_t)base % 64 != 0 || segment_check(base, size, &rib_format) != SEGMENT_READY)
        return -EINVAL;
    struct rib_params params = {.max_rows = theirs->max_rows,
                                .max_nexthops = theirs->max_nexthops,
                                .max_nodes = theirs->max_nodes};
    if (geometry_of(&params, &mine) != 0)
        return -EBADMSG;
    mine.seed = theirs->seed;
    if (memcmp(&mine, theirs, sizeof mine) != 0 ||
        mine.blocks * 64ull > header->identity.segment_size)
        return -EBADMSG;
    rib->base = base;
    rib->size = header->identity.segment_size;
    rib->header = header;
    rib->bucket = (uint32_t *)(rib->base + 64ull * mine.buckets_at);
    rib->bucket_mask = mine.buckets - 1;
    rib->directory = (uint32_t *)(rib->base + 64ull * mine.directory_at);
    rib->journal = (struct rib_journal_entry *)(rib->base + 64ull * mine.journal_at);
    rib->node = (struct rib_node *)(rib->base + 64ull * mine.nodes_at);
    rib->row = (struct rib_row *)(rib->base + 64ull * mine.rows_at);
    rib->max_rows = mine.max_rows;
    rib->max_nexthops = mine.max_nexthops;
    rib->max_nodes = mine.max_nodes;
    rib->seed = mine.seed;
    return 0;
}

static int private_memory(struct rib *rib)
{
    uint32_t ids = rib->max_nexthops, heads = 16;
    while (heads < ids)
        heads *= 2;
    rib->intern_mask = heads - 1;
    rib->intern_hint = 1;
    rib->refs = calloc(ids, sizeof *rib->refs);
    rib->nexthop_flags = calloc(ids, sizeof *rib->nexthop_flags);
    rib->intern_head = calloc(heads, sizeof *rib->intern_head);
    rib->intern_next = calloc(ids, sizeof *rib->intern_next);
    rib->intern_hash = calloc(ids, sizeof *rib->intern_hash);
    rib->merge = calloc(2 * RIB_MERGE, sizeof *rib->merge);
    rib->merge_old = calloc(RIB_MERGE, sizeof *rib->merge_old);
    return rib->refs && rib->nexthop_flags && rib->intern_head && rib->intern_next &&
                   rib->intern_hash && rib->merge && rib->merge_old
               ? 0
               : -ENOMEM;
}

static void key_of(const struct rib_row *row, struct route_row *key)
{
    memset(key, 0, sizeof *key);
    memcpy(key->prefix, row->prefix, 16);
    key->length = row->length;
    key->family = row->family;
    key->source = row->source;
    key->nexthop = row->nexthop;
}

/* One chain: every row in range, met once, well formed, in the right bucket. */
static int chain_walk(struct rib *rib, uint32_t bucket, uint64_t *seen)
{
    uint32_t first = rib->bucket[bucket];
    for (uint32_t index = first; index != 0; index = rib->row[index].next) {
        struct route_row key;
        if (index > rib->max_rows + 1 || slot_seen(seen, index))
            return -EBADMSG;
        const struct rib_row *row = &rib->row[index];
        slot_see(seen, index);
        key_of(row, &key);
        if (row->nexthop == 0 || rib_row_check(rib, &key) != 0 ||
            (rib_hash(rib, &key) & rib->bucket_mask) != bucket)
            return -EBADMSG;
        row_account(rib, row, 1);
        if (index >= rib->fresh_row)
            rib->fresh_row = index + 1;
        uint32_t earlier = first;
        while (earlier != index && !same_prefix(&rib->row[earlier], &key))
            earlier = rib->row[earlier].next;
        if (earlier == index) /* the first candidate of its prefix */
            route_account(rib, &key, 1);
    }
    return 0;
}

static int chains_walk(struct rib *rib, uint64_t *seen)
{
    uint32_t buckets = rib->bucket_mask + 1;
    for (uint32_t bucket = 0; bucket < buckets; bucket++) {
        if (bucket + AHEAD < buckets && rib->bucket[bucket + AHEAD] <= rib->max_rows) {
            const struct rib_row *row = &rib->row[rib->bucket[bucket + AHEAD]];
            __builtin_prefetch(row); /* both lines: 40 bytes cross into the next more often than not */
            __builtin_prefetch(&row->since);
        }
        int error = chain_walk(rib, bucket, seen);
        if (error != 0)
            return error;
    }
    return 0;
}

/* Free slots in ascending order, and the prefixes in force, by one scan. */
static void slots_scan(struct rib *rib, const uint64_t *seen, uint64_t *reclaimed)
{
    for (uint32_t index = rib->fresh_row - 1; index > 0; index--) {
        const struct rib_row *row = &rib->row[index];
        if (slot_seen(seen, index)) {
            if (row->mark & RIB_SELECTED)
                rib->count.selected[family_index(row->family)]++;
            continue;
        }
        *reclaimed += row->family != 0;
        row_give(rib, index);
    }
}

static int entry_key(const struct rib *rib, uint64_t number, struct route_row *key)
{
    const struct rib_journal_entry *entry = &rib->journal[number % RIB_JOURNAL];
    memset(key, 0, sizeof *key);
    memcpy(key->prefix, entry->prefix, 16);
    key->length = entry->length;
    key->family = entry->family;
    return row_valid(key);
}

static int journal_check(const struct rib *rib)
{
    const struct rib_words *words = &rib->header->words;
    struct route_row key;
    if (words->published > words->changed)
        return -EBADMSG;
    if (words->changed - words->published >= RIB_JOURNAL)
        return 0; /* its entries are not read, see rib_pending */
    for (uint64_t number = words->published; number < words->changed; number++)
        if (entry_key(rib, number, &key) != 0)
            return -EBADMSG;
    return 0;
}

/* Only the operation that was open at death can have left marks half done, and only the newest
 * journal entry can be its. */
static uint32_t newest_repair(struct rib *rib)
{
    const struct rib_words *words = &rib->header->words;
    struct route_row key;
    if (words->changed == words->published || entry_key(rib, words->changed - 1, &key) != 0)
        return 0;
    return (uint32_t)rib_repair(rib, &key);
}

static int take_over(struct rib *rib, struct rib_recovery *recovery)
{
    uint32_t slots = (rib->max_rows > rib->max_nodes ? rib->max_rows : rib->max_nodes) + 2;
    uint32_t words = slots / 64 + 1;
    uint64_t *seen = calloc(words, sizeof *seen);
    if (seen == NULL)
        return -ENOMEM;
    rib->fresh_row = 1;
    int error = journal_check(rib);
    if (error == 0)
        error = nexthops_open(rib, &recovery->reclaimed, seen);
    if (error == 0) {
        memset(seen, 0, words * sizeof *seen);
        error = chains_walk(rib, seen);
    }
    if (error == 0) {
        recovery->repaired = newest_repair(rib);
        slots_scan(rib, seen, &recovery->reclaimed);
    }
    free(seen);
    return error;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct rib *rib_open(void *base, uint64_t size, struct rib_recovery *recovery, int *error)
{
    uint64_t start = now_ns();
    struct rib *rib = calloc(1, sizeof *rib);
    memset(recovery, 0, sizeof *recovery);
    *error = rib == NULL ? -ENOMEM : attach(rib, base, size);
    if (*error == 0)
        *error = private_memory(rib);
    if (*error == 0)
        *error = take_over(rib, recovery);
    if (*error != 0) {
        rib_close(rib);
        return NULL;
    }
    const struct rib_words *words = &rib->header->words;
    recovery->rows = rib->count.rows;
    recovery->nexthops = rib->count.nexthops;
    recovery->pending = words->changed - words->published;
    recovery->everything = recovery->pending >= RIB_JOURNAL;
    recovery->reselect = words->reselect != 0;
    if (recovery->reselect) { /* which sets changed is not known any more: all of them */
        for (uint32_t id = 1; id < rib->max_nexthops; id++)
            rib->nexthop_flags[id] |= rib->nexthop_flags[id] ? NEXTHOP_AFFECTED : 0;
        rib->reselect_slot = 1;
    }
    recovery->nanoseconds = now_ns() - start;
    return rib;
}

void rib_close(struct rib *rib)
{
    if (rib == NULL)
        return;
    rib_walk_release(rib);
    free(rib->refs);
    free(rib->nexthop_flags);
    free(rib->intern_head);
    free(rib->intern_next);
    free(rib->intern_hash);
    free(rib->merge);
    free(rib->merge_old);
    free(rib);
}
