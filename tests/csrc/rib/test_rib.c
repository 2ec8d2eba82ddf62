/* The RIB under sanitizers: limits at their edges, and segments that somebody scribbled over.
 *
 * The table lies at the end of an exact-size heap block, so one byte beyond it is a report. A
 * damaged segment is either refused by rib_open or good enough that every call afterwards stays
 * in bounds and ends; which of the two does not matter here.
 */
#include <errno.h>

#include "check.h"
#include "rib/rib.h"

enum { ROWS = 100, IDS = 16, NODES = 24 };

static struct rib *fresh(uint8_t **memory, uint64_t *size)
{
    struct rib_params params = {
        .max_rows = ROWS, .max_nexthops = IDS, .max_nodes = NODES, .instance_id = 7, .seed = 9};
    struct rib_recovery recovery;
    int error;
    *size = rib_segment_size(&params);
    CHECK(*size > 0);
    *memory = aligned_alloc(64, *size);
    CHECK(*memory != NULL);
    memset(*memory, 0, *size);
    CHECK_EQUAL(0, rib_create(*memory, *size, &params));
    struct rib *rib = rib_open(*memory, *size, &recovery, &error);
    CHECK(rib != NULL);
    return rib;
}

static struct route_row row_of(uint32_t number, uint32_t nexthop)
{
    struct route_row row = {.length = 24, .family = 4, .source = 3, .nexthop = nexthop};
    row.prefix[0] = 10;
    row.prefix[1] = (uint8_t)(number >> 8);
    row.prefix[2] = (uint8_t)number;
    return row;
}

static int one(struct rib *rib, struct route_row row)
{
    struct route_row change;
    struct rib_applied applied;
    int error = rib_apply(rib, &row, 1, &change, 1, &applied);
    CHECK_EQUAL(error == 0, applied.applied);
    return error;
}

static struct rib_nexthops set_of(uint8_t last, uint16_t paths)
{
    struct rib_nexthops set = {.kind = FIB_KIND_FORWARD, .paths = paths};
    for (uint16_t i = 0; i < paths; i++) {
        set.path[i] = (struct rib_path){.family = 4, .port = i % FIB_MAX_PORTS, .weight = 1};
        set.path[i].address[3] = last;
    }
    return set;
}

static void limits_are_errors(void)
{
    uint8_t *memory;
    uint64_t size;
    struct rib *rib = fresh(&memory, &size);
    struct rib_nexthops set = set_of(1, 2);
    CHECK_EQUAL(0, rib_nexthop_intern(rib, &set, 1));
    CHECK_EQUAL(-ENOENT, one(rib, row_of(0, 2)));
    CHECK_EQUAL(-ENOENT, one(rib, row_of(0, IDS + 5)));
    for (uint32_t i = 0; i < ROWS; i++)
        CHECK_EQUAL(0, one(rib, row_of(i, 1)));
    CHECK_EQUAL(-ENOSPC, one(rib, row_of(ROWS, 1)));

    struct route_row again = row_of(5, 1); /* a full table still replaces */
    again.distance = 9;
    CHECK_EQUAL(0, one(rib, again));
    CHECK_EQUAL(0, one(rib, row_of(7, 0)));
    CHECK_EQUAL(0, one(rib, row_of(ROWS, 1)));
    CHECK_EQUAL(-ENOSPC, one(rib, row_of(7, 1)));

    for (uint32_t i = 0; i <= ROWS; i++)
        CHECK_EQUAL(0, one(rib, row_of(i, 0)));
    for (uint32_t i = 0; i < RIB_MAX_CANDIDATES; i++) {
        struct route_row candidate = row_of(1, 1);
        candidate.metric = i;
        CHECK_EQUAL(0, one(rib, candidate));
    }
    struct route_row more = row_of(1, 1);
    more.metric = 1000;
    CHECK_EQUAL(-E2BIG, one(rib, more));
    struct rib_route found[RIB_MAX_CANDIDATES];
    CHECK_EQUAL(RIB_MAX_CANDIDATES, rib_get(rib, &more, found, RIB_MAX_CANDIDATES));
    CHECK_EQUAL(RIB_MAX_CANDIDATES, rib_get(rib, &more, found, 3));

    CHECK_EQUAL(0, rib_limit(rib, 3, RIB_MAX_CANDIDATES));
    CHECK_EQUAL(-EDQUOT, one(rib, row_of(2, 1)));
    CHECK_EQUAL(-EINVAL, rib_limit(rib, SOURCE_COUNT, 1));

    struct route_row bad = row_of(3, 1);
    bad.length = 8; /* host bits */
    CHECK_EQUAL(-EINVAL, one(rib, bad));
    bad = row_of(3, 1);
    bad.source = 0;
    CHECK_EQUAL(-EINVAL, one(rib, bad));
    bad.source = SOURCE_COUNT;
    CHECK_EQUAL(-EINVAL, one(rib, bad));
    bad = row_of(1, 1);
    bad.flags = ROW_GATEWAY;
    CHECK_EQUAL(-EINVAL, one(rib, bad));
    rib_close(rib);
    free(memory);
}

static void nexthop_limits_are_errors(void)
{
    uint8_t *memory;
    uint64_t size;
    struct rib *rib = fresh(&memory, &size);
    struct rib_nexthops set = set_of(1, RIB_MAX_PATHS);
    CHECK_EQUAL(-ENOSPC, rib_nexthop_intern(rib, &set, 1)); /* 32 paths, 24 nodes */
    for (uint32_t i = 1; i < IDS; i++) {
        set = set_of((uint8_t)i, 1);
        CHECK_EQUAL(0, rib_nexthop_intern(rib, &set, 1));
        CHECK_EQUAL(i, set.id);
    }
    set = set_of(200, 1);
    CHECK_EQUAL(-ENOSPC, rib_nexthop_intern(rib, &set, 1));
    set = set_of(3, 1);
    CHECK_EQUAL(0, rib_nexthop_intern(rib, &set, 1));
    CHECK_EQUAL(3, set.id);
    CHECK_EQUAL(0, one(rib, row_of(1, 3)));
    CHECK_EQUAL(-EBUSY, rib_nexthop_delete(rib, 3));
    CHECK_EQUAL(0, rib_nexthop_delete(rib, 4));
    CHECK_EQUAL(-ENOENT, rib_nexthop_delete(rib, 4));
    CHECK_EQUAL(-ENOENT, rib_set_dead(rib, 4, 1));
    set = set_of(5, 1);
    set.paths = RIB_MAX_PATHS + 1;
    CHECK_EQUAL(-EINVAL, rib_nexthop_intern(rib, &set, 1));
    set = set_of(5, 1);
    set.path[0].port = FIB_MAX_PORTS;
    CHECK_EQUAL(-EINVAL, rib_nexthop_put(rib, &set));
    for (uint32_t round = 0; round < 100; round++) { /* replaced nodes come back */
        set = set_of((uint8_t)round, 1 + round % 4);
        set.id = 3;
        CHECK_EQUAL(0, rib_nexthop_put(rib, &set));
    }
    rib_close(rib);
    free(memory);
}

/* Everything that reads or writes, once; results do not matter. */
static void use(struct rib *rib, uint64_t *random)
{
    struct route_row changes[8];
    struct rib_route routes[8];
    struct rib_cursor cursor = {.state = 0};
    struct rib_filter filter = {.family = 0};
    struct rib_applied applied;
    uint32_t n, slot = 0;
    uint64_t at = 0;
    while (cursor.state != 2)
        CHECK(rib_walk(rib, &cursor, &filter, routes, 8) >= 0);
    while (rib_pending(rib, &at, changes, 8) > 0)
        continue;
    for (uint32_t i = 0; i < 40; i++) {
        struct route_row row = row_of((uint32_t)(next_random(random) % 120),
                                      (uint32_t)(next_random(random) % 6));
        row.metric = (uint32_t)(next_random(random) % 2);
        (void)rib_apply(rib, &row, 1, changes, 8, &applied);
        (void)rib_get(rib, &row, routes, 8);
        (void)rib_match(rib, row.prefix, 4, routes);
    }
    (void)rib_set_dead(rib, 1, 1);
    while (rib_reselect(rib, 10, changes, 8, &n) == 1)
        continue;
    int64_t generation = rib_mark_stale(rib, 3);
    while (rib_sweep(rib, 3, (uint32_t)generation, &slot, 10, changes, 8, &n) == 1)
        continue;
    CHECK_EQUAL(0, rib_published(rib, rib_changed(rib)));
}

static void damage_is_contained(uint32_t rounds, uint64_t seed)
{
    uint64_t random = seed, size, opened = 0, refused = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        uint8_t *memory;
        struct rib *rib = fresh(&memory, &size);
        struct rib_recovery recovery;
        struct rib_nexthops set;
        int error;
        for (uint8_t i = 1; i < 6; i++) {
            set = set_of(i, i % 3 + 1);
            CHECK_EQUAL(0, rib_nexthop_intern(rib, &set, 1));
        }
        for (uint32_t i = 0; i < 60; i++)
            (void)one(rib, row_of((uint32_t)(next_random(&random) % 80), i % 5 + 1));
        rib_close(rib);
        for (uint32_t i = 0; i <= next_random(&random) % 4; i++) {
            /* Words of the header, of the tables, of rows: small numbers hurt most. */
            uint64_t where = next_random(&random) % 3 == 0 ? 64 + next_random(&random) % 192
                                                           : next_random(&random) % size;
            uint32_t what = (uint32_t)next_random(&random);
            what = next_random(&random) % 2 ? what % 130 : what;
            memcpy(memory + where / 4 * 4, &what, 4);
        }
        rib = rib_open(memory, size, &recovery, &error);
        if (rib != NULL) {
            use(rib, &random);
            opened++;
        } else {
            CHECK(error == -EINVAL || error == -EBADMSG);
            refused++;
        }
        rib_close(rib);
        free(memory);
    }
    CHECK(opened > rounds / 10 && refused > rounds / 10);
}

static void short_segments_are_refused(void)
{
    uint8_t *memory;
    uint64_t size;
    struct rib_recovery recovery;
    int error;
    rib_close(fresh(&memory, &size));
    for (uint64_t length = 0; length < size; length += length < 256 ? 1 : 4093) {
        uint8_t *cut = aligned_alloc(64, length / 64 * 64 + 64);
        CHECK(cut != NULL);
        memcpy(cut, memory, length);
        CHECK(rib_open(cut, length, &recovery, &error) == NULL);
        CHECK_EQUAL(-EINVAL, error);
        free(cut);
    }
    free(memory);
}

int main(int argc, char **argv)
{
    uint32_t rounds = argc > 1 ? (uint32_t)atoi(argv[1]) : 300;
    limits_are_errors();
    nexthop_limits_are_errors();
    short_segments_are_refused();
    damage_is_contained(rounds, 88172645463325252u);
    return 0;
}
