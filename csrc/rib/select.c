/* Selects the best candidate of a prefix, and moves the SELECTED mark.
 *
 * The order of stores, everywhere: journal, mark on the new best, link or unlink, mark off the
 * old best. A successor that finds two marks (or none) finds the prefix in the journal too, and
 * rib_repair makes it right.
 */
#include "rib/private.h"

void change_fill(struct route_row *change, const struct route_row *key,
                 const struct rib_row *best)
{
    memset(change, 0, sizeof *change);
    memcpy(change->prefix, key->prefix, 16);
    change->length = key->length;
    change->family = key->family;
    if (best != NULL) {
        change->source = best->source;
        change->distance = best->distance;
        change->metric = best->metric;
        change->nexthop = best->nexthop;
    }
}

struct choice {
    struct rib_row *best; /* among eligible candidates */
    struct rib_row *selected;
    uint32_t marks; /* candidates with the mark */
};

static struct choice choose(struct rib *rib, const struct route_row *key)
{
    struct choice found = {NULL, NULL, 0};
    uint32_t index = rib->bucket[rib_hash(rib, key) & rib->bucket_mask];
    for (; index != 0; index = rib->row[index].next) {
        struct rib_row *row = &rib->row[index];
        if (!same_prefix(row, key))
            continue;
        if (row->mark & RIB_SELECTED) {
            found.selected = row;
            found.marks++;
        }
        if (row_eligible(rib, row) &&
            (found.best == NULL || rib_row_rank(row) < rib_row_rank(found.best)))
            found.best = row;
    }
    return found;
}

int rib_select(struct rib *rib, const struct route_row *key, struct route_row *change)
{
    struct choice found = choose(rib, key);
    if (found.best == found.selected)
        return 0;
    uint32_t before = found.selected ? found.selected->nexthop : 0;
    uint32_t after = found.best ? found.best->nexthop : 0;
    journal_append(rib, key);
    if (found.best) {
        row_set_mark(found.best, found.best->mark | RIB_SELECTED);
        RC_FAULT("rib-select-marked");
    }
    if (found.selected) {
        row_set_mark(found.selected, found.selected->mark & ~(uint32_t)RIB_SELECTED);
        RC_FAULT("rib-select-unmarked");
    }
    uint32_t family = family_index(key->family);
    rib->count.selected[family] += (found.best != NULL);
    rib->count.selected[family] -= (found.selected != NULL);
    if (before == after)
        return 0;
    change_fill(change, key, found.best);
    return 1;
}

int rib_repair(struct rib *rib, const struct route_row *key)
{
    struct choice found = choose(rib, key);
    uint32_t index = rib->bucket[rib_hash(rib, key) & rib->bucket_mask];
    if (found.best == found.selected && found.marks <= 1)
        return 0;
    if (found.best)
        row_set_mark(found.best, found.best->mark | RIB_SELECTED);
    for (; index != 0; index = rib->row[index].next) {
        struct rib_row *row = &rib->row[index];
        if (row != found.best && row->mark & RIB_SELECTED && same_prefix(row, key))
            row_set_mark(row, row->mark & ~(uint32_t)RIB_SELECTED);
    }
    return 1;
}
