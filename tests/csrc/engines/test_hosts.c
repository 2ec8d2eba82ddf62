/* A table of N random /32 on each new IPv4 engine: the worst case the segment is sized for.
 *
 *   test_hosts N
 *
 * Loaded half sorted, half in random order; then each address is looked up, a /1 and a /0 come
 * and go above them, and a successor takes over.
 */
#include "rows/rows.h"
#include "base/cpu.h"
#include "check.h"
#include "fib/fib.h"

static struct route_row *rows;
static uint32_t *address, *groups;
static uint32_t n;

static void apply(struct fib_writer *writer, const struct route_row *some, uint32_t count)
{
    uint64_t applied, changed;
    CHECK_EQUAL(0, -fib_apply(writer, some, count, &applied, &changed));
    CHECK_EQUAL(count, applied);
}

static void all_found(struct fib_reader *reader)
{
    for (int portable = 0; portable < 2; portable++) {
        cpu_force_portable(portable);
        CHECK_EQUAL(0, -fib_lookup4(reader, address, groups, n));
        for (uint32_t i = 0; i < n; i++)
            CHECK_EQUAL(rows[i].nexthop, groups[i]);
    }
}

int main(int argc, char **argv)
{
    CHECK_EQUAL(2, argc);
    n = (uint32_t)atoi(argv[1]);
    rows = calloc(n, sizeof *rows);
    address = malloc(n * sizeof *address);
    groups = malloc(n * sizeof *groups);
    uint64_t seed = 42;
    for (uint32_t i = 0; i < n; i++) {
        /* An odd number is a bijection on 32 bits: no address twice. */
        address[i] = (i + 1) * 2654435769u;
        uint32_t big = __builtin_bswap32(address[i]);
        memcpy(rows[i].prefix, &big, 4);
        rows[i].family = 4;
        rows[i].length = 32;
        rows[i].nexthop = 1 + (uint32_t)(next_random(&seed) >> 40) % 30000;
    }
    rows_sort(rows, n / 2);
    for (uint32_t i = 0; i < n; i++) {
        memcpy(&address[i], rows[i].prefix, 4);
        address[i] = __builtin_bswap32(address[i]);
    }
    for (uint32_t engine = FIB_ENGINE_COMPACT; engine <= FIB_ENGINE_FLAT; engine++) {
        const struct fib_params params = {.max_routes4 = n + 2,
                                          .max_routes6 = 1,
                                          .max_groups = FIB_MAX_GROUPS,
                                          .max_adjacencies = 2,
                                          .engine4 = engine};
        uint64_t size = fib_segment_size(&params);
        void *base = aligned_alloc(4096, size);
        CHECK(base != NULL);
        memset(base, 0, size);
        CHECK_EQUAL(0, fib_create(base, size, &params));
        struct fib_writer *writer = fib_writer_open(base, size, NULL);
        CHECK(writer != NULL);
        for (uint32_t id = 1; id <= 30000; id++) {
            struct fib_group group = {.id = id, .kind = FIB_KIND_BLACKHOLE};
            CHECK_EQUAL(0, fib_set_group(writer, &group));
        }
        struct fib_reader reader;
        CHECK_EQUAL(0, fib_reader_attach(&reader, base, size));
        apply(writer, rows, n);
        all_found(&reader);

        struct route_row shorter = {.family = 4, .length = 1, .nexthop = 29999};
        const uint32_t low = 1, high = 0x80000001; /* neither is in the table */
        uint32_t group;
        apply(writer, &shorter, 1);
        CHECK_EQUAL(0, fib_lookup4(&reader, &low, &group, 1));
        CHECK_EQUAL(29999, group);
        shorter.length = 0;
        shorter.nexthop = 28000;
        apply(writer, &shorter, 1);
        CHECK_EQUAL(0, fib_lookup4(&reader, &high, &group, 1));
        CHECK_EQUAL(28000, group);
        all_found(&reader);
        fib_writer_close(writer);
        writer = fib_writer_open(base, size, NULL);
        CHECK(writer != NULL);
        fib_publish(writer, 0, 0, 0);
        CHECK_EQUAL(0, -fib_check(writer));
        fib_writer_close(writer);
        free(base);
    }
    return 0;
}
