/* Reads row slots in turn, and whether each is what its chain says. Control only.
 *
 * The order is that of the slots, so that a caller may go on after any change: what is added or
 * moved meanwhile is met in this round or in the next.
 */
#include <errno.h>

#include "rib/private.h"

enum { AHEAD = 16 }; /* rows whose bucket is fetched before it is needed */

static struct route_row key_of(const struct rib_row *row)
{
    struct route_row key = {.length = row->length,
                            .family = row->family,
                            .source = row->source,
                            .nexthop = row->nexthop};
    memcpy(key.prefix, row->prefix, sizeof key.prefix);
    return key;
}

/* Whether the chain of a row leads to its slot; bounded, whatever the words say. */
static int reached(const struct rib *rib, const struct route_row *key, uint32_t wanted)
{
    uint32_t index = rib->bucket[rib_hash(rib, key) & rib->bucket_mask];
    for (uint32_t n = 0; index != 0 && n < RIB_CHAIN_MOST; n++) {
        if (index == wanted)
            return 1;
        if (index > rib->max_rows + 1)
            return 0;
        index = rib->row[index].next;
    }
    return 0;
}

int rib_scan(const struct rib *rib, uint32_t *slot, uint32_t budget, struct rib_route *out)
{
    uint32_t n = 0, index = *slot == 0 ? 1 : *slot;
    for (; index < rib->fresh_row && budget > 0; index++, budget--) {
        const struct rib_row *row = &rib->row[index];
        struct route_row key = key_of(row);
        if (index + AHEAD < rib->fresh_row) {
            struct route_row later = key_of(row + AHEAD);
            __builtin_prefetch(&rib->bucket[rib_hash(rib, &later) & rib->bucket_mask]);
        }
        if (row->family == 0)
            continue;
        if (row->nexthop == 0 || rib_row_check(rib, &key) != 0 || !reached(rib, &key, index))
            return -EBADMSG;
        if (row->mark & RIB_SELECTED)
            row_export(rib, row, &out[n++]);
    }
    *slot = index < rib->fresh_row ? index : 0;
    return (int)n;
}
