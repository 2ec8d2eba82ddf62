/* A route row: one route in 32 bytes. All bulk work (parsing, RIB, FIB) passes arrays of rows.
 *
 *   0               16    17    18    19    20       24        28      32
 *   +---------------+-----+-----+-----+-----+--------+---------+-------+
 *   | prefix        | len | fam | src |dist | metric | nexthop | flags |
 *   +---------------+-----+-----+-----+-----+--------+---------+-------+
 *
 * `prefix` is in network byte order, IPv4 in its first four bytes, the rest zero; bits below
 * `length` are zero (row_valid() says so). `nexthop` is a next-hop group id; 0 withdraws.
 * Rows live in private memory; nothing here is shared between processes.
 */
#ifndef RC_ROW_LAYOUT_H
#define RC_ROW_LAYOUT_H
#include "base/base.h"

/* Route sources have numbers from 1 on; which has which is said in controlplane/routes/sources/.
 * They are stored in the RIB segment: never reuse one. */
enum route_source {
    SOURCE_NONE = 0,
    SOURCE_COUNT = 16,
};

enum row_flag {
    ROW_STALE = 1, /* its source went away; in force until re-announced or swept */
    /* In rows that the RIB returns: */
    ROW_SELECTED = 2, /* the best of its prefix */
    ROW_DEAD = 4,     /* its next hops are all down; never selected */
    /* In rows given to rib_apply: the source's only candidate for the prefix, those with other
     * metrics go (a withdrawal: all of them). Several words, so a crash may leave some of the
     * others; the re-announcement that follows a crash removes them. */
    ROW_ONLY = 16,
    ROW_GATEWAY = 32, /* set by rows_parse alone: nexthop is a position in `gateways`, no id */
};

struct route_row {
    uint8_t prefix[16];
    uint8_t length;   /* 0..32 or 0..128 */
    uint8_t family;   /* 4 or 6 */
    uint8_t source;   /* 1..SOURCE_COUNT-1 */
    uint8_t distance; /* administrative distance, lower wins */
    uint32_t metric;  /* lower wins among equal distances */
    uint32_t nexthop; /* next-hop group id, 1..FIB_MAX_GROUPS-1; 0 = withdraw */
    uint32_t flags;   /* enum row_flag */
};
RC_STATIC_ASSERT(sizeof(struct route_row) == 32, "two rows a cache line");

/* What the layout identity is made of, see layout/identity.h. */
#define ROW_LAYOUT                                                                               \
    LAYOUT_STRUCT(route_row, prefix, length, family, source, distance, metric, nexthop, flags)

#endif
