/* Row slots of the RIB: taking, giving back, counting, and what a row looks like from outside.
 *
 * Nothing here is crash-critical: free lists and counts are private, and a slot that no chain
 * reaches may hold anything.
 */
#include <errno.h>
#include <time.h>

#include "rib/private.h"

uint32_t rib_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)now.tv_sec;
}

int rib_row_check(const struct rib *rib, const struct route_row *row)
{
    if (row_valid(row) != 0 || row->source == SOURCE_NONE || row->source >= SOURCE_COUNT)
        return -EINVAL;
    if (row->flags & ROW_GATEWAY) /* a position in a file's list, which would pass as an id */
        return -EINVAL;
    if (row->nexthop == 0)
        return 0;
    if (row->nexthop >= rib->max_nexthops || !(rib->nexthop_flags[row->nexthop] & NEXTHOP_KNOWN))
        return -ENOENT;
    return 0;
}

uint32_t row_take(struct rib *rib)
{
    uint32_t index = rib->free_row;
    if (index != 0) {
        rib->free_row = rib->row[index].next;
        return index;
    }
    /* max_rows + 2 slots: index 0 is "none", one is the spare of a full table. */
    if (rib->fresh_row > rib->max_rows + 1)
        return 0;
    return rib->fresh_row++;
}

void row_give(struct rib *rib, uint32_t index)
{
    struct rib_row *row = &rib->row[index];
    row->family = 0; /* so that scans over slots pass it by */
    row->next = rib->free_row;
    rib->free_row = index;
}

void row_account(struct rib *rib, const struct rib_row *row, int32_t by)
{
    struct rib_counts *count = &rib->count;
    uint32_t add = (uint32_t)by; /* wraps to a subtraction */
    count->rows += add;
    count->source[row->source] += add;
    if (row->family == 6)
        count->source6[row->source] += add;
    if (row_stale(rib, row))
        count->stale[row->source] += add;
    rib->refs[row->nexthop] += add;
}

void route_account(struct rib *rib, const struct route_row *key, int32_t by)
{
    uint32_t family = family_index(key->family), add = (uint32_t)by;
    rib->count.routes[family] += add;
    rib->length_routes[family][key->length] += add;
}

uint32_t *row_link(struct rib *rib, uint32_t hash, uint32_t index)
{
    uint32_t *link = &rib->bucket[hash & rib->bucket_mask];
    while (*link != index)
        link = &rib->row[*link].next;
    return link;
}

void row_export(const struct rib *rib, const struct rib_row *row, struct rib_route *out)
{
    memset(out, 0, sizeof *out);
    memcpy(out->row.prefix, row->prefix, 16);
    out->row.length = row->length;
    out->row.family = row->family;
    out->row.source = row->source;
    out->row.distance = row->distance;
    out->row.metric = row->metric;
    out->row.nexthop = row->nexthop;
    out->row.flags = (row_stale(rib, row) ? ROW_STALE : 0u) |
                     (row->mark & RIB_SELECTED ? ROW_SELECTED : 0u) |
                     (row_eligible(rib, row) ? 0u : ROW_DEAD);
    out->generation = row->mark & RIB_GENERATION_MASK;
    out->since = row->since;
}

void rib_count(const struct rib *rib, struct rib_counts *out)
{
    *out = rib->count;
    out->max_rows = rib->max_rows;
    out->max_nexthops = rib->max_nexthops;
    out->max_nodes = rib->max_nodes;
    memcpy(out->generation, rib->header->sources.generation, sizeof out->generation);
    out->changed = rib->header->words.changed;
    out->published = rib->header->words.published;
    out->segment_bytes = rib->size;
    out->private_bytes = sizeof *rib + rib->max_nexthops * (4 * sizeof(uint32_t) + 1) +
                         (rib->intern_mask + 1) * sizeof(uint32_t) +
                         2 * RIB_MERGE * sizeof(uint16_t) + RIB_MERGE * sizeof(uint32_t) +
                         order_bytes(rib);
}

int rib_limit(struct rib *rib, uint32_t source, uint32_t rows)
{
    if (source == SOURCE_NONE || source >= SOURCE_COUNT)
        return -EINVAL;
    rib->limit[source] = rows;
    return 0;
}
