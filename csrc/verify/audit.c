/* See audit.h. A sweep line: `at` is the next address to ask about, `cover` what covers it. */
#include "verify/audit.h"

#include "rows/rows.h"

#include <errno.h>
#include <string.h>

enum { BATCH = 64, ROWS = 128, COVERS = 130, WORD_SLOTS = 24 };

typedef unsigned __int128 place; /* an address; IPv4 in the low 32 bits */

struct cover { place last; uint32_t group; };

struct audit {
    const struct rib *rib;
    struct rib_aggregate *aggregate;
    struct fib_writer *writer;
    struct fib_reader *reader;
    struct audit_difference *out;
    struct audit_work *done;
    uint32_t max, n;
    uint32_t budget; /* lookups left */
    uint8_t family;
    uint32_t bits;
    place at, end; /* end: the last address of the family */
    struct cover cover[COVERS];
    uint32_t covers;
    struct fib_key keys[BATCH];
    uint32_t wanted[BATCH], found[BATCH], asked;
    int error;
};

static place place_of(const uint8_t *bytes, uint32_t bits)
{
    place value = 0;
    for (uint32_t i = 0; i < bits / 8; i++)
        value = value << 8 | bytes[i];
    return value;
}

static void bytes_of(place value, uint32_t bits, uint8_t *bytes)
{
    memset(bytes, 0, 16);
    for (uint32_t i = bits / 8; i-- > 0; value >>= 8)
        bytes[i] = (uint8_t)value;
}

/* The addresses below a prefix, less one. */
static place below(uint32_t bits, uint32_t length)
{
    return length == 0 ? (bits == 32 ? 0xffffffffu : ~(place)0)
                       : ((place)1 << (bits - length)) - 1;
}

static void differs(struct audit *a, uint32_t kind, const uint8_t *address, uint32_t length,
                    uint32_t wanted, uint32_t found)
{
    if (a->n == a->max)
        return;
    struct audit_difference *one = &a->out[a->n++];
    *one = (struct audit_difference){.family = a->family, .length = length, .wanted = wanted,
                                     .found = found, .kind = kind};
    memcpy(one->address, address, sizeof one->address);
}

/* ---- lookups ---- */

static void flush(struct audit *a)
{
    if (a->asked == 0 || a->error != 0)
        return;
    a->error = fib_lookup_groups(a->reader, a->keys, a->found, a->asked);
    for (uint32_t i = 0; i < a->asked && a->error == 0; i++)
        if (a->found[i] != a->wanted[i])
            differs(a, AUDIT_LOOKUP, a->keys[i].address, a->bits, a->wanted[i], a->found[i]);
    a->done->lookups += a->asked;
    a->asked = 0;
}

static void ask(struct audit *a, place address, uint32_t wanted)
{
    struct fib_key *key = &a->keys[a->asked];
    memset(key, 0, sizeof *key);
    key->family = a->family;
    bytes_of(address, a->bits, key->address);
    a->wanted[a->asked++] = wanted;
    a->budget -= a->budget > 0;
    if (a->asked == BATCH)
        flush(a);
}

/* ---- where a word of its own may answer, inside an interval [a->at, last] ---- */

static place least(place a, place b, place floor)
{
    return b > floor && b < a ? b : a;
}

/* Of the words of a node: 24 slots each, 11 to 256 slots of `unit` addresses. */
static place next_word(place x, place unit)
{
    place node = x / (unit * 256) * (unit * 256), slot = (x - node) / unit;
    place word = slot / WORD_SLOTS + 1;
    return word * WORD_SLOTS < 256 ? node + word * WORD_SLOTS * unit : node + unit * 256;
}

/* The next place after x, or `last`. */
static place next_place(const struct audit *a, place first, place x, place last)
{
    place next = last;
    if (a->family == 6)
        return least(next, ((x >> 112) + 1) << 112, x);
    next = least(next, next_word(x, 256), x);
    next = least(next, last & ~(place)255, x);
    if ((x & ~(place)255) < first || (x | 255) > last) /* a /24 that answers in parts */
        next = least(next, next_word(x, 1), x);
    return next;
}

/* Asks inside [a->at, last], all of which answers `group`. 1: done, a->at is behind it (or the
 * family is at its end); 0: the budget is spent, a->at is where to go on. */
static int interval(struct audit *a, place last, uint32_t group)
{
    place first = a->at, x = first;
    for (;;) {
        ask(a, x, group);
        if (x == last)
            break;
        x = next_place(a, first, x, last);
        if (a->budget == 0 || a->n == a->max || a->error != 0) {
            a->at = x;
            return 0;
        }
    }
    if (last == a->end) {
        a->at = 0;
        a->family = a->family == 4 ? 6 : 7;
        return 1;
    }
    a->at = last + 1;
    return 1;
}

/* ---- the sweep ---- */

static uint32_t top(const struct audit *a)
{
    return a->covers == 0 ? 0 : a->cover[a->covers - 1].group;
}

static void covered(struct audit *a, place first, uint32_t length, uint32_t group)
{
    if (a->covers < COVERS)
        a->cover[a->covers++] = (struct cover){first | below(a->bits, length), group};
}

/* A row that no sound table returns, where it was met. */
static int misplaced(struct audit *a, const struct route_row *row, const struct route_row *before)
{
    int order = memcmp(before->prefix, row->prefix, sizeof row->prefix);
    if (row_valid(row) == 0 && (order < 0 || (order == 0 && before->length < row->length)))
        return 0;
    differs(a, AUDIT_STRUCTURE, row->prefix, row->length, 0, row->nexthop);
    return 1;
}

static void check_route(struct audit *a, const struct route_row *row)
{
    uint32_t wanted = verify_wanted(a->rib, a->aggregate, row);
    if (wanted != row->nexthop)
        differs(a, AUDIT_ROUTE, row->prefix, row->length, wanted, row->nexthop);
    a->done->routes++;
}

/* What covers a->at: no route of the walk before it is needed. */
static void find_covers(struct audit *a)
{
    struct route_row row = {.family = a->family};
    a->covers = 0;
    for (uint32_t length = 0; length <= a->bits; length++) {
        place first = a->at & ~below(a->bits, length);
        bytes_of(first, a->bits, row.prefix);
        row.length = (uint8_t)length;
        uint32_t group = fib_exact(a->writer, &row);
        if (group == 0)
            continue;
        covered(a, first, length, group);
        row.nexthop = group;
        if (first == a->at) /* the walk begins behind it */
            check_route(a, &row);
    }
}

/* Everything before `boundary` (the first address of the next route). */
static int up_to(struct audit *a, place boundary)
{
    while (a->covers > 0 && a->cover[a->covers - 1].last < boundary) {
        place last = a->cover[a->covers - 1].last;
        if (last >= a->at && !interval(a, last, top(a)))
            return 0;
        a->covers--;
    }
    return a->at >= boundary || interval(a, boundary - 1, top(a));
}

/* Behind the last route: to the end of the family. */
static int to_the_end(struct audit *a)
{
    uint8_t family = a->family;
    while (a->covers > 0 && a->family == family) {
        place last = a->cover[a->covers - 1].last;
        if (last >= a->at && !interval(a, last, top(a)))
            return 0;
        a->covers--;
    }
    return a->family != family || interval(a, a->end, 0);
}

static void sweep_family(struct audit *a)
{
    struct route_row rows[ROWS], after = {.family = a->family, .length = (uint8_t)a->bits};
    struct route_row before = {.family = a->family};
    uint32_t n = ROWS;
    uint8_t family = a->family;
    find_covers(a);
    bytes_of(a->at, a->bits, after.prefix);
    for (;;) {
        n = fib_walk_places(a->writer, &after, rows, ROWS);
        rib_expect(a->rib, rows, n);
        for (uint32_t i = 0; i < n; i++) {
            if (rows[i].family != family) {
                (void)to_the_end(a);
                return;
            }
            if (rows[i].nexthop == 0) { /* a word of the engine's own: ask there */
                place there = place_of(rows[i].prefix, a->bits);
                if (there > a->at && !up_to(a, there))
                    return;
                if (a->budget == 0 || a->n == a->max || a->error != 0)
                    return;
                continue;
            }
            /* The first is only known to lie behind a->at. */
            if ((i > 0 || before.nexthop != 0) && misplaced(a, &rows[i], &before))
                return;
            before = rows[i];
            place first = place_of(rows[i].prefix, a->bits);
            if (row_valid(&rows[i]) != 0 || first < a->at) {
                differs(a, AUDIT_STRUCTURE, rows[i].prefix, rows[i].length, 0, rows[i].nexthop);
                return;
            }
            if (!up_to(a, first))
                return;
            check_route(a, &rows[i]);
            covered(a, first, rows[i].length, rows[i].nexthop);
            if (a->budget == 0 || a->n == a->max || a->error != 0)
                return; /* a->at is first: its covers are found again */
        }
        if (n < ROWS) {
            (void)to_the_end(a);
            return;
        }
    }
}

int audit_slice(const struct rib *rib, struct rib_aggregate *aggregate, struct fib_writer *writer,
                struct fib_reader *reader, struct audit_cursor *cursor, uint32_t lookups,
                struct audit_difference *out, uint32_t max, struct audit_work *done)
{
    struct audit a = {.rib = rib, .aggregate = aggregate, .writer = writer, .reader = reader,
                      .out = out, .max = max, .budget = lookups == 0 ? 1 : lookups, .done = done};
    a.family = (uint8_t)(cursor->family == 0 ? 4 : cursor->family);
    while (a.family <= 6 && a.budget > 0 && a.n < a.max && a.error == 0) {
        a.bits = a.family == 4 ? 32 : 128;
        a.end = below(a.bits, 0);
        a.at = place_of(cursor->address, a.bits);
        uint8_t family = a.family;
        sweep_family(&a);
        uint8_t now = a.family;
        a.family = family; /* what is asked still is of this one */
        flush(&a);
        a.family = now;
        bytes_of(now == family ? a.at : 0, now == 4 ? 32 : 128, cursor->address);
        cursor->family = now;
    }
    return a.error != 0 ? a.error : (int)a.n;
}
