/* Stages changes of the RIB and orders the FIB rows they need. See aggregate.h. */
#include "rib/aggregate/aggregate.h"

#include <errno.h>
#include <stdlib.h>

#include "rib/aggregate/trie.h"
#include "rib/private.h"

/* Where the change being staged is; the number of the step it is in. */
enum phase { BEGIN, INSTALL, SELF, WITHDRAW };

struct undo {
    uint64_t change;
    uint32_t group;
};

struct rib_aggregate {
    struct trie trie[2];
    uint32_t limit[2];
    uint32_t suppress;
    enum phase phase;
    uint32_t before, after; /* what answers for the change's prefix, its cover included */
    uint32_t cover;
    uint32_t again;         /* no news: every child is written */
    struct trie_walk walk;
    uint32_t n_undo;
    struct undo undo[RIB_AGGREGATE_ROWS];
};

static void key_of(const struct route_row *row, uint32_t key[4])
{
    memcpy(key, row->prefix, 16);
    for (int i = 0; i < 4; i++)
        key[i] = __builtin_bswap32(key[i]);
}

static struct trie *trie_of(struct rib_aggregate *aggregate, const struct route_row *row)
{
    return &aggregate->trie[family_index(row->family)];
}

void rib_aggregate_close(struct rib_aggregate *aggregate)
{
    if (aggregate == NULL)
        return;
    trie_close(&aggregate->trie[0]);
    trie_close(&aggregate->trie[1]);
    free(aggregate);
}

struct rib_aggregate *rib_aggregate_open(const struct rib *rib, uint32_t limit4, uint32_t limit6)
{
    struct rib_aggregate *aggregate = calloc(1, sizeof *aggregate);
    if (aggregate == NULL)
        return NULL;
    aggregate->limit[0] = limit4;
    aggregate->limit[1] = limit6;
    aggregate->suppress = 1;
    int error = trie_open(&aggregate->trie[0], 1, rib->max_rows + 1);
    error |= trie_open(&aggregate->trie[1], 4, rib->max_rows + 1);
    for (uint32_t i = 1; i < rib->fresh_row && error == 0; i++) {
        const struct rib_row *row = &rib->row[i];
        if (row->family == 0 || !(row->mark & RIB_SELECTED))
            continue;
        struct rib_route route;
        uint32_t key[4];
        row_export(rib, row, &route);
        key_of(&route.row, key);
        error = trie_set(trie_of(aggregate, &route.row), key, row->length, row->nexthop);
    }
    if (error == 0)
        return aggregate;
    rib_aggregate_close(aggregate);
    return NULL;
}

void rib_aggregate_suppress(struct rib_aggregate *aggregate, int suppress)
{
    aggregate->suppress = suppress != 0;
}

static uint32_t wanted(const struct rib_aggregate *aggregate, uint32_t group, uint32_t cover)
{
    return aggregate->suppress && group == cover ? 0 : group;
}

uint32_t rib_aggregate_group(struct rib_aggregate *aggregate, const struct route_row *row)
{
    uint32_t key[4];
    key_of(row, key);
    return trie_find(trie_of(aggregate, row), key, row->length).group;
}

uint32_t rib_aggregate_wanted(struct rib_aggregate *aggregate, const struct route_row *row,
                              uint32_t best)
{
    uint32_t key[4];
    key_of(row, key);
    struct trie_found found = trie_find(trie_of(aggregate, row), key, row->length);
    return wanted(aggregate, best, found.cover);
}

uint32_t rib_aggregate_redundant(struct rib_aggregate *aggregate, const struct rib_route *routes,
                                 uint32_t n, struct route_row *rows)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct route_row *row = &routes[i].row;
        uint32_t key[4];
        key_of(row, key);
        struct trie_found there = trie_find(trie_of(aggregate, row), key, row->length);
        if ((row->flags & ROW_SELECTED) && row->nexthop == there.cover) {
            rows[found] = *row;
            rows[found].flags = 0;
            rows[found++].nexthop = aggregate->suppress ? 0 : row->nexthop;
        }
    }
    return found;
}

void rib_aggregate_count(const struct rib_aggregate *aggregate, struct rib_aggregate_counts *out)
{
    out->bytes = sizeof *aggregate;
    for (int i = 0; i < 2; i++) {
        const struct trie *trie = &aggregate->trie[i];
        out->routes[i] = trie->routes;
        out->nodes[i] = trie->nodes;
        out->bytes += (uint64_t)trie->fresh * (3 + trie->key_words) * sizeof(uint32_t);
    }
}

void rib_aggregate_take(struct rib_aggregate *aggregate, const struct route_row *rows, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        uint32_t key[4];
        key_of(&rows[i], key);
        trie_set(trie_of(aggregate, &rows[i]), key, rows[i].length, rows[i].nexthop);
    }
}

/* ---- staging ---- */

static void child_row(const struct trie *trie, uint32_t child, const struct route_row *change,
                      uint64_t index, struct route_row *out)
{
    const uint32_t *node = trie_node(trie, child);
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < trie->key_words; i++) {
        uint32_t word = __builtin_bswap32(trie_key(node)[i]);
        memcpy(out->prefix + i * 4, &word, 4);
    }
    out->length = (uint8_t)trie_length(node);
    out->family = change->family;
    out->metric = (uint32_t)index;
}

/* Steps 1 and 3: 1 when the walk is over, 0 when rows[] is full. */
static int stage_children(struct rib_aggregate *aggregate, const struct route_row *change,
                          struct rib_aggregate_step *step, struct route_row *rows, uint32_t max)
{
    const struct trie *trie = trie_of(aggregate, change);
    int install = aggregate->phase == INSTALL;
    while (step->rows < max) {
        uint32_t child = trie_walk_next(trie, &aggregate->walk);
        if (child == 0)
            return 1;
        uint32_t group = trie_group(trie_node(trie, child));
        uint32_t stays = wanted(aggregate, group, aggregate->after);
        if (install ? stays == 0 || !(aggregate->again || group == aggregate->before) : stays != 0)
            continue;
        child_row(trie, child, change, step->at, &rows[step->rows]);
        rows[step->rows++].nexthop = stays;
    }
    return 0;
}

static int stage_self(struct rib_aggregate *aggregate, const struct route_row *change,
                      const uint32_t *key, struct rib_aggregate_step *step,
                      struct route_row *rows)
{
    struct trie *trie = trie_of(aggregate, change);
    struct undo *undo = &aggregate->undo[aggregate->n_undo++];
    undo->change = step->at;
    undo->group = trie_find(trie, key, change->length).group;
    if (trie_set(trie, key, change->length, change->nexthop) != 0) {
        aggregate->n_undo--;
        return -E2BIG;
    }
    struct route_row *row = &rows[step->rows++];
    *row = *change;
    row->flags = 0;
    row->metric = (uint32_t)step->at;
    row->nexthop = wanted(aggregate, change->nexthop, aggregate->cover);
    return 0;
}

/* What the change means, before anything is written. 0 or -E2BIG. */
static int stage_begin(struct rib_aggregate *aggregate, const struct route_row *change,
                       const uint32_t *key)
{
    struct trie *trie = trie_of(aggregate, change);
    struct trie_found found = trie_find(trie, key, change->length);
    if (found.group == 0 && change->nexthop != 0 &&
        trie->routes >= aggregate->limit[family_index(change->family)])
        return -E2BIG;
    aggregate->cover = found.cover;
    aggregate->before = found.group != 0 ? found.group : found.cover;
    aggregate->after = change->nexthop != 0 ? change->nexthop : found.cover;
    aggregate->again = found.group == change->nexthop;
    return 0;
}

/* Goes on with one change: 1 done, 0 rows[] is full, -E2BIG. */
static int stage(struct rib_aggregate *aggregate, const struct route_row *change,
                 struct rib_aggregate_step *step, struct route_row *rows, uint32_t max)
{
    struct trie *trie = trie_of(aggregate, change);
    uint32_t key[4];
    int error = 0;
    key_of(change, key);
    if (aggregate->phase == BEGIN) {
        error = stage_begin(aggregate, change, key);
        if (error != 0)
            return error;
        trie_walk_begin(trie, key, change->length, &aggregate->walk);
        aggregate->phase = INSTALL;
    }
    int children = aggregate->again || aggregate->before != aggregate->after;
    if (aggregate->phase == INSTALL) {
        if (children && !stage_children(aggregate, change, step, rows, max))
            return 0;
        aggregate->phase = SELF;
    }
    if (aggregate->phase == SELF) {
        if (step->rows == max)
            return 0;
        error = stage_self(aggregate, change, key, step, rows);
        if (error != 0) {
            aggregate->phase = BEGIN;
            return error;
        }
        trie_walk_begin(trie, key, change->length, &aggregate->walk);
        aggregate->phase = WITHDRAW;
    }
    if (children && aggregate->suppress && !stage_children(aggregate, change, step, rows, max))
        return 0;
    aggregate->phase = BEGIN;
    return 1;
}

void rib_aggregate(struct rib_aggregate *aggregate, const struct route_row *changes, uint64_t n,
                   struct rib_aggregate_step *step, struct route_row *rows, uint32_t max)
{
    int state = 1;
    if (max > RIB_AGGREGATE_ROWS)
        max = RIB_AGGREGATE_ROWS;
    if (!step->open)
        aggregate->phase = BEGIN;
    step->rows = 0;
    aggregate->n_undo = 0;
    while (step->at < n && state == 1) {
        state = stage(aggregate, &changes[step->at], step, rows, max);
        step->at += state == 1;
    }
    step->open = state == 0;
    step->error = state < 0 ? (uint32_t)-state : 0;
}

void rib_aggregate_revert(struct rib_aggregate *aggregate, const struct route_row *changes,
                          uint64_t index)
{
    while (aggregate->n_undo > 0 && aggregate->undo[aggregate->n_undo - 1].change >= index) {
        const struct undo *undo = &aggregate->undo[--aggregate->n_undo];
        uint32_t key[4];
        key_of(&changes[undo->change], key);
        /* What was there had a node, so there is room for it. */
        trie_set(trie_of(aggregate, &changes[undo->change]), key, changes[undo->change].length,
                 undo->group);
    }
    aggregate->phase = BEGIN;
}

/* ---- order ---- */

enum { KEYS = 2 * 129 };

static uint32_t order_key(const struct route_row *row, int withdraw_first)
{
    if (row->nexthop != 0)
        return (withdraw_first ? 129u : 0u) + 128u - row->length;
    return (withdraw_first ? 0u : 129u) + row->length;
}

int rib_aggregate_order(struct route_row *rows, uint64_t n, uint32_t room4, uint32_t room6)
{
    uint64_t begin[KEYS + 1] = {0}, installs[2] = {0, 0};
    for (uint64_t i = 0; i < n; i++)
        installs[family_index(rows[i].family)] += rows[i].nexthop != 0;
    int withdraw_first = installs[0] > room4 || installs[1] > room6;
    if (n > SIZE_MAX / sizeof *rows)
        return -ENOMEM;
    struct route_row *sorted = malloc(n * sizeof *rows + 1);
    if (sorted == NULL)
        return -ENOMEM;
    for (uint64_t i = 0; i < n; i++)
        begin[order_key(&rows[i], withdraw_first) + 1]++;
    for (uint32_t i = 0; i < KEYS; i++)
        begin[i + 1] += begin[i];
    for (uint64_t i = 0; i < n; i++) /* counting sort keeps the order of equals */
        sorted[begin[order_key(&rows[i], withdraw_first)]++] = rows[i];
    memcpy(rows, sorted, n * sizeof *rows);
    free(sorted);
    return 0;
}

uint32_t rib_fib_state(const struct rib *rib)
{
    return rib->header->words.fib_state;
}

void rib_set_fib_state(struct rib *rib, uint32_t state)
{
    store_release32(&rib->header->words.fib_state, state);
    RC_FAULT("rib-fib-state");
}
