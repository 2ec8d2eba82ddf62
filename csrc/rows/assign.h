/* Turns parsed rows into rows for the RIB: next-hop ids, distance, metric.
 *
 * rows_parse() leaves in `nexthop` a number of the file's own (an id, or with ROW_GATEWAY the
 * position of a gateway); only control knows which next-hop set that means. Private memory,
 * any process.
 */
#ifndef RC_ROW_ASSIGN_H
#define RC_ROW_ASSIGN_H
#include "layout/row_layout.h"

struct row_assignment {
    /* By family, [0] IPv4 and [1] IPv6: a next hop is of its route's own family. */
    const uint32_t *ids[2];      /* number n means ids[(n - 1) % n_ids] */
    const uint32_t *gateways[2]; /* gateway n means gateways[n - 1]; 0: of the other family */
    uint32_t n_ids[2];
    uint32_t n_gateways;
    uint32_t metric;
    uint8_t source;
    uint8_t distance;
    uint8_t unused[6];
};
/* How often rows name each next hop: ids[family][n_ids[family]] and gateways[n_gateways] count on.
 * Numbers that rows_assign() would refuse are passed over. */
struct row_usage {
    uint32_t *ids[2];
    uint32_t *gateways;
};
void rows_usage(const struct route_row *rows, uint64_t n, const struct row_assignment *how,
                const struct row_usage *usage);
/* Gives every row its next-hop set, source, distance and metric and clears its flags. Returns
 * how many rows were done: less than n at the first row whose next hop means nothing. */
uint64_t rows_assign(struct route_row *rows, uint64_t n, const struct row_assignment *how);

/* Rows of an older table: every row gets map[its number] as its next-hop set and loses its flags.
 * `sources`: bit n says that rows of source n are wanted. Returns how many rows were done: less
 * than n at the first that is not valid, of another source, or names a set that map[0..size) does
 * not have. */
uint64_t rows_renumber(struct route_row *rows, uint64_t n, const uint32_t *map, uint32_t size,
                       uint32_t sources);

#endif
