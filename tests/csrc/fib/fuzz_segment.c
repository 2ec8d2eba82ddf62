/* A FIB segment with a few words changed at random: attach, read and take over must stay inside.
 *
 * clang: -fsanitize=fuzzer,address,undefined -DLIBFUZZER. Without LIBFUZZER the program makes
 * `argv[1]` inputs from a fixed random sequence, so that it runs everywhere and fails the same way
 * twice. Input: which engines and whether the identity line is signed again, then patches of
 * eight bytes { region, how, position : 16, word : 32 }.
 *
 * Promised, whatever the bytes: no access outside the segment (it ends where its heap block
 * ends), an end to every loop, and for a reader not one byte written. A successor either refuses or
 * has a table that it can walk, check, change and publish.
 */
#include <errno.h>

#include "base/cpu.h"
#include "check.h"
#include "fib/fib.h"

enum { PATCH = 8, PATCHES = 24, CASES = 7, GROUPS = 12, KEYS = 40, INPUT_MAX = 1 + PATCH * PATCHES };
/* Engines and strategy; those with two tables, and one that a reader spins under. */
static const uint32_t cases[CASES][3] = {
    {FIB_ENGINE_MULTIBIT, FIB_ENGINE_MULTIBIT, FIB_STRATEGY_EPOCH},
    {FIB_ENGINE_COMPACT, FIB_ENGINE_INTERVAL, FIB_STRATEGY_EPOCH},
    {FIB_ENGINE_BINARY, FIB_ENGINE_BINARY, FIB_STRATEGY_EPOCH},
    {FIB_ENGINE_MULTIBIT, FIB_ENGINE_INTERVAL, FIB_STRATEGY_DOUBLE},
    {FIB_ENGINE_BINARY, FIB_ENGINE_INTERVAL, FIB_STRATEGY_MESSAGE},
    {FIB_ENGINE_COMPACT, FIB_ENGINE_BINARY, FIB_STRATEGY_SEQLOCK},
    {FIB_ENGINE_FLAT, FIB_ENGINE_MULTIBIT, FIB_STRATEGY_EPOCH}};
static struct pristine {
    uint8_t *bytes;
    uint64_t size;
    uint32_t words; /* up to the arena's high-water mark */
} pristine[CASES];

static struct route_row row_of(uint32_t i)
{
    struct route_row row = {.family = i % 2 ? 6 : 4, .nexthop = 1 + i % (GROUPS - 1)};
    static const uint8_t lengths[] = {0, 7, 8, 15, 16, 20, 24, 28, 32};
    uint32_t bits = lengths[i / 2 % sizeof lengths] * (i % 2 ? 4u : 1u);
    row.length = (uint8_t)bits;
    row.prefix[0] = 10;
    row.prefix[1] = (uint8_t)(i / 18);
    row.prefix[2] = row.prefix[3] = row.prefix[9] = 0x5a;
    for (uint32_t b = 0; b < 16; b++, bits = bits > 8 ? bits - 8 : 0)
        if (bits < 8)
            row.prefix[b] &= (uint8_t)(0xff00 >> bits);
    if (row.family == 4)
        memset(row.prefix + 4, 0, 12);
    return row;
}

static void fill(struct fib_writer *writer)
{
    uint64_t applied, changed;
    for (uint32_t id = 1; id < GROUPS; id++) {
        const struct fib_adjacency adjacency = {.id = id, .state = ADJACENCY_RESOLVED};
        struct fib_group group = {.id = id, .kind = FIB_KIND_FORWARD, .paths = 1, .buckets = 1};
        const struct fib_port port = {.index = (uint16_t)id, .mtu = 1500};
        group.bucket[0] = id;
        CHECK_EQUAL(0, fib_set_adjacency(writer, &adjacency));
        CHECK_EQUAL(0, fib_set_group(writer, &group));
        CHECK_EQUAL(0, fib_set_port(writer, &port));
    }
    for (uint32_t i = 0; i < 80; i++) {
        struct route_row row = row_of(i);
        CHECK_EQUAL(0, fib_apply(writer, &row, 1, &applied, &changed));
    }
    fib_publish(writer, 1, 2, 3);
}

static void prepare(void)
{
    for (int p = 0; p < CASES && pristine[p].bytes == NULL; p++) {
        const struct fib_params params = {.max_routes4 = 100, .max_routes6 = 100,
                                          .max_groups = GROUPS, .max_adjacencies = GROUPS,
                                          .engine4 = cases[p][0], .engine6 = cases[p][1],
                                          .strategy = cases[p][2]};
        struct pristine *one = &pristine[p];
        one->size = fib_segment_size(&params);
        one->bytes = aligned_alloc(4096, (one->size + 4095) & ~UINT64_C(4095));
        CHECK(one->bytes != NULL);
        memset(one->bytes, 0, one->size);
        CHECK_EQUAL(0, fib_create(one->bytes, one->size, &params));
        struct fib_writer *writer = fib_writer_open(one->bytes, one->size, NULL);
        CHECK(writer != NULL);
        fill(writer);
        fib_writer_close(writer);
        const struct fib_header *header = (const void *)one->bytes;
        one->words = (header->published.high_water + 1) * (FIB_BLOCK / 4);
    }
}

static void patch_word(const struct pristine *from, uint8_t *at, const uint8_t *data)
{
    uint32_t word, value;
    memcpy(&word, at, sizeof word);
    memcpy(&value, data + 4, sizeof value);
    switch (data[1] % 4) {
    case 0: word = value; break;
    case 1: word ^= 1u << (value & 31); break;
    case 2: word += (value & 15) - 8; break;
    default: word = value % (from->words / 16 + 2); break; /* some block */
    }
    memcpy(at, &word, sizeof word);
}

/* Header, directories and stamps, or arena: each patch picks its region, then a word of it. */
static void patch(const struct pristine *from, uint8_t *base, const uint8_t *data)
{
    const uint8_t *last = base + from->size;
    const struct fib_header *header = (const void *)from->bytes;
    uint32_t arena = header->geometry.arena_at * (FIB_BLOCK / 4);
    uint32_t first[4] = {0, 16, FIB_HEADER_SIZE / 4, arena};
    uint32_t end[4] = {16, 16 * 6, arena, from->words};
    uint32_t region = data[0] % 4, at = (uint32_t)data[2] | (uint32_t)data[3] << 8;
    /* 16 bits reach every word of a small region, and every fourth or so of the compact root. */
    at = first[region] + (at * ((data[0] >> 2 & 7) + 1u)) % (end[region] - first[region]);
    /* In the first table, in the second, or alike in both, so that they still agree; or in the
     * message ring behind them. */
    uint64_t bank = (uint64_t)header->geometry.blocks * FIB_BLOCK;
    if (header->geometry.banks == 2 && (data[1] & 128) != 0)
        patch_word(from, base + bank + (uint64_t)at * 4, data);
    else if (header->geometry.banks == 2 && (data[0] & 32) != 0)
        base += bank;
    if (header->geometry.ring_blocks != 0 && (data[0] & 192) == 192)
        base += bank;
    if (base + (uint64_t)at * 4 + sizeof(uint32_t) <= last)
        patch_word(from, base + (uint64_t)at * 4, data);
}

static void read_all(const uint8_t *base, uint64_t size)
{
    static uint8_t room[sizeof(struct fib_group) + FIB_MAX_BUCKETS * sizeof(uint32_t)];
    struct fib_key keys[KEYS] = {0};
    struct fib_answer answers[KEYS];
    uint32_t four[KEYS], groups[KEYS];
    uint8_t six[KEYS][16];
    struct fib_reader reader;
    struct fib_adjacency adjacency;
    struct fib_port port;
    struct fib_stamp stamp;
    uint64_t generation;
    if (fib_reader_attach(&reader, base, size) != 0)
        return;
    for (uint32_t i = 0; i < KEYS; i++) {
        struct route_row row = row_of(i * 2), longer = row_of(i * 2 + 1);
        keys[i].family = i % 3 == 0 ? 4 : 6;
        keys[i].hash = i * 0x9e3779b9u;
        memcpy(keys[i].address, i % 3 == 0 ? row.prefix : longer.prefix, 16);
        four[i] = (uint32_t)row.prefix[0] << 24 | (uint32_t)row.prefix[1] << 16 | 0x5a5a;
        memcpy(six[i], longer.prefix, 16);
    }
    /* A replica is only made of a table that a successor would take. */
    int fails = fib_lookup(&reader, keys, answers, KEYS, &generation);
    CHECK(fails == 0 || reader.lags);
    for (int portable = 0; portable < 2; portable++) {
        cpu_force_portable(portable);
        CHECK((fib_lookup_groups(&reader, keys, groups, KEYS) == 0) == (fails == 0));
        CHECK((fib_lookup4(&reader, four, groups, KEYS) == 0) == (fails == 0));
        CHECK((fib_lookup6(&reader, six, groups, KEYS) == 0) == (fails == 0));
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        struct route_row row;
        fib_lookup_match(&reader, &keys[i], &row);
        fib_read_port(&reader, i, &port);
        fib_read_adjacency(&reader, i, &adjacency);
        CHECK(fib_group_room() <= sizeof room);
        fib_read_group(&reader, i, (struct fib_group *)(void *)room);
    }
    fib_read_stamp(&reader, fib_generation(&reader), &stamp);
    fib_reader_detach(&reader);
}

/* 1: it refused. */
static int take_over(uint8_t *base, uint64_t size)
{
    struct fib_recovery recovery;
    struct route_row cursor = {0}, rows[64];
    uint64_t applied, changed, found = 0;
    uint32_t n;
    struct fib_writer *writer = fib_writer_open(base, size, &recovery);
    if (writer == NULL)
        return 1;
    while ((n = fib_walk(writer, &cursor, rows, 64)) > 0)
        found += n;
    CHECK_EQUAL(recovery.routes, found);
    for (uint32_t i = 0; i < 60; i++) {
        struct route_row row = row_of(i * 3);
        row.nexthop = i % 4 ? row.nexthop : 0;
        int result = fib_apply(writer, &row, 1, &applied, &changed);
        CHECK(result == 0 || result == -ENOSPC || result == -E2BIG || result == -EINVAL);
    }
    fib_publish(writer, 1, 2, 3);
    CHECK_EQUAL(0, fib_check(writer));
    fib_writer_close(writer);
    return 0;
}

static uint64_t attached, refused;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > INPUT_MAX)
        return 0;
    prepare();
    const struct pristine *from = &pristine[(data[0] & 63) % CASES];
    uint8_t *base = aligned_alloc(64, from->size);
    CHECK(base != NULL);
    memcpy(base, from->bytes, from->size);
    for (size_t at = 1; at + PATCH <= size; at += PATCH)
        patch(from, base, data + at);
    if ((data[0] & 64) != 0)
        memcpy(base, from->bytes, sizeof(struct segment_identity));
    read_all(base, from->size);
    attached++;
    refused += (uint64_t)take_over(base, from->size);
    read_all(base, from->size);
    free(base);
    return 0;
}

#ifndef LIBFUZZER
int main(int argc, char **argv)
{
    uint8_t input[INPUT_MAX];
    long rounds = argc > 1 ? atol(argv[1]) : 1000;
    uint64_t random = argc > 2 ? (uint64_t)atol(argv[2]) : 0x2545f4914f6cdd1du;
    for (long i = 0; i < rounds; i++) {
        size_t size = 1 + PATCH * (next_random(&random) % 5);
        for (size_t at = 0; at < size; at++)
            input[at] = (uint8_t)(next_random(&random) >> 40);
        input[0] = (uint8_t)(i % CASES + (i % 8 ? 64 : 0)); /* or a torn identity line */
        LLVMFuzzerTestOneInput(input, size);
    }
    printf("%" PRIu64 " segments, %" PRIu64 " refused by the successor\n", attached, refused);
    CHECK(refused > 0 && refused < attached);
    return 0;
}
#endif
