/* The tables against each other beside running traffic, a slice at a time.
 *
 * One walk over the FIB's routes in order gives for every address what a lookup has to answer, from
 * the routes that cover it. The audit asks a reader at the ends of each interval of equal answers
 * and, inside one, at every place where the IPv4 engines begin another word (the /16s, 24 /24s, 24
 * addresses of a /24 in parts), at the first two bytes of IPv6 and wherever the engine says that a
 * word of its own answers (struct lpm_visitor); and the RIB about each route.
 *
 * The cursor is an address: any change may happen between two slices. Control only, and only while
 * nothing waits to be published (fib_unpublished); nothing is changed, nothing allocated.
 */
#ifndef RC_AUDIT_H
#define RC_AUDIT_H
#include "verify/verify.h"

enum audit_kind {
    AUDIT_ROUTE = 1,
    AUDIT_LOOKUP = 2,
    AUDIT_STRUCTURE = 3, /* a route in the wrong place: the segment is no table of its engine */
};

struct audit_cursor { /* zeros: from the start */
    uint8_t address[16];
    uint32_t family; /* 0 or 4, then 6, then 7: the end */
    uint32_t unused;
};
struct audit_difference {
    uint8_t address[16];
    uint32_t family;
    uint32_t length; /* AUDIT_ROUTE: of the prefix */
    uint32_t wanted; /* group; 0: none */
    uint32_t found;
    uint32_t kind; /* enum audit_kind */
};
struct audit_work {
    uint64_t routes;  /* of the FIB, compared with the RIB */
    uint64_t lookups;
};

/* Goes on for about `lookups` lookups (and a quarter as many routes). Returns how many differences
 * out[0..max) holds; the slice ends early when it is full. -EAGAIN: the reader met changes. */
int audit_slice(const struct rib *rib, struct rib_aggregate *aggregate, struct fib_writer *writer,
                struct fib_reader *reader, struct audit_cursor *cursor, uint32_t lookups,
                struct audit_difference *out, uint32_t max, struct audit_work *done);

#endif
