/* Tables that somebody wrote into while control had them open: the audit, and what it asks, stays
 * inside and comes to an end. Both tables lie at the end of exact-size heap blocks.
 *
 * One word of the FIB's arena or directories, or of the RIB's buckets and rows, is changed at random;
 * then a whole round is made, and undone. Clean tables have to be clean before and after.
 */
#include <errno.h>

#include "check.h"
#include "verify/audit.h"

enum { GROUPS = 12, ROUTES = 300, SLOTS = 512, MOST = 16 };
static const uint32_t engines[][2] = {{FIB_ENGINE_COMPACT, FIB_ENGINE_INTERVAL},
                                      {FIB_ENGINE_FLAT, FIB_ENGINE_MULTIBIT},
                                      {FIB_ENGINE_MULTIBIT, FIB_ENGINE_BINARY},
                                      {FIB_ENGINE_BINARY, FIB_ENGINE_INTERVAL}};

struct tables {
    uint8_t *rib_memory, *fib_memory;
    uint64_t rib_size, fib_size;
    struct rib *rib;
    struct fib_writer *writer;
    struct fib_reader reader;
};

static uint64_t state = 88172645463325252u;

static uint32_t chance(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20) % below;
}

static void *exact(uint64_t size)
{
    uint8_t *block = aligned_alloc(4096, (size + 4095) & ~UINT64_C(4095));
    CHECK(block != NULL);
    memset(block, 0, size);
    return block;
}

static struct route_row random_row(void)
{
    static const uint8_t lengths[] = {0, 4, 8, 14, 16, 20, 24, 24, 28, 32};
    struct route_row row = {.family = chance(2) ? 6 : 4, .source = 3, .nexthop = 1 + chance(10)};
    row.length = lengths[chance(sizeof lengths)];
    row.prefix[0] = 10;
    for (uint32_t i = 1; i < 4; i++)
        row.prefix[i] = (uint8_t)chance(i == 1 ? 3 : 256);
    if (row.family == 6) {
        row.length = (uint8_t)(row.length * 4);
        for (uint32_t i = 4; i < 16; i++)
            row.prefix[i] = (uint8_t)chance(4);
    }
    for (uint32_t bit = row.length; bit < 128; bit++)
        row.prefix[bit / 8] &= (uint8_t)~(0x80u >> bit % 8);
    return row;
}

static void make(struct tables *t, const uint32_t engine[2])
{
    const struct fib_params params = {.max_routes4 = 400, .max_routes6 = 400,
                                      .max_groups = GROUPS, .max_adjacencies = GROUPS,
                                      .engine4 = engine[0], .engine6 = engine[1]};
    const struct rib_params rows = {.max_rows = SLOTS, .max_nexthops = GROUPS, .max_nodes = 32,
                                    .instance_id = 1, .seed = 3};
    struct rib_recovery found;
    struct route_row change;
    struct rib_applied applied;
    uint64_t done, changed;
    int error;
    t->fib_size = fib_segment_size(&params);
    t->rib_size = rib_segment_size(&rows);
    t->fib_memory = exact(t->fib_size);
    t->rib_memory = exact(t->rib_size);
    CHECK_EQUAL(0, fib_create(t->fib_memory, t->fib_size, &params));
    CHECK_EQUAL(0, rib_create(t->rib_memory, t->rib_size, &rows));
    t->rib = rib_open(t->rib_memory, t->rib_size, &found, &error);
    t->writer = fib_writer_open(t->fib_memory, t->fib_size, NULL);
    CHECK(t->rib != NULL && t->writer != NULL);
    CHECK_EQUAL(0, fib_reader_attach(&t->reader, t->fib_memory, t->fib_size));
    for (uint32_t id = 1; id < GROUPS; id++) {
        const struct fib_adjacency adjacency = {.id = id, .state = ADJACENCY_RESOLVED};
        struct fib_group group = {.id = id, .kind = FIB_KIND_FORWARD, .paths = 1, .buckets = 1};
        struct rib_nexthops set = {.id = id, .kind = FIB_KIND_FORWARD, .paths = 1};
        set.path[0] = (struct rib_path){.family = 4, .port = 1, .weight = 1};
        set.path[0].address[3] = (uint8_t)id;
        group.bucket[0] = id;
        CHECK_EQUAL(0, fib_set_adjacency(t->writer, &adjacency));
        CHECK_EQUAL(0, fib_set_group(t->writer, &group));
        CHECK_EQUAL(0, rib_nexthop_put(t->rib, &set));
    }
    for (uint32_t i = 0; i < ROUTES; i++) {
        struct route_row row = random_row();
        CHECK_EQUAL(0, rib_apply(t->rib, &row, 1, &change, 1, &applied));
        if (applied.changes > 0)
            CHECK_EQUAL(0, fib_apply(t->writer, &change, 1, &done, &changed));
    }
    fib_publish(t->writer, 1, 2, 3);
}

/* Differences of a whole round, in slices of any size; -1: the RIB is no table. */
static int whole_round(struct tables *t)
{
    struct audit_difference out[MOST];
    struct rib_route routes[64];
    struct route_row wrong[64];
    struct audit_cursor cursor = {0};
    struct audit_work work = {0};
    uint32_t slot = 1, differ = 0, slices = 0;
    do {
        int n = rib_scan(t->rib, &slot, 64, routes);
        if (n < 0)
            return -1;
        differ += verify_routes(t->writer, NULL, routes, (uint32_t)n, wrong);
    } while (slot != 0);
    while (cursor.family < 7 && differ == 0) {
        int n = audit_slice(t->rib, NULL, t->writer, &t->reader, &cursor, 500 + chance(200000), out,
                            MOST, &work);
        CHECK(n >= 0);
        CHECK(++slices < 100000);
        differ += (uint32_t)n;
    }
    return (int)differ;
}

static void ask_everything(struct tables *t)
{
    struct rib_route found[RIB_MAX_CANDIDATES];
    for (uint32_t i = 0; i < 50; i++) {
        const struct route_row row = random_row();
        (void)rib_get(t->rib, &row, found, RIB_MAX_CANDIDATES);
        (void)rib_best(t->rib, &row, found);
        (void)rib_match(t->rib, row.prefix, row.family, found);
        (void)fib_exact(t->writer, &row);
    }
}

int main(int argc, char **argv)
{
    uint32_t flips = argc > 1 ? (uint32_t)atoi(argv[1]) : 100, seen = 0;
    for (uint32_t e = 0; e < sizeof engines / sizeof engines[0]; e++) {
        struct tables t;
        make(&t, engines[e]);
        CHECK_EQUAL(0, whole_round(&t));
        const struct fib_header *header = (const void *)t.fib_memory;
        uint64_t first = offsetof(struct fib_header, roots) / 4;
        uint64_t last = (header->published.high_water + 1ull) * FIB_BLOCK / 4;
        for (uint32_t i = 0; i < flips; i++) {
            int rib = i % 3 == 2;
            uint32_t *words = (uint32_t *)(void *)(rib ? t.rib_memory : t.fib_memory);
            uint64_t at = rib ? 1024 + chance((uint32_t)(t.rib_size / 4 - 1024))
                              : first + chance((uint32_t)(last - first));
            uint32_t before = words[at];
            words[at] = chance(2) ? before ^ 1u << chance(32) : chance(UINT32_MAX);
            seen += whole_round(&t) != 0;
            ask_everything(&t);
            words[at] = before;
        }
        CHECK_EQUAL(0, whole_round(&t));
        fib_writer_close(t.writer);
        rib_close(t.rib);
        free(t.fib_memory);
        free(t.rib_memory);
    }
    CHECK(seen > flips / 4);
    return 0;
}
