/* The FIB under sanitizers: random changes against a table of every address of a small world,
 * an arena that runs full, a successor at every turn, and readers on garbage.
 *
 * The world: prefixes of 10.x.y.z with x, y, z in 0..3 and any length, so that a plain array
 * over 64 interesting addresses and a list of prefixes is a complete model.
 */
#include <errno.h>

#include "rows/rows.h"
#include "arena/arena.h"
#include "check.h"
#include "engines/engine.h"
#include "fib/fib.h"

enum { GROUPS = 30, MODEL = 400 };

static uint64_t state = 0x1234567;
static struct route_row model[MODEL];
static uint32_t n_model;

static uint32_t below(uint32_t n)
{
    return (uint32_t)(next_random(&state) >> 33) % n;
}

static struct route_row random_row(uint8_t family)
{
    struct route_row row = {.family = family, .prefix = {10, 0, 0, 0}};
    uint32_t bytes = family == 4 ? 4 : 16;
    row.length = (uint8_t)below(bytes * 8 + 1);
    for (uint32_t i = 1; i < bytes; i++)
        row.prefix[i] = (uint8_t)(below(4) * 0x55);
    for (uint32_t bit = row.length; bit < 128; bit++)
        row.prefix[bit / 8] &= (uint8_t)~(0x80u >> bit % 8);
    row.nexthop = below(3) == 0 ? 0 : 1 + below(GROUPS - 1);
    return row;
}

static void model_apply(const struct route_row *row)
{
    uint32_t i = 0;
    while (i < n_model && (model[i].family != row->family || model[i].length != row->length ||
                           memcmp(model[i].prefix, row->prefix, 16) != 0))
        i++;
    if (row->nexthop == 0) {
        if (i < n_model)
            model[i] = model[--n_model];
        return;
    }
    if (i == n_model)
        n_model++;
    CHECK(n_model <= MODEL);
    model[i] = *row;
}

static uint32_t model_lookup(const struct fib_key *key)
{
    int best = -1;
    uint32_t group = 0;
    for (uint32_t i = 0; i < n_model; i++) {
        const struct route_row *row = &model[i];
        int same = row->family == key->family && (int)row->length > best;
        for (uint32_t bit = 0; same && bit < row->length; bit++)
            same = ((row->prefix[bit / 8] ^ key->address[bit / 8]) & (0x80u >> bit % 8)) == 0;
        if (same) {
            best = row->length;
            group = row->nexthop;
        }
    }
    return group;
}

static void compare(struct fib_reader *reader)
{
    struct fib_key keys[96];
    struct fib_answer answers[96];
    uint64_t generation;
    memset(keys, 0, sizeof keys);
    for (uint32_t i = 0; i < 96; i++) {
        struct route_row row = random_row(i % 3 == 0 ? 6 : 4);
        memcpy(keys[i].address, row.prefix, 16);
        keys[i].family = row.family;
        keys[i].hash = below(UINT32_MAX);
    }
    CHECK_EQUAL(0, fib_lookup(reader, keys, answers, 96, &generation));
    for (uint32_t i = 0; i < 96; i++) {
        CHECK_EQUAL(model_lookup(&keys[i]), answers[i].group);
        CHECK_EQUAL(answers[i].group, answers[i].adjacency);
        CHECK_EQUAL(answers[i].group * 10u, answers[i].mtu);
    }
}

static void set_group(struct fib_writer *writer, uint32_t id)
{
    struct fib_adjacency adjacency = {
        .id = id, .mtu = (uint16_t)(id * 10), .state = ADJACENCY_RESOLVED};
    uint64_t room[1048 / 8 + 1] = {0};
    struct fib_group *group = (void *)room;
    CHECK(fib_group_room() <= sizeof room);
    CHECK_EQUAL(0, fib_set_adjacency(writer, &adjacency));
    group->id = id;
    group->kind = FIB_KIND_FORWARD;
    group->buckets = 1u << below(9);
    for (uint32_t i = 0; i < group->buckets; i++)
        group->bucket[i] = id;
    CHECK_EQUAL(0, fib_set_group(writer, group));
}

/* The segment at the very end of a heap block: one byte beyond is a sanitizer report. */
static void *make(const struct fib_params *params, uint64_t *size)
{
    *size = fib_segment_size(params);
    void *base = aligned_alloc(4096, *size);
    CHECK(base != NULL);
    memset(base, 0, *size);
    CHECK_EQUAL(0, fib_create(base, *size, params));
    return base;
}

static void test_random_changes(void)
{
    const struct fib_params params = {
        .max_routes4 = 150, .max_routes6 = 60, .max_groups = GROUPS, .max_adjacencies = GROUPS};
    uint64_t size, applied, changed;
    struct fib_recovery recovery;
    struct fib_reader reader;
    void *base = make(&params, &size);
    struct fib_writer *writer = fib_writer_open(base, size, &recovery);
    CHECK(writer != NULL && fib_reader_attach(&reader, base, size) == 0);
    for (uint32_t id = 1; id < GROUPS; id++)
        set_group(writer, id);
    n_model = 0;
    for (int round = 0; round < 1500; round++) {
        struct route_row rows[24];
        uint32_t n = 1 + below(24);
        for (uint32_t i = 0; i < n; i++)
            rows[i] = random_row(below(4) == 0 ? 6 : 4);
        if (below(2) == 0)
            rows_sort(rows, n);
        int result = fib_apply(writer, rows, n, &applied, &changed);
        CHECK(result == 0 || result == -E2BIG);
        CHECK(result != 0 || applied == n);
        for (uint64_t i = 0; i < applied; i++)
            model_apply(&rows[i]);
        if (below(3) == 0)
            set_group(writer, 1 + below(GROUPS - 1));
        if (below(4) == 0)
            fib_publish(writer, 0, 0, 0);
        if (below(50) == 0) {
            fib_writer_close(writer);
            writer = fib_writer_open(base, size, &recovery);
            CHECK(writer != NULL);
            CHECK_EQUAL(n_model, recovery.routes);
        }
        if (round % 10 == 0)
            compare(&reader);
        CHECK_EQUAL(0, -fib_check(writer));
    }
    fib_writer_close(writer);
    free(base);
}

/* Random /128s take twelve nodes each: the arena is full long before max_routes. */
static void test_full_arena_changes_nothing(void)
{
    const struct fib_params params = {
        .max_routes4 = 1, .max_routes6 = 100000, .max_groups = GROUPS, .max_adjacencies = GROUPS};
    uint64_t size, applied, changed;
    struct fib_reader reader;
    void *base = make(&params, &size);
    struct fib_writer *writer = fib_writer_open(base, size, NULL);
    CHECK(writer != NULL && fib_reader_attach(&reader, base, size) == 0);
    set_group(writer, 1);
    struct route_row row = {.family = 6, .length = 128, .nexthop = 1};
    int result = 0;
    uint64_t routes = 0;
    while (result == 0) {
        for (int i = 0; i < 16; i++)
            row.prefix[i] = (uint8_t)below(256);
        result = fib_apply(writer, &row, 1, &applied, &changed);
        routes += applied;
    }
    CHECK_EQUAL(ENOSPC, -result);
    CHECK(routes > 1000 && routes < 100000);
    CHECK_EQUAL(0, -fib_check(writer));
    CHECK_EQUAL(0, fib_exact(writer, &row));
    /* What is withdrawn comes back, without a publish in between. */
    struct route_row cursor = {0}, first[8];
    CHECK_EQUAL(8, fib_walk(writer, &cursor, first, 8));
    for (int i = 0; i < 8; i++)
        first[i].nexthop = 0;
    CHECK_EQUAL(0, -fib_apply(writer, first, 8, &applied, &changed));
    CHECK_EQUAL(8, changed);
    CHECK_EQUAL(0, -fib_apply(writer, &row, 1, &applied, &changed));
    CHECK_EQUAL(1, fib_exact(writer, &row));
    fib_writer_close(writer);
    free(base);
}

/* Whatever the segment holds behind a valid identity line and geometry, a reader stays inside
 * and ends, and a writer refuses or opens. */
static void test_garbage_is_survived(void)
{
    const struct fib_params params = {
        .max_routes4 = 20, .max_routes6 = 1, .max_groups = 20, .max_adjacencies = 20};
    uint64_t size, generation;
    struct fib_key keys[64];
    struct fib_answer answers[64];
    uint32_t groups[64];
    struct route_row row;
    uint64_t room[1048 / 8 + 1];
    for (uint32_t round = 0; round < 60; round++) {
        uint8_t *base = make(&params, &size);
        struct fib_header *header = (void *)base;
        struct fib_reader reader;
        uint32_t limit = (uint32_t)(size / 64 * (1 + round % 2u));
        for (uint64_t at = FIB_HEADER_SIZE; at + 4 <= size; at += 4) {
            uint32_t word = below(limit);
            memcpy(base + at, &word, 4);
        }
        header->roots.root4 = below(limit);
        header->roots.root6 = below(limit);
        CHECK_EQUAL(0, fib_reader_attach(&reader, base, size));
        for (uint32_t i = 0; i < 64; i++) {
            for (int b = 0; b < 16; b++)
                keys[i].address[b] = (uint8_t)below(256);
            keys[i].family = (uint8_t)(below(2) == 0 ? 4 : 6);
            keys[i].hash = below(UINT32_MAX);
        }
        CHECK_EQUAL(0, fib_lookup(&reader, keys, answers, 64, &generation));
        CHECK_EQUAL(0, fib_lookup_groups(&reader, keys, groups, 64));
        for (uint32_t i = 0; i < 64; i++) {
            CHECK_EQUAL(0, fib_lookup_match(&reader, &keys[i], &row));
            int result = fib_read_group(&reader, i, (void *)room);
            CHECK(result == 0 || result == -ENOENT || result == -EINVAL);
        }
        CHECK(fib_writer_open(base, size, NULL) == NULL);
        free(base);
    }
}

/* Every block is given once, merges with its neighbours, and comes back after two epochs. */
static void test_arena(void)
{
    enum { BLOCKS = 2000 };
    uint8_t *memory = aligned_alloc(64, BLOCKS * 64);
    static uint8_t owner[BLOCKS];
    static struct arena_piece held[BLOCKS];
    static struct fib_arena arena;
    uint32_t n = 0, live = 0;
    uint64_t epoch = 7;
    CHECK_EQUAL(0, arena_open(&arena, memory, 10, BLOCKS));
    arena_unmark_all(&arena);
    arena_rebuild(&arena);
    for (int round = 0; round < 200000; round++) {
        if (below(100) < (round / 20000 % 2 == 0 ? 60u : 40u)) {
            uint32_t size = 1 + below(64), block = arena_take(&arena, size);
            if (block == 0 && !arena_open_ground(&arena, size))
                arena_merge(&arena);
            if (block == 0)
                continue;
            CHECK(block >= 10 && block + size <= BLOCKS);
            for (uint32_t i = block; i < block + size; i++)
                CHECK_EQUAL(0, owner[i]++);
            memset(memory + (size_t)block * 64, 0xee, (size_t)size * 64);
            held[n++] = (struct arena_piece){block, size};
            live += size;
        } else if (n > 0) {
            uint32_t i = below(n);
            struct arena_piece piece = held[i];
            held[i] = held[--n];
            live -= piece.size;
            for (uint32_t b = piece.block; b < piece.block + piece.size; b++)
                owner[b] = 0;
            if (below(2) == 0) {
                arena_give(&arena, piece.block, piece.size);
            } else {
                arena_retire(&arena, epoch, piece.block, piece.size);
                for (uint32_t size = 1; size < 3; size++) { /* not before the second turn */
                    uint32_t other = arena_take(&arena, size);
                    CHECK(other < piece.block || other >= piece.block + piece.size);
                    if (other != 0)
                        arena_give(&arena, other, size);
                }
                arena_turn(&arena, ++epoch);
                arena_turn(&arena, ++epoch);
            }
        }
        CHECK_EQUAL(live, arena.live);
        CHECK_EQUAL(BLOCKS - 10 - live, arena_free(&arena));
    }
    while (n > 0) {
        n--;
        arena_give(&arena, held[n].block, held[n].size);
    }
    uint32_t found = 0; /* no block is lost, whatever it was part of */
    CHECK_EQUAL(BLOCKS, arena.opened);
    arena_merge(&arena);
    while (arena_take(&arena, found == 0 ? 64 : 1) != 0) /* merged: the largest piece is there */
        found += found == 0 ? 64 : 1;
    CHECK_EQUAL(BLOCKS - 10, found);
    arena_close(&arena);
    free(memory);
}

int main(void)
{
    test_arena();
    test_random_changes();
    test_full_arena_changes_nothing();
    test_garbage_is_survived();
    return 0;
}
