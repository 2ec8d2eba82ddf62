/* RIB against FIB, row by row and by real lookups: what `fib verify` and a takeover compare.
 *
 * The caller walks one table in slices and asks here how the other one answers; nothing is
 * changed. Control only (it needs the writer), between two updates: a difference is one only
 * when nothing was applied in between. Every function returns the number of rows written.
 * `aggregate` is NULL when the FIB holds every route; else what it says is wanted.
 */
#ifndef RC_VERIFY_H
#define RC_VERIFY_H
#include "fib/fib.h"
#include "rib/aggregate/aggregate.h"
#include "rib/rib.h"

/* Routes in force of the RIB (a slice of rib_walk) that the FIB does not have like this:
 * out[] has room for n; each row is what the FIB should hold. One too many shows in verify_rows. */
uint32_t verify_routes(struct fib_writer *writer, struct rib_aggregate *aggregate,
                       const struct rib_route *routes, uint32_t n, struct route_row *out);
/* Rows of the FIB (a slice of fib_walk) that the RIB wants otherwise: nexthop = the RIB's best,
 * 0 when it has none. */
uint32_t verify_rows(const struct rib *rib, struct rib_aggregate *aggregate,
                     const struct route_row *rows, uint32_t n, struct route_row *out);
/* The group that the FIB should hold for exactly this prefix, 0: none. */
uint32_t verify_wanted(const struct rib *rib, struct rib_aggregate *aggregate,
                       const struct route_row *row);

/* What the FIB holds for exactly each prefix of a slice of the RIB: groups[i], 0: no entry. */
void verify_exact(struct fib_writer *writer, const struct rib_route *routes, uint32_t n,
                  uint32_t *groups);

struct lookup_difference {
    uint8_t address[16];
    uint32_t family;
    uint32_t rib; /* next-hop set by the RIB's longest match, 0 = no route */
    uint32_t fib; /* group the reader found */
};
/* n lookups in both: half of them inside prefixes of the given routes, half anywhere.
 * *seed is carried on from call to call. */
uint32_t verify_lookups(const struct rib *rib, struct fib_reader *reader,
                        const struct rib_route *routes, uint32_t n_routes, uint64_t *seed,
                        uint32_t n, struct lookup_difference *out, uint32_t max);

#endif
