/* Prefix aggregation: which routes in force the FIB needs, and how it follows when they change.
 *
 * A route is redundant when the nearest shorter route that covers it has the same next-hop group.
 * The FIB gets the others:
 *
 *     wanted(P) = group(P) unless group(P) == group(parent(P)), then nothing
 *
 * where parent(P) is the longest shorter prefix in force in the RIB (not in the FIB) that covers
 * P. No lookup changes its meaning: going up from the longest match, a redundant route hands the
 * address to its parent, which has the same group.
 *
 * When P turns from group a to group b (0: no route; what covers P then stands in for it), the
 * routes concerned are P and its direct children, and they are written in this order:
 *
 *     1. children of a's group, hitherto redundant: installed while P still says a
 *     2. P itself
 *     3. children of b's group, redundant from now on: withdrawn now that P says b
 *
 * So that at every moment every address has the answer it has in the RIB before this change or
 * after it: 1 and 3 change no answer, and 2 changes none inside a child. A change given once more
 * (a == b: a successor's journal) writes P and all its children, whatever the FIB holds of them.
 *
 * rib_aggregate keeps P at group a until it writes step 2, so a FIB that refuses a row of step 1
 * leaves everything as it was: rib_aggregate_revert.
 *
 * Control only, one thread. Private memory, loaded from the RIB by every control process that
 * needs it; only the word rib_fib_state outlives it.
 */
#ifndef RC_RIB_AGGREGATE_H
#define RC_RIB_AGGREGATE_H
#include "rib/rib.h"

enum { RIB_AGGREGATE_ROWS = 8192 }; /* rows of one slice, at most */

struct rib_aggregate;

struct rib_aggregate_step { /* zeros: from the first change */
    uint64_t at;   /* changes before it are staged */
    uint32_t open; /* 1: changes[at] is half staged */
    uint32_t rows; /* of this slice */
    uint32_t error; /* E2BIG: changes[at] would be one route more than the limit */
    uint32_t unused;
};
struct rib_aggregate_counts {
    uint32_t routes[2];
    uint32_t nodes[2];
    uint64_t bytes; /* of private memory in use */
};

/* Routes in force of the RIB as they are now. Limits are routes, not FIB entries, so that the FIB
 * can always hold all of them. NULL: no memory. Measured: 40 to 110 ms for 900,000 routes,
 * which take 27 MB. */
struct rib_aggregate *rib_aggregate_open(const struct rib *rib, uint32_t limit4, uint32_t limit6);
void rib_aggregate_close(struct rib_aggregate *aggregate);
/* 0: nothing is redundant from now on, as on the way to a FIB without aggregation. */
void rib_aggregate_suppress(struct rib_aggregate *aggregate, int suppress);
/* Takes rows as they are in force now, without a word for the FIB: before they are staged once
 * more to be sorted by rib_aggregate_order, when all have to be compared with the last state. */
void rib_aggregate_take(struct rib_aggregate *aggregate, const struct route_row *rows, uint64_t n);
/* Stages changes[step->at..n): FIB rows to apply in this order, at most `max` (and never more
 * than RIB_AGGREGATE_ROWS). `metric` of a row is the index of its change. Call again until
 * step->at == n; after an error the rows of this slice still count. The changes must be what
 * rib_apply and the like returned since, in order. */
void rib_aggregate(struct rib_aggregate *aggregate, const struct route_row *changes, uint64_t n,
                   struct rib_aggregate_step *step, struct route_row *rows, uint32_t max);
/* Of the last slice, changes from `index` on are not in force: forgets them. */
void rib_aggregate_revert(struct rib_aggregate *aggregate, const struct route_row *changes,
                          uint64_t index);
/* The group in force for exactly this prefix as staged so far, 0: none. */
uint32_t rib_aggregate_group(struct rib_aggregate *aggregate, const struct route_row *key);
/* What the FIB should hold for a prefix whose best next hop in the RIB is `best` (0: none). */
uint32_t rib_aggregate_wanted(struct rib_aggregate *aggregate, const struct route_row *key,
                              uint32_t best);
/* Of these routes in force, those that another setting of `suppress` left in the FIB or out of it,
 * as rows for the FIB: the redundant ones, withdrawn or with their groups. Returns how many. */
uint32_t rib_aggregate_redundant(struct rib_aggregate *aggregate, const struct rib_route *routes,
                                 uint32_t n, struct route_row *rows);
void rib_aggregate_count(const struct rib_aggregate *aggregate, struct rib_aggregate_counts *out);

/* Sorts rows that take a FIB from any content to another one by any number of changes: rows that
 * install first, longest prefix first, then those that withdraw, shortest first; each address then
 * goes from its old answer to its new one at once. (Installs: the longest that covers an address
 * comes first and later ones are shorter. Withdrawals: the old answer is the longest and goes
 * last.) When a family has more installs than its `room`, withdrawals go first, and answers may be
 * too short for a moment. 0 or -ENOMEM. */
int rib_aggregate_order(struct route_row *rows, uint64_t n, uint32_t room4, uint32_t room6);

/* What the FIB that belongs to this RIB may hold; kept in the RIB segment, stored before the
 * first row that makes it true. */
enum rib_fib_state {
    RIB_FIB_WHOLE = 0,      /* every route */
    RIB_FIB_BETWEEN = 1,    /* redundant routes may or may not be there */
    RIB_FIB_AGGREGATED = 2, /* no redundant route */
};
uint32_t rib_fib_state(const struct rib *rib);
void rib_set_fib_state(struct rib *rib, uint32_t state);

#endif
