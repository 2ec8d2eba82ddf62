/* The IPv6 engine in lockstep with the multibit trie: whatever is applied, both list, count and
 * answer alike.
 *
 *   test_fib_engine6 SEED ROUNDS
 *
 * Rows crowd where the structure has its edges: hundreds of /33../48 in one /32 (lines,
 * separators, directories, and back), hosts in a few /64s (escapes, and directories behind
 * them), /0../16, and any length at all over few byte values; group ids cross 255, so that lines
 * turn wide and back. The multibit engine, itself held to a golden model in tests/model, is the
 * yardstick. Under ASan and UBSan the segment is a heap block of its exact size. Each answer is
 * asked with AVX-512 (where there is one) and with the portable batch, as keys and as bare
 * addresses, and one by one with its prefix.
 */
#include <errno.h>

#include "check.h"
#include "fib.h"

enum { ENGINES = 3, ROUTES = 1500, ROWS = 600, KEYS = 700, GROUPS = 700 };

static struct fib_writer *writer[ENGINES];
static struct fib_reader reader[ENGINES];
static void *base[ENGINES];
static uint64_t size[ENGINES];
static uint64_t seed;
static const uint32_t engine_id[ENGINES] = {FIB_ENGINE_MULTIBIT, FIB_ENGINE_INTERVAL,
                                           FIB_ENGINE_BINARY};

static uint32_t below(uint32_t n)
{
    return (uint32_t)(next_random(&seed) >> 32) % n;
}

static void make(int e)
{
    const struct fib_params params = {.max_routes4 = 10,
                                      .max_routes6 = ROUTES,
                                      .max_groups = GROUPS,
                                      .max_adjacencies = 2,
                                      .engine6 = engine_id[e]};
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

static void some_address(uint8_t *address)
{
    static const uint8_t few[] = {0, 1, 2, 127, 128, 254, 255};
    uint32_t kind = below(8);
    for (int i = 0; i < 16; i++)
        address[i] = below(3) ? few[below(7)] : (uint8_t)below(256);
    if (kind < 6)
        memcpy(address, "\x20\x01\x0d\xb8", 4);
    if (kind < 3) /* crowd: /48s of one /32 */
        address[4] = (uint8_t)below(3);
    if (kind == 4 || kind == 5) { /* hosts of three /64s */
        memset(address + 4, 0, 4);
        address[7] = (uint8_t)below(3);
        if (kind == 5)
            memset(address + 8, 0, 6);
    }
}

static struct route_row some_row(void)
{
    struct route_row row = {.family = 6};
    uint32_t kind = below(16);
    some_address(row.prefix);
    uint32_t length = kind < 8 ? 33 + below(16) : kind < 12 ? 65 + below(64) : below(129);
    for (uint32_t bit = length; bit < 128; bit++)
        row.prefix[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
    row.length = (uint8_t)length;
    row.nexthop = below(3) == 0 ? 0 : 1 + below(below(4) == 0 ? GROUPS - 1 : 5);
    return row;
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
    static uint8_t address[KEYS][16];
    uint32_t groups[KEYS], truth[KEYS];
    static struct fib_key keys[KEYS];
    uint32_t n = 1 + below(KEYS);
    for (uint32_t i = 0; i < n; i++) {
        some_address(address[i]);
        if (below(2)) /* the last address of something */
            memset(address[i] + below(16), 0xff, 1);
        memcpy(keys[i].address, address[i], 16);
        keys[i].family = 6;
    }
    CHECK_EQUAL(0, fib_lookup_groups(&reader[0], keys, truth, n));
    for (int e = 0; e < ENGINES; e++)
        for (int portable = 0; portable < 2; portable++) {
            lpm_force_portable(portable);
            CHECK_EQUAL(0, fib_lookup6(&reader[e], (const uint8_t(*)[16])address, groups, n));
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
    CHECK_EQUAL(0, list(1, rows, 100));
    compare_answers();
}

int main(int argc, char **argv)
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
