/* Changes that concern many routes at once: a source is swept, a next-hop set dies or comes back.
 * Each is one word at first; the routes follow in slices. A slice looks at `budget` row slots in
 * memory order (a scan, not a walk of chains), so that the event loop gets its turn.
 */
#include <errno.h>

#include "rib/private.h"

enum { SWEEP_GROUP = 64 };

int64_t rib_mark_stale(struct rib *rib, uint32_t source)
{
    uint32_t *generation = rib->header->sources.generation;
    if (source == SOURCE_NONE || source >= SOURCE_COUNT)
        return -EINVAL;
    uint32_t next = (generation[source] + 1) & RIB_GENERATION_MASK;
    store_release32(&generation[source], next);
    RC_FAULT("rib-generation");
    rib->count.stale[source] = rib->count.source[source];
    return next;
}

static void withdrawal_of(const struct rib_row *row, struct route_row *out)
{
    memset(out, 0, sizeof *out);
    memcpy(out->prefix, row->prefix, 16);
    out->length = row->length;
    out->family = row->family;
    out->source = row->source;
    out->metric = row->metric;
}

int rib_sweep(struct rib *rib, uint32_t source, uint32_t generation, uint32_t *slot,
              uint32_t budget, struct route_row *changes, uint32_t max_changes,
              uint32_t *n_changes)
{
    *n_changes = 0;
    if (source == SOURCE_NONE || source >= SOURCE_COUNT)
        return -EINVAL;
    if (rib->header->sources.generation[source] != generation)
        return -ESTALE;
    if (*slot == 0)
        *slot = 1;
    while (*slot < rib->fresh_row && rib->count.stale[source] != 0) {
        struct route_row gone[SWEEP_GROUP];
        uint32_t at[SWEEP_GROUP], n = 0;
        if (budget == 0 || *n_changes == max_changes)
            return 1;
        for (; n < SWEEP_GROUP && budget != 0 && *slot < rib->fresh_row; ++*slot, budget--) {
            const struct rib_row *row = &rib->row[*slot];
            if (row->family == 0 || row->source != source || !row_stale(rib, row))
                continue;
            at[n] = *slot;
            withdrawal_of(row, &gone[n++]);
        }
        struct rib_applied done;
        rib_apply(rib, gone, n, changes + *n_changes, max_changes - *n_changes, &done);
        *n_changes += done.changes;
        if (done.applied < n) { /* changes[] is full */
            *slot = at[done.applied];
            return 1;
        }
    }
    return 0;
}

int rib_set_dead(struct rib *rib, uint32_t nexthop, int dead)
{
    if (nexthop >= rib->max_nexthops || !(rib->nexthop_flags[nexthop] & NEXTHOP_KNOWN))
        return -ENOENT;
    uint8_t *flags = &rib->nexthop_flags[nexthop];
    if ((dead != 0) == ((*flags & NEXTHOP_DEAD) != 0))
        return 0;
    /* First the word that makes a successor look at everything again, then the state. */
    store_release32(&rib->header->words.reselect, 1);
    RC_FAULT("rib-reselect-set");
    store_release32(&rib->node[rib->directory[nexthop]].state, dead != 0);
    RC_FAULT("rib-dead-stored");
    *flags = (uint8_t)(NEXTHOP_KNOWN | NEXTHOP_AFFECTED | (dead ? NEXTHOP_DEAD : 0));
    rib->reselect_slot = 1;
    return 1;
}

int rib_reselect(struct rib *rib, uint32_t budget, struct route_row *changes,
                 uint32_t max_changes, uint32_t *n_changes)
{
    *n_changes = 0;
    if (rib->header->words.reselect == 0)
        return 0;
    for (; rib->reselect_slot < rib->fresh_row; rib->reselect_slot++, budget--) {
        const struct rib_row *row = &rib->row[rib->reselect_slot];
        if (budget == 0 || *n_changes == max_changes)
            return 1;
        if (row->family == 0 || !(rib->nexthop_flags[row->nexthop] & NEXTHOP_AFFECTED))
            continue;
        struct route_row key;
        withdrawal_of(row, &key);
        *n_changes += (uint32_t)rib_select(rib, &key, &changes[*n_changes]);
    }
    for (uint32_t id = 1; id < rib->max_nexthops; id++)
        rib->nexthop_flags[id] &= (uint8_t)~NEXTHOP_AFFECTED;
    store_release32(&rib->header->words.reselect, 0);
    RC_FAULT("rib-reselect-cleared");
    return 0;
}
