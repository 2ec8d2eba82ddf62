/* Several engines in lockstep: whatever is applied, all list, count and answer alike.
 *
 * Use: a test defines FAMILY, ENGINES, ROUTES, ROWS, KEYS, GROUPS and engine_id[ENGINES] (the
 * yardstick first), includes this, and supplies
 *
 *   some_row()        a row to apply, announced or withdrawn
 *   some_keys()       n addresses, as keys and bare
 *   ask_bare()        the engine's lean entry for them
 *
 * Under ASan and UBSan a segment is a heap block of its exact size. Each answer is asked with
 * AVX-512 (where there is one) and with the portable batch, as keys and as bare addresses, and
 * one by one with its prefix. The segment is taken over now and then, and emptied.
 */
#ifndef RC_TEST_LOCKSTEP_H
#define RC_TEST_LOCKSTEP_H
#include <errno.h>

#include "rows/rows.h"
#include "base/cpu.h"
#include "check.h"
#include "fib/fib.h"

static struct fib_writer *writer[ENGINES];
static struct fib_reader reader[ENGINES];
static void *base[ENGINES];
static uint64_t size[ENGINES];
static uint64_t seed;

static struct route_row some_row(void);
static void some_keys(struct fib_key *keys, uint32_t n);
static int ask_bare(struct fib_reader *of, uint32_t *groups, uint32_t n);

static uint32_t below(uint32_t n)
{
    return (uint32_t)(next_random(&seed) >> 32) % n;
}

static void make(int e)
{
    struct fib_params params = {.max_routes4 = 10, .max_routes6 = 10, .max_groups = GROUPS,
                                .max_adjacencies = 2};
    *(FAMILY == 4 ? &params.max_routes4 : &params.max_routes6) = ROUTES;
    *(FAMILY == 4 ? &params.engine4 : &params.engine6) = engine_id[e];
    size[e] = fib_segment_size(&params);
    base[e] = aligned_alloc(4096, size[e]);
    CHECK(base[e] != NULL);
    memset(base[e], 0, size[e]);
    CHECK_EQUAL(0, fib_create(base[e], size[e], &params));
    writer[e] = fib_writer_open(base[e], size[e], NULL);
    CHECK(writer[e] != NULL);
    for (uint32_t id = 1; id < GROUPS; id++) {
        struct fib_group group = {.id = id, .kind = FIB_KIND_BLACKHOLE};
        CHECK_EQUAL(0, fib_set_group(writer[e], &group));
    }
    CHECK_EQUAL(0, fib_reader_attach(&reader[e], base[e], size[e]));
}

static void apply_everywhere(const struct route_row *rows, uint32_t n)
{
    uint64_t applied[ENGINES], changed[ENGINES];
    int result[ENGINES];
    for (int e = 0; e < ENGINES; e++) {
        result[e] = fib_apply(writer[e], rows, n, &applied[e], &changed[e]);
        fib_publish(writer[e], 0, 0, 0);
        CHECK_EQUAL(result[0], result[e]);
        CHECK_EQUAL(applied[0], applied[e]);
        CHECK_EQUAL(changed[0], changed[e]);
        CHECK(result[e] == 0 || result[e] == -E2BIG);
    }
}

static void compare_answers(void)
{
    uint32_t groups[KEYS], truth[KEYS], n = 1 + below(KEYS);
    static struct fib_key keys[KEYS];
    some_keys(keys, n);
    CHECK_EQUAL(0, fib_lookup_groups(&reader[0], keys, truth, n));
    for (int e = 0; e < ENGINES; e++)
        for (int portable = 0; portable < 2; portable++) {
            cpu_force_portable(portable);
            CHECK_EQUAL(0, ask_bare(&reader[e], groups, n));
            for (uint32_t i = 0; i < n; i++)
                CHECK_EQUAL(truth[i], groups[i]);
            CHECK_EQUAL(0, fib_lookup_groups(&reader[e], keys, groups, n));
            for (uint32_t i = 0; i < n; i++)
                CHECK_EQUAL(truth[i], groups[i]);
        }
    for (uint32_t i = 0; i < n && i < 40; i++) {
        struct route_row first, row;
        CHECK_EQUAL(0, fib_lookup_match(&reader[0], &keys[i], &first));
        CHECK_EQUAL(truth[i], first.nexthop);
        for (int e = 1; e < ENGINES; e++) {
            CHECK_EQUAL(0, fib_lookup_match(&reader[e], &keys[i], &row));
            CHECK(memcmp(&first, &row, sizeof row) == 0);
        }
    }
}

static uint32_t list(int e, struct route_row *rows, uint32_t at_once)
{
    struct route_row cursor = {0};
    uint32_t n = 0, more;
    while ((more = fib_walk(writer[e], &cursor, rows + n, at_once)) > 0)
        n += more;
    return n;
}

static void compare_lists(void)
{
    static struct route_row rows[ENGINES][ROUTES + 100];
    uint32_t n[ENGINES];
    for (int e = 0; e < ENGINES; e++) {
        n[e] = list(e, rows[e], 97);
        CHECK_EQUAL(0, -fib_check(writer[e]));
        CHECK_EQUAL(n[0], n[e]);
        CHECK(memcmp(rows[0], rows[e], n[0] * sizeof rows[0][0]) == 0);
        for (uint32_t i = 0; i < n[e]; i += 11)
            CHECK_EQUAL(rows[0][i].nexthop, fib_exact(writer[e], &rows[0][i]));
    }
}

static void take_over(void)
{
    for (int e = 0; e < ENGINES; e++) {
        struct fib_recovery recovery;
        fib_writer_close(writer[e]);
        writer[e] = fib_writer_open(base[e], size[e], &recovery);
        CHECK(writer[e] != NULL);
        CHECK_EQUAL(0, recovery.redone);
    }
}

static void withdraw_everything(void)
{
    static struct route_row rows[ROUTES + 100];
    uint32_t n = list(0, rows, 100);
    for (uint32_t i = 0; i < n; i++)
        rows[i].nexthop = 0;
    apply_everywhere(rows, n);
    CHECK_EQUAL(0, list(ENGINES - 1, rows, 100));
    compare_answers();
}

/* SEED ROUNDS: as main() got them. */
static int lockstep(int argc, char **argv)
{
    static struct route_row rows[ROWS];
    CHECK_EQUAL(3, argc);
    seed = strtoull(argv[1], NULL, 10) * 0x9e3779b97f4a7c15u + 1;
    int rounds = atoi(argv[2]);
    for (int e = 0; e < ENGINES; e++)
        make(e);
    for (int round = 0; round < rounds; round++) {
        uint32_t n = 1 + below(below(4) == 0 ? ROWS : 12);
        for (uint32_t i = 0; i < n; i++)
            rows[i] = some_row();
        if (below(2))
            rows_sort(rows, n);
        cpu_force_portable(round & 1); /* the writer paints either way */
        apply_everywhere(rows, n);
        compare_answers();
        if (below(8) == 0)
            compare_lists();
        if (below(40) == 0)
            take_over();
        if (below(60) == 0)
            withdraw_everything();
    }
    compare_lists();
    withdraw_everything();
    for (int e = 0; e < ENGINES; e++) {
        fib_writer_close(writer[e]);
        free(base[e]);
    }
    return 0;
}

#endif
