/* The arena runs full under each IPv4 engine: an error, the old state, and life after it.
 *
 * Group records with many buckets eat the arena until almost nothing is left; then routes of
 * every kind are added until one is refused. What is in force then has to be exactly what was
 * accepted, for this writer and for its successor; and once room is made, all goes on.
 */
#include <errno.h>

#include "fresh_fib.h"

enum { GROUPS = 10000, TRIES = 1500 };

static struct fib_writer *writer;
static uint64_t seed = 7;

static uint32_t below(uint32_t n)
{
    return (uint32_t)(next_random(&seed) >> 32) % n;
}

static int fat_group(uint32_t id, uint32_t buckets)
{
    static uint32_t words[5 + FIB_MAX_BUCKETS];
    struct fib_group *group = (struct fib_group *)(void *)words;
    group->id = id;
    group->kind = FIB_KIND_FORWARD;
    group->buckets = buckets;
    for (uint32_t i = 0; i < buckets; i++)
        words[offsetof(struct fib_group, bucket) / 4 + i] = 1;
    return fib_set_group(writer, group);
}

static struct route_row some_row(void)
{
    struct route_row row = {.family = 4};
    uint32_t length = below(5) == 0 ? 1 + below(16) : 17 + below(16);
    uint32_t address = (uint32_t)(next_random(&seed) >> 32) & UINT32_MAX << (32 - length);
    uint32_t big = __builtin_bswap32(address);
    memcpy(row.prefix, &big, 4);
    row.length = (uint8_t)length;
    row.nexthop = 1 + below(300);
    return row;
}

static void run(uint32_t engine)
{
    static struct route_row accepted[TRIES];
    const struct fib_params params = {.max_routes4 = TRIES,
                                      .max_routes6 = 1,
                                      .max_groups = GROUPS,
                                      .max_adjacencies = 4,
                                      .engine4 = engine};
    const struct fib_adjacency adjacency = {.id = 1, .state = ADJACENCY_RESOLVED};
    uint64_t applied, changed;
    uint32_t n = 0, refused = 0, id = 1, buckets = FIB_MAX_BUCKETS;
    struct fib_reader reader;
    writer = fresh_fib(&params, &reader);
    void *base = (void *)(uintptr_t)reader.segment;
    CHECK_EQUAL(0, fib_set_adjacency(writer, &adjacency));
    for (uint32_t i = 1; i <= 300; i++)
        CHECK_EQUAL(0, fat_group(i, 1));
    accepted[n] = some_row(); /* the root piece first */
    CHECK_EQUAL(0, -fib_apply(writer, &accepted[n++], 1, &applied, &changed));

    const struct fib_published *published = &((const struct fib_header *)base)->published;
    fib_publish(writer, 0, 0, 0);
    for (id = 301; id < GROUPS && published->free_blocks > 2500; id++) {
        CHECK_EQUAL(0, fat_group(id, buckets));
        fib_publish(writer, 0, 0, 0);
    }
    for (int i = 0; i < TRIES - 1; i++) {
        struct route_row row = some_row();
        int result = fib_apply(writer, &row, 1, &applied, &changed);
        CHECK(result == 0 || result == -ENOSPC);
        CHECK_EQUAL(result == 0, applied);
        refused += result != 0;
        if (result != 0 || changed == 0)
            continue;
        uint32_t at = 0;
        while (at < n && (memcmp(accepted[at].prefix, row.prefix, 16) != 0 ||
                          accepted[at].length != row.length))
            at++;
        accepted[at] = row;
        n += at == n;
    }
    CHECK(refused > 0);
    for (int successor = 0; successor < 2; successor++) {
        fib_publish(writer, 0, 0, 0);
        CHECK_EQUAL(0, -fib_check(writer));
        CHECK_EQUAL(n, published->routes4);
        for (uint32_t i = 0; i < n; i++)
            CHECK_EQUAL(accepted[i].nexthop, fib_exact(writer, &accepted[i]));
        fib_writer_close(writer);
        writer = fib_writer_open(base, fib_segment_size(&params), NULL);
        CHECK(writer != NULL);
    }
    for (uint32_t i = 301; i < id; i++)
        CHECK_EQUAL(0, -fib_clear_group(writer, i));
    struct route_row row = {.family = 4, .length = 32, .prefix = {203, 0, 113, 9}, .nexthop = 5};
    CHECK_EQUAL(0, -fib_apply(writer, &row, 1, &applied, &changed));
    CHECK_EQUAL(5, fib_exact(writer, &row));
    fib_writer_close(writer);
    free(base);
}

int main(void)
{
    for (uint32_t engine = FIB_ENGINE_MULTIBIT; engine <= FIB_ENGINE_FLAT; engine++)
        run(engine);
    run(FIB_ENGINE_BINARY);
    return 0;
}
