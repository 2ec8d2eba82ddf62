/* rib_apply(): rows go in, changes of best next hops come out. This is the bulk path.
 *
 * Rows are taken in groups of GROUP, whose buckets and first rows are prefetched together: a
 * million routes do not fit a cache, and one miss after the other would cost half a
 * microsecond a row.
 */
#include <errno.h>

#include "rib/private.h"

enum { GROUP = 16 };

/* What one row meets in the chain of its prefix. */
struct met {
    uint32_t *self_link; /* the word that points to self */
    uint32_t self;       /* the candidate of the same (source, metric) */
    uint32_t selected;
    uint32_t best;       /* best eligible candidate that stays, other than self */
    uint32_t candidates; /* all of the prefix */
    uint32_t others;     /* those that ROW_ONLY sends away */
};

static struct met meet(struct rib *rib, const struct route_row *row, uint32_t hash)
{
    struct met met = {NULL, 0, 0, 0, 0, 0};
    uint64_t best_rank = UINT64_MAX;
    uint32_t *link = &rib->bucket[hash & rib->bucket_mask];
    for (uint32_t index; (index = *link) != 0; link = &rib->row[index].next) {
        const struct rib_row *there = &rib->row[index];
        if (!same_prefix(there, row))
            continue;
        met.candidates++;
        if (there->mark & RIB_SELECTED)
            met.selected = index;
        if (there->source == row->source && there->metric == row->metric) {
            met.self = index;
            met.self_link = link;
        } else if (there->source == row->source && row->flags & ROW_ONLY) {
            met.others++;
        } else if (row_eligible(rib, there) && rib_row_rank(there) < best_rank) {
            met.best = index;
            best_rank = rib_row_rank(there);
        }
    }
    return met;
}

static void forget(struct rib *rib, uint32_t index, uint32_t *link)
{
    struct rib_row *row = &rib->row[index];
    store_release32(link, row->next);
    RC_FAULT("rib-unlinked");
    row_account(rib, row, -1);
    if (rib->order)
        order_remove(rib, index);
    row_give(rib, index);
}

void rib_drop(struct rib *rib, const struct route_row *key, uint32_t hash, const uint32_t *keep)
{
    uint32_t *link = &rib->bucket[hash & rib->bucket_mask];
    for (uint32_t index; (index = *link) != 0;) {
        const struct rib_row *row = &rib->row[index];
        if (same_prefix(row, key) && row->source == key->source &&
            (keep == NULL || row->metric != *keep))
            forget(rib, index, link);
        else
            link = &rib->row[index].next;
    }
}

/* Moves the mark from met->selected to `best` (0: to nobody, or to a row that carries it already),
 * before the words that unlink. */
static void mark_best(struct rib *rib, uint32_t best)
{
    if (best != 0 && !(rib->row[best].mark & RIB_SELECTED)) {
        row_set_mark(&rib->row[best], rib->row[best].mark | RIB_SELECTED);
        RC_FAULT("rib-marked");
    }
}

static void unmark(struct rib *rib, uint32_t index)
{
    row_set_mark(&rib->row[index], rib->row[index].mark & ~(uint32_t)RIB_SELECTED);
    RC_FAULT("rib-unmarked");
}

static void refresh(struct rib *rib, uint32_t index)
{
    struct rib_row *row = &rib->row[index];
    if (!row_stale(rib, row))
        return;
    uint32_t generation = rib->header->sources.generation[row->source];
    row_set_mark(row, (row->mark & RIB_SELECTED) | generation);
    rib->count.stale[row->source]--;
    RC_FAULT("rib-refreshed");
}

/* A row for `announced`, built where nothing points to. */
static uint32_t build(struct rib *rib, const struct route_row *announced, uint32_t next,
                      int selected)
{
    uint32_t index = row_take(rib);
    if (index == 0)
        return 0;
    struct rib_row *row = &rib->row[index];
    memcpy(row->prefix, announced->prefix, 16);
    row->length = announced->length;
    row->family = announced->family;
    row->source = announced->source;
    row->distance = announced->distance;
    row->metric = announced->metric;
    row->nexthop = announced->nexthop;
    row->next = next;
    row->mark = rib->header->sources.generation[announced->source] |
                (selected ? (uint32_t)RIB_SELECTED : 0);
    row->since = rib->now;
    RC_FAULT("rib-row-built");
    return index;
}

static int room_for(const struct rib *rib, const struct route_row *row, const struct met *met)
{
    if (met->self != 0 || met->others != 0) /* takes the place of another */
        return 0;
    if (met->candidates >= RIB_MAX_CANDIDATES)
        return -E2BIG;
    if (rib->limit[row->source] != 0 && rib->count.source[row->source] >= rib->limit[row->source])
        return -EDQUOT;
    return rib->count.rows >= rib->max_rows ? -ENOSPC : 0;
}

static void count_selected(struct rib *rib, const struct route_row *row, uint32_t before,
                           uint32_t after)
{
    uint32_t family = family_index(row->family);
    rib->count.selected[family] += (after != 0);
    rib->count.selected[family] -= (before != 0);
}

/* Puts one announced row in force. 1: *change filled; 0: nothing for the FIB; else -errno. */
static int announce(struct rib *rib, const struct route_row *row, uint32_t hash,
                    struct route_row *change, uint32_t *old, struct rib_applied *result)
{
    struct met met = meet(rib, row, hash);
    struct rib_row *self = &rib->row[met.self];
    int error = room_for(rib, row, &met);
    if (error != 0)
        return error;
    if (met.self != 0 && met.others == 0 && self->nexthop == row->nexthop &&
        self->distance == row->distance) {
        refresh(rib, met.self);
        result->refreshed++;
        return 0;
    }
    int wins = !(rib->nexthop_flags[row->nexthop] & NEXTHOP_DEAD) &&
               (met.best == 0 || row_rank(row->distance, row->metric, row->source) <
                                     rib_row_rank(&rib->row[met.best]));
    uint32_t *link = met.self ? met.self_link : &rib->bucket[hash & rib->bucket_mask];
    uint32_t index = build(rib, row, met.self ? self->next : *link, wins);
    if (index == 0)
        return -ENOSPC;
    uint32_t best = wins ? index : met.best;
    uint32_t before = met.selected ? rib->row[met.selected].nexthop : 0;
    uint32_t after = best ? rib->row[best].nexthop : 0;
    /* Without an entry only when the one word stored below is all that changes. */
    if (before != after || (met.selected != best && !(wins && met.selected == met.self)))
        journal_append(rib, row);
    mark_best(rib, best);
    store_release32(link, index);
    RC_FAULT("rib-linked");
    if (met.selected != 0 && met.selected != best && met.selected != met.self)
        unmark(rib, met.selected);
    row_account(rib, &rib->row[index], 1);
    if (rib->order)
        order_add(rib, index);
    if (met.self != 0) {
        row_account(rib, self, -1);
        if (rib->order)
            order_remove(rib, met.self);
        row_give(rib, met.self);
    }
    if (met.others != 0)
        rib_drop(rib, row, hash, &row->metric);
    if (met.candidates == 0)
        route_account(rib, row, 1);
    count_selected(rib, row, met.selected, best);
    if (met.self != 0 || met.others != 0)
        result->replaced++;
    else
        result->added++;
    if (before == after)
        return 0;
    change_fill(change, row, best ? &rib->row[best] : NULL);
    *old = before;
    return 1;
}

static int withdraw(struct rib *rib, const struct route_row *row, uint32_t hash,
                    struct route_row *change, uint32_t *old, struct rib_applied *result)
{
    struct met met = meet(rib, row, hash);
    if (met.self == 0 && met.others == 0) {
        result->unknown++;
        return 0;
    }
    uint32_t before = met.selected ? rib->row[met.selected].nexthop : 0;
    uint32_t after = met.best ? rib->row[met.best].nexthop : 0;
    uint32_t gone = (met.self != 0) + met.others;
    int selected_goes = 0;
    if (met.selected != 0) {
        const struct rib_row *selected = &rib->row[met.selected];
        selected_goes = met.selected == met.self ||
                        (selected->source == row->source && row->flags & ROW_ONLY);
    }
    if (met.selected != met.best)
        journal_append(rib, row);
    mark_best(rib, met.best);
    if (met.self != 0)
        forget(rib, met.self, row_link(rib, hash, met.self));
    if (met.others != 0)
        rib_drop(rib, row, hash, NULL);
    if (met.selected != 0 && met.selected != met.best && !selected_goes)
        unmark(rib, met.selected);
    if (gone == met.candidates)
        route_account(rib, row, -1);
    count_selected(rib, row, met.selected, met.best);
    result->withdrawn += gone;
    if (before == after)
        return 0;
    change_fill(change, row, met.best ? &rib->row[met.best] : NULL);
    *old = before;
    return 1;
}

int rib_apply(struct rib *rib, const struct route_row *rows, uint64_t n,
              struct route_row *changes, uint32_t max_changes, struct rib_applied *result)
{
    struct rib_merging m;
    int error = 0;
    memset(result, 0, sizeof *result);
    rib->now = rib_now();
    merge_begin(rib, &m, changes, n);
    for (uint64_t at = 0; at < n && error == 0 && m.n < max_changes; at += GROUP) {
        uint32_t group = n - at < GROUP ? (uint32_t)(n - at) : GROUP, hash[GROUP];
        for (uint32_t i = 0; i < group; i++) {
            hash[i] = rib_hash(rib, &rows[at + i]);
            __builtin_prefetch(&rib->bucket[hash[i] & rib->bucket_mask], 1);
        }
        for (uint32_t i = 0; i < group; i++)
            __builtin_prefetch(&rib->row[rib->bucket[hash[i] & rib->bucket_mask]], 1);
        for (uint32_t i = 0; i < group && m.n < max_changes; i++) {
            const struct route_row *row = &rows[at + i];
            uint32_t old = 0;
            error = rib_row_check(rib, row);
            if (error == 0)
                error = row->nexthop
                            ? announce(rib, row, hash[i], &changes[m.n], &old, result)
                            : withdraw(rib, row, hash[i], &changes[m.n], &old, result);
            if (error < 0)
                break;
            if (error == 1)
                merge_add(rib, &m, hash[i], old);
            error = 0;
            result->applied++;
        }
    }
    result->changes = merge_end(rib, &m);
    return error;
}

int rib_check(struct rib *rib, const struct route_row *rows, uint64_t n, uint64_t *bad)
{
    uint64_t fresh[SOURCE_COUNT] = {0}, all = 0;
    for (uint64_t i = 0; i < n; i++) {
        const struct route_row *row = &rows[i];
        int error = rib_row_check(rib, row);
        if (error == 0 && row->nexthop != 0) {
            struct met met = meet(rib, row, rib_hash(rib, row));
            if (met.self == 0 && met.others == 0) {
                uint32_t limit = rib->limit[row->source];
                all++;
                fresh[row->source]++;
                if (met.candidates >= RIB_MAX_CANDIDATES)
                    error = -E2BIG;
                else if (limit != 0 && rib->count.source[row->source] + fresh[row->source] > limit)
                    error = -EDQUOT;
                else if (rib->count.rows + all > rib->max_rows)
                    error = -ENOSPC;
            }
        }
        if (error != 0) {
            *bad = i;
            return error;
        }
    }
    return 0;
}
