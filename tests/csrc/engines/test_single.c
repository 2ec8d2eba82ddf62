/* One route at a time in one /16: the compact engine against a table of its 65,536 answers.
 *
 *   test_single SEED STEPS
 *
 * The table is painted by the meaning of the words alone: shorter routes first. Three segments get
 * every change: a compact one row by row, so that it recolours its node; a compact one with the
 * row twice in one call, so that it paints; a flat one. The nodes of the first two have to be the
 * same bit for bit, but for the addresses of sub-nodes. Phases fill and empty the /16, with ids of
 * one byte, of two, and both, so that nodes turn wide and back; the routes of /0../15 below change
 * too. Under ASan the segments are heap blocks of their exact size.
 */
#include "fib/fib.h"
#include "base/cpu.h"
#include "arena/writer.h"
#include "check.h"
#include "engines/compact/compact.h"

enum { SEGMENTS = 3, SINGLE = 0, PAINTED = 1, SPACE = 65536, GROUPS = 700, ROUTES = 70000 };
#define CHUNK 0x0a01u

static struct fib_writer *writer[SEGMENTS];
static struct fib_reader reader[SEGMENTS];
static void *base[SEGMENTS];
static uint64_t seed;
static uint16_t route[33][SPACE]; /* the group of each route, by length, then first address */
static uint16_t answer[SPACE];

static uint32_t below(uint32_t n)
{
    return (uint32_t)(next_random(&seed) >> 32) % n;
}

static void make(int s)
{
    const struct fib_params params = {.max_routes4 = ROUTES,
                                      .max_routes6 = 1,
                                      .max_groups = GROUPS,
                                      .max_adjacencies = 2,
                                      .engine4 = s == 2 ? FIB_ENGINE_FLAT : FIB_ENGINE_COMPACT};
    uint64_t size = fib_segment_size(&params);
    base[s] = aligned_alloc(4096, size);
    CHECK(base[s] != NULL);
    memset(base[s], 0, size);
    CHECK_EQUAL(0, fib_create(base[s], size, &params));
    writer[s] = fib_writer_open(base[s], size, NULL);
    CHECK(writer[s] != NULL);
    for (uint32_t id = 1; id < GROUPS; id++) {
        struct fib_group group = {.id = id, .kind = FIB_KIND_BLACKHOLE};
        CHECK_EQUAL(0, fib_set_group(writer[s], &group));
    }
    CHECK_EQUAL(0, fib_reader_attach(&reader[s], base[s], size));
}

/* The addresses of the /16 a route covers, and which of route[] it is. */
struct span {
    uint32_t first, n;
    uint16_t *slot;
};

static struct span span_of(uint32_t address, uint32_t length)
{
    uint32_t mask = length <= 16 ? 0 : 0xffffu << (32 - length) & 0xffff;
    uint32_t first = address & mask;
    return (struct span){first, length <= 16 ? SPACE : 1u << (32 - length),
                         &route[length][first]};
}

/* The answers of [first, first + n), from every route that covers some of them. */
static void paint_answers(uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++) {
        answer[i] = 0;
        for (uint32_t length = 33; length-- > 0 && answer[i] == 0;)
            answer[i] = *span_of(i, length).slot;
    }
}

static struct route_row row_of(uint32_t address, uint32_t length, uint32_t group)
{
    struct route_row row = {.family = 4, .length = (uint8_t)length, .nexthop = group};
    uint32_t big = __builtin_bswap32(length == 0 ? 0 : address & UINT32_MAX << (32 - length));
    memcpy(row.prefix, &big, sizeof big);
    return row;
}

static void apply(const struct route_row *row, uint32_t before)
{
    for (int s = 0; s < SEGMENTS; s++) {
        const struct route_row twice[2] = {*row, *row};
        uint64_t applied, changed, n = s == PAINTED ? 2 : 1;
        CHECK_EQUAL(0, fib_apply(writer[s], twice, n, &applied, &changed));
        CHECK_EQUAL(n, applied);
        CHECK_EQUAL(before != row->nexthop, changed);
        CHECK_EQUAL(row->nexthop, fib_exact(writer[s], row));
        if (below(4) == 0)
            fib_publish(writer[s], 0, 0, 0);
    }
}

static void compare_answers(uint32_t first, uint32_t n)
{
    uint32_t address[512], groups[512];
    CHECK(n <= 512);
    for (uint32_t i = 0; i < n; i++)
        address[i] = CHUNK << 16 | ((first + i) & 0xffff);
    for (int s = 0; s < SEGMENTS; s++)
        for (int portable = 0; portable < 2; portable++) {
            cpu_force_portable(portable);
            CHECK_EQUAL(0, fib_lookup4(&reader[s], address, groups, n));
            for (uint32_t i = 0; i < n; i++)
                CHECK_EQUAL(answer[address[i] & 0xffff], groups[i]);
        }
}

static uint32_t word_of(int s)
{
    const struct compact_root *root = fib_block(writer[s], writer[s]->header->roots.root4);
    return root->dir[CHUNK];
}

static uint64_t sub_at(int s, uint32_t k)
{
    return *compact_sub_of(writer[s], word_of(s), k) & ~UINT64_C(0xffffffff);
}

/* Words, leaves, list and sub-nodes' answers. */
static void compare_nodes(void)
{
    if (writer[SINGLE]->header->roots.root4 == 0)
        return;
    uint32_t word = word_of(SINGLE);
    const uint8_t *node = fib_block(writer[SINGLE], compact_block(word));
    const uint8_t *painted = fib_block(writer[PAINTED], compact_block(word_of(PAINTED)));
    const struct compact_tail *tail = compact_tail_of(writer[SINGLE], word);
    uint32_t last;
    memcpy(&last, node + (COMPACT_WORDS - 1) * sizeof last, sizeof last);
    uint32_t wide = (word & COMPACT_WIDE) != 0;
    CHECK_EQUAL(word & COMPACT_WIDE, word_of(PAINTED) & COMPACT_WIDE);
    CHECK(memcmp(node, painted, COMPACT_LEAVES_AT + (compact_leaves(last) << wide)) == 0);
    uint64_t at = (uint64_t)((const uint8_t *)tail - node);
    CHECK(memcmp(tail, painted + at, offsetof(struct compact_tail, entry) +
                                         tail->routes * sizeof tail->entry[0]) == 0);
    for (uint32_t k = 0; k < tail->subs; k++)
        CHECK_EQUAL(sub_at(SINGLE, k), sub_at(PAINTED, k));
}

struct phase {
    uint32_t withdrawn; /* of 16 changes */
    uint32_t groups;    /* ids 1.. below that many, */
    uint32_t wide;      /* and one of so many changes any id; 0: none */
    uint32_t spread;    /* /24s in use */
    int subs;           /* with /25../32 */
};

static uint32_t some_length(const struct phase *phase)
{
    uint32_t kind = below(32);
    if (kind < 4 && phase->subs)
        return 25 + below(8);
    return kind == 31 ? below(16) : kind < 14 ? 24 : 16 + below(9);
}

static void change(struct span span, uint32_t length, uint32_t group)
{
    const struct route_row row = row_of(CHUNK << 16 | span.first, length, group);
    cpu_force_portable((int)below(2)); /* the writer's half of it */
    apply(&row, *span.slot);
    *span.slot = (uint16_t)group;
    compare_nodes();
}

/* One by one, in an order that has nothing to do with the list's; all, or what is longer. */
static void withdraw(uint32_t shortest)
{
    for (uint32_t turn = 0; turn < SPACE; turn++)
        for (uint32_t length = shortest; length <= 32; length++) {
            struct span span = span_of(turn * 40503u & 0xffff, length);
            if (*span.slot != 0)
                change(span, length, 0);
        }
    paint_answers(0, SPACE);
}

static void step(const struct phase *phase)
{
    uint32_t length = some_length(phase), slot = below(phase->spread) * 37 & 0xff;
    struct span span = span_of(slot << 8 | (below(256) & (below(2) ? 0xff : 0xc1)), length);
    uint32_t group = 0;
    if (below(16) >= phase->withdrawn)
        group = 1 + below(phase->wide != 0 && below(phase->wide) == 0 ? GROUPS - 1
                                                                      : phase->groups);
    change(span, length, group);
    paint_answers(span.first, span.n);
    compare_answers(span.first - 256, 512); /* its first addresses and what lies before */
    compare_answers(span.first + span.n - 256, 512);
    compare_answers(below(SPACE), 64);
}

/* A sweep believes it all, and finds no block that nobody names. */
static void take_over(void)
{
    for (int s = 0; s < SEGMENTS; s++) {
        uint32_t live = writer[s]->arena.live;
        CHECK_EQUAL(0, -fib_check(writer[s]));
        fib_writer_close(writer[s]);
        writer[s] = fib_writer_open(base[s], reader[s].size, NULL);
        CHECK(writer[s] != NULL);
        CHECK_EQUAL(live, writer[s]->arena.live);
    }
}

int main(int argc, char **argv)
{
    CHECK_EQUAL(3, argc);
    seed = strtoull(argv[1], NULL, 10) * 0x9e3779b97f4a7c15u + 1;
    int steps = atoi(argv[2]);
    for (int s = 0; s < SEGMENTS; s++)
        make(s);
    struct phase phase = {0};
    for (int i = 0; i < steps; i++) {
        if (i % 150 == 0) {
            phase = (struct phase){.withdrawn = 1 + below(13),
                                   .groups = 1 + below(6),
                                   .wide = below(2) ? 0 : 1 + below(40),
                                   .spread = below(2) ? 256 : 1 + below(20),
                                   .subs = below(2) == 0};
            withdraw(below(2) ? 0 : below(2) ? 16 : phase.subs ? 33 : 25);
            take_over();
        }
        step(&phase);
        if (i % 100 == 99)
            for (uint32_t first = 0; first < SPACE; first += 512)
                compare_answers(first, 512);
    }
    take_over();
    for (int s = 0; s < SEGMENTS; s++) {
        fib_writer_close(writer[s]);
        free(base[s]);
    }
    return 0;
}
