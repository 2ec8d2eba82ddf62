/* The RIB: candidates in, best next hops out. See layout/rib_layout.h for what survives a crash.
 *
 * Use (control only, one thread, holding the control lock):
 *     rib_create() once on fresh zeroed memory; rib_open() by every control process;
 *     rib_apply(rows) -> changes for the FIB -> fib_apply, fib_publish -> rib_published(mark).
 * A row is acknowledged when rib_apply has returned it as applied: it then outlives SIGKILL.
 *
 * A candidate is identified by (prefix, source, metric). Best = lowest distance, then metric,
 * then source number, among candidates whose next-hop set is not dead. All functions return 0 or
 * -errno unless they say otherwise. Nothing allocates but rib_open and the first rib_walk.
 */
#ifndef RC_RIB_H
#define RC_RIB_H
#include "layout/fib_layout.h"
#include "layout/rib_layout.h"
#include "segment/segment.h"

extern const struct segment_format rib_format;

struct rib; /* private memory: free lists, counts, reference counts; rebuilt by rib_open */

struct rib_params {
    uint32_t max_rows;     /* 1..RIB_MAX_ROWS */
    uint32_t max_nexthops; /* 2..RIB_MAX_NEXTHOPS; ids 1..max_nexthops-1 */
    uint32_t max_nodes;    /* paths of all sets together (a set without path takes one) */
    uint32_t unused;
    uint64_t instance_id;
    uint64_t seed;         /* random */
};
struct rib_recovery { /* what rib_open found and did */
    uint64_t rows;        /* candidates */
    uint64_t reclaimed;   /* rows and nodes a dead writer had built and not linked */
    uint64_t pending;     /* changes decided and not known to be published, see rib_pending */
    uint64_t nanoseconds;
    uint32_t nexthops;
    uint32_t repaired;    /* prefixes whose selection was half done */
    uint32_t everything;  /* 1: more pending than the journal holds; compare RIB with FIB */
    uint32_t reselect;    /* 1: call rib_reselect until it is done */
};

uint64_t rib_segment_size(const struct rib_params *params); /* 0: params out of range */
/* Formats fresh zeroed memory of at least rib_segment_size() bytes; identity line last. */
int rib_create(void *base, uint64_t size, const struct rib_params *params);
/* Walks and verifies the whole segment (measured: 75 to 150 ms a million rows). NULL with *error:
 * -EINVAL (not a ready RIB of this build), -EBADMSG (damaged: an index out of range, a row reached
 * twice, an unknown next-hop set), -ENOMEM. */
struct rib *rib_open(void *base, uint64_t size, struct rib_recovery *recovery, int *error);
void rib_close(struct rib *rib); /* frees private memory; the segment stays as it is */

/* ---- rows (apply.c) ---- */

struct rib_applied {
    uint64_t applied;   /* rows in force: rows[0..applied) */
    uint32_t changes;   /* entries of changes[] */
    uint32_t added;
    uint32_t replaced;
    uint32_t refreshed; /* the same again: only the stale mark went */
    uint32_t withdrawn;
    uint32_t unknown;   /* withdrawals of what was not there */
};
/* Applies rows in order; nexthop 0 withdraws. `changes` receives one row for every prefix whose
 * best next hop is another than before the call (0 = none left), with source, distance and
 * metric of the new best. Stops early, with 0, when changes[] is full: call again with the rest.
 * Errors stop at rows[applied]: -EINVAL bad row or source, -ENOENT unknown next-hop set,
 * -ENOSPC table full, -EDQUOT the source's limit, -E2BIG RIB_MAX_CANDIDATES.
 * Flips inside one call are merged (exactly so among the first 4,096 changed prefixes). */
int rib_apply(struct rib *rib, const struct route_row *rows, uint64_t n,
              struct route_row *changes, uint32_t max_changes, struct rib_applied *result);
/* What rib_apply would refuse among rows, without changing anything: 0 or its error, *bad = the
 * index. For all-or-nothing requests. Capacity is checked as if every row were new. */
int rib_check(struct rib *rib, const struct route_row *rows, uint64_t n, uint64_t *bad);
/* At most `rows` candidates of `source` (0 = no limit but the table's). Private: set it again
 * after rib_open. */
int rib_limit(struct rib *rib, uint32_t source, uint32_t rows);

/* ---- the journal (journal.c) ---- */

/* The mark to give to rib_published once all changes returned so far are in the FIB. */
uint64_t rib_changed(const struct rib *rib);
/* -EINVAL: a mark that was never given out. An older mark than the last is ignored. */
int rib_published(struct rib *rib, uint64_t mark);
/* Rows (prefix, best next hop now) of changes *cursor.. that may be missing in the FIB;
 * *cursor 0 to start. Returns rows written, 0 at the end, -EOVERFLOW when the ring has moved on
 * (then compare RIB and FIB whole). A prefix may come twice. */
int rib_pending(const struct rib *rib, uint64_t *cursor, struct route_row *rows, uint32_t max);
/* Says that the FIB may lack everything (it was made anew). Cleared by rib_published. */
void rib_republish_all(struct rib *rib);

/* ---- reading (read.c, walk.c) ---- */

struct rib_route {
    struct route_row row; /* flags: ROW_STALE, ROW_SELECTED, ROW_DEAD */
    uint32_t generation;  /* of its source when announced */
    uint32_t since;       /* CLOCK_MONOTONIC seconds of its last change */
};
/* All candidates of exactly key->prefix/length, best rank first. Returns how many there are (may
 * be more than max), or -EINVAL. */
int rib_get(const struct rib *rib, const struct route_row *key, struct rib_route *out,
            uint32_t max);
/* The route in force for exactly this prefix; -ENOENT: none. */
int rib_best(const struct rib *rib, const struct route_row *key, struct rib_route *out);
/* Brings the chains of n prefixes near, for rib_best on each of them soon: a million routes miss
 * every cache, one after the other or 32 at a time. */
void rib_expect(const struct rib *rib, const struct route_row *keys, uint32_t n);
/* Longest match among routes in force, by trying each length in use: for `route get`, not for
 * packets. -ENOENT: no route. */
int rib_match(const struct rib *rib, const uint8_t address[16], uint8_t family,
              struct rib_route *out);

struct rib_filter { /* zeros: everything */
    uint8_t family;
    uint8_t source;
    uint8_t selected; /* 1: only routes in force */
    uint8_t stale;    /* 1: only stale ones */
    uint8_t within;   /* 1: only prefixes inside prefix/length of `family` */
    uint8_t length;
    uint8_t unused[2];
    uint8_t prefix[16];
};
struct rib_cursor { /* zeros: from the start. Opaque, may travel as bytes. */
    struct route_row key; /* the last row returned */
    uint32_t partition;
    uint32_t state; /* 0 partition not begun, 1 after key, 2 the end */
};
enum { RIB_WALK_MAX = 4096 };
/* Candidates in the order family, address, length, then rank: up to max (<= RIB_WALK_MAX) per
 * call. Returns rows written; 0 does not mean the end (a filter may skip a whole slice):
 * cursor->state == 2 does. Routes changed meanwhile appear or not, others exactly once.
 * The first call builds a private index (8 bytes a row slot; measured 11 ms a million rows) which
 * rib_apply then keeps up to date (7.2 M rows/s became 5.7); rib_walk_release drops it. A slice
 * examines at most one /16 of IPv4 (a /19 of IPv6) beyond 16,384 rows. */
int rib_walk(struct rib *rib, struct rib_cursor *cursor, const struct rib_filter *filter,
             struct rib_route *out, uint32_t max);
void rib_walk_release(struct rib *rib);
/* Routes in force among the next `budget` row slots from *slot (1 to start), in no order, without
 * the index of rib_walk: what an audit reads beside changes. out[] has room for `budget`. Returns
 * rows written; *slot is where to go on, 0 at the end. Each row is looked for in its chain:
 * -EBADMSG when a used slot is not a row of this table (somebody wrote into the segment). */
int rib_scan(const struct rib *rib, uint32_t *slot, uint32_t budget, struct rib_route *out);

/* Copies the candidates of some sources (bit n of `sources`: source n) from the next `budget` row
 * slots, in no order: for a checkpoint. *slot is 0 to start and moves on; *n rows were written.
 * Returns 1 while there is more (also when rows[] is full), 0 at the end. Between two calls with no
 * change in between nothing is missed; a row replaced between them may be. */
int rib_export(const struct rib *rib, uint32_t sources, uint32_t *slot, uint32_t budget,
               struct route_row *rows, uint32_t max, uint32_t *n);

struct rib_counts {
    uint32_t rows;           /* candidates */
    uint32_t max_rows;
    uint32_t routes[2];      /* prefixes, IPv4 and IPv6 */
    uint32_t selected[2];    /* of these, with a route in force */
    uint32_t source[SOURCE_COUNT];
    uint32_t source6[SOURCE_COUNT]; /* of source[]: IPv6 */
    uint32_t stale[SOURCE_COUNT];
    uint32_t generation[SOURCE_COUNT];
    uint32_t nexthops;
    uint32_t max_nexthops;
    uint32_t nodes;
    uint32_t max_nodes;
    uint64_t changed;
    uint64_t published;
    uint64_t segment_bytes;
    uint64_t private_bytes;
};
void rib_count(const struct rib *rib, struct rib_counts *out);

/* ---- whole sources, liveness (sweep.c) ---- */

/* Begins a new generation of `source`: all its rows are stale (and stay in force) until
 * announced again or swept. One word. Returns the new generation, or -EINVAL. */
int64_t rib_mark_stale(struct rib *rib, uint32_t source);
/* Withdraws the stale rows of `source` among the next `budget` row slots from *slot (0 to
 * start). Returns 1 while there is more to do (also when changes[] is full), 0 at the end;
 * -ESTALE when `generation` is not the source's any more. */
int rib_sweep(struct rib *rib, uint32_t source, uint32_t generation, uint32_t *slot,
              uint32_t budget, struct route_row *changes, uint32_t max_changes,
              uint32_t *n_changes);
/* A set becomes (in)eligible: stored at once, prefixes follow with rib_reselect. Returns 1 when
 * that is news, 0 when not, -ENOENT. */
int rib_set_dead(struct rib *rib, uint32_t nexthop, int dead);
/* Selects the best of the prefixes of changed sets again, `budget` row slots a call; remembers
 * where it was. The same return values as rib_sweep. Costs a scan of all row slots plus a
 * chain walk per affected row: 0.13 s when all of a million rows are affected. */
int rib_reselect(struct rib *rib, uint32_t budget, struct route_row *changes,
                 uint32_t max_changes, uint32_t *n_changes);

/* ---- next-hop sets (nexthop.c) ---- */

enum { RIB_ANY_PORT = 0xffff }; /* the gateway is found through the table itself */

struct rib_path {
    uint8_t address[16];
    uint8_t family; /* 4, 6, or 0: on-link, the destination is the next hop */
    uint8_t unused;
    uint16_t port;   /* port index or RIB_ANY_PORT */
    uint16_t weight; /* from 1 */
    uint16_t unused1;
};
struct rib_nexthops {
    uint32_t id;
    uint8_t kind; /* enum fib_kind */
    uint8_t dead;
    uint16_t paths;
    struct rib_path path[RIB_MAX_PATHS];
};
/* Finds the set equal to *set (kind and paths in any order) or stores it under a free id; the id
 * goes to set->id. `popular` not 0: many routes may name it, so it gets the lowest free id below
 * RIB_POPULAR while there is one, even when an equal set has a higher id; the FIB's compact engine
 * keeps ids that fit a byte in half the room. Other sets (of on-link hosts: one route each) stay
 * out of that range. -EINVAL bad paths, -ENOSPC ids or nodes used up. */
enum { RIB_POPULAR = 256 };
int rib_nexthop_intern(struct rib *rib, struct rib_nexthops *set, int popular);
/* Stores *set under set->id, new or in place of what was there (its routes follow; liveness is
 * kept). The paths keep the order given. */
int rib_nexthop_put(struct rib *rib, const struct rib_nexthops *set);
int rib_nexthop_get(const struct rib *rib, uint32_t id, struct rib_nexthops *out); /* -ENOENT */
/* Forgets a set: -EBUSY while a row names it, -ENOENT. The caller has unpublished it. */
int rib_nexthop_delete(struct rib *rib, uint32_t id);
/* Rows that name the set; 0 also for unknown ids. */
uint32_t rib_nexthop_refs(const struct rib *rib, uint32_t id);
/* The lowest id above `after` that names a set; 0 at the end. */
uint32_t rib_nexthop_next(const struct rib *rib, uint32_t after);

#endif
