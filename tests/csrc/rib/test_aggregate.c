/* Aggregation under sanitizers: random changes on deep prefixes of both families, staged in slices
 * of every small size, with reverts; the FIB they build is compared with the definition. At the
 * end everything is withdrawn and no node may be left but the two roots.
 *
 * Use: test_aggregate ROUNDS
 */
#include "rows/rows.h"
#include "check.h"
#include "rib/aggregate/aggregate.h"
#include "rib/rib.h"

enum { PREFIXES = 64, GROUPS = 3, SLICE = 4 };

static struct route_row pool[PREFIXES]; /* nexthop: the group in force */
static uint32_t fib[PREFIXES];

static void cut(struct route_row *row)
{
    for (uint32_t bit = row->length; bit < 128; bit++)
        row->prefix[bit / 8] &= (uint8_t)~(0x80u >> bit % 8);
}

static void fill_pool(uint64_t *seed)
{
    static const uint8_t edge[] = {0, 1, 8, 31, 32, 33, 63, 64, 65, 127, 128};
    for (uint32_t i = 0; i < PREFIXES; i++) {
        struct route_row *row = &pool[i];
        uint32_t family = i % 2 ? 6 : 4, most = family == 4 ? 32 : 128;
        do {
            memset(row, 0, sizeof *row);
            row->family = (uint8_t)family;
            uint64_t r = next_random(seed);
            uint32_t length = r & 1 ? edge[r / 2 % sizeof edge] : (uint32_t)(r / 2 % 129);
            row->length = (uint8_t)(length > most ? most : length);
            uint8_t fillers[3] = {0x00, 0xff, 0xa5};
            memset(row->prefix, fillers[next_random(seed) % 3], most / 8);
            row->prefix[next_random(seed) % (most / 8)] ^= (uint8_t)(next_random(seed) & 0x81);
            cut(row);
            CHECK_EQUAL(0, row_valid(row));
            for (uint32_t k = 0; k < i && row->family; k++)
                if (memcmp(&pool[k], row, 18) == 0)
                    row->family = 0; /* there already: draw again */
        } while (row->family == 0);
        fib[i] = 0;
    }
}

static int covers(const struct route_row *a, const struct route_row *b)
{
    struct route_row shortened = *b;
    if (a->family != b->family || a->length >= b->length)
        return 0;
    shortened.length = a->length;
    cut(&shortened);
    return memcmp(shortened.prefix, a->prefix, 16) == 0;
}

static uint32_t wanted(uint32_t i)
{
    uint32_t cover = 0;
    int longest = -1;
    for (uint32_t k = 0; k < PREFIXES; k++)
        if (pool[k].nexthop != 0 && covers(&pool[k], &pool[i]) && pool[k].length > longest) {
            longest = pool[k].length;
            cover = pool[k].nexthop;
        }
    return pool[i].nexthop == cover ? 0 : pool[i].nexthop;
}

static void store(const struct route_row *row)
{
    for (uint32_t i = 0; i < PREFIXES; i++)
        if (memcmp(&pool[i], row, 18) == 0) {
            fib[i] = row->nexthop;
            return;
        }
    CHECK(!"a row for a prefix nobody announced");
}

/* Stages one change; on the way it may be refused once, and is then given again. */
static void change(struct rib_aggregate *aggregate, uint32_t i, uint32_t group, uint64_t *seed)
{
    struct rib_aggregate_step step = {0};
    struct route_row rows[SLICE], row = pool[i];
    uint32_t room = 1 + (uint32_t)(next_random(seed) % SLICE);
    int refuse = next_random(seed) % 4 == 0;
    row.nexthop = group;
    while (step.at < 1) {
        rib_aggregate(aggregate, &row, 1, &step, rows, room);
        CHECK_EQUAL(0, step.error);
        CHECK(step.rows <= room);
        if (refuse) { /* as if the first row of this slice had been refused */
            rib_aggregate_revert(aggregate, &row, 0);
            step = (struct rib_aggregate_step){0};
            refuse = 0;
            continue;
        }
        for (uint32_t k = 0; k < step.rows; k++)
            store(&rows[k]);
    }
    pool[i].nexthop = group;
    CHECK_EQUAL(group, rib_aggregate_group(aggregate, &row));
    for (uint32_t k = 0; k < PREFIXES; k++) {
        CHECK_EQUAL(wanted(k), fib[k]);
        CHECK_EQUAL(fib[k], rib_aggregate_wanted(aggregate, &pool[k], pool[k].nexthop));
    }
}

static void order_is_safe(uint64_t *seed)
{
    struct route_row rows[PREFIXES];
    for (int full = 0; full < 2; full++) {
        for (uint32_t i = 0; i < PREFIXES; i++) {
            rows[i] = pool[i];
            rows[i].nexthop = (uint32_t)(next_random(seed) % 2);
        }
        CHECK_EQUAL(0, rib_aggregate_order(rows, PREFIXES, full ? 0 : PREFIXES, PREFIXES));
        for (uint32_t i = 1; i < PREFIXES; i++) {
            const struct route_row *a = &rows[i - 1], *b = &rows[i];
            if (a->nexthop != b->nexthop)
                CHECK_EQUAL(full, b->nexthop);
            else
                CHECK(a->nexthop ? a->length >= b->length : a->length <= b->length);
        }
    }
    CHECK_EQUAL(0, rib_aggregate_order(rows, 0, 0, 0));
}

int main(int argc, char **argv)
{
    uint64_t seed = 7, rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 100;
    struct rib_params params = {
        .max_rows = PREFIXES, .max_nexthops = 16, .max_nodes = 16, .instance_id = 7, .seed = 9};
    struct rib_recovery recovery;
    int error;
    uint64_t size = rib_segment_size(&params);
    uint8_t *memory = aligned_alloc(64, size);
    CHECK(memory != NULL);
    memset(memory, 0, size);
    CHECK_EQUAL(0, rib_create(memory, size, &params));
    struct rib *rib = rib_open(memory, size, &recovery, &error);
    CHECK(rib != NULL);
    for (uint64_t round = 0; round < rounds; round++) {
        struct rib_aggregate *aggregate = rib_aggregate_open(rib, PREFIXES, PREFIXES);
        CHECK(aggregate != NULL);
        fill_pool(&seed);
        for (uint32_t i = 0; i < 4 * PREFIXES; i++)
            change(aggregate, (uint32_t)(next_random(&seed) % PREFIXES),
                   (uint32_t)(next_random(&seed) % (GROUPS + 1)), &seed);
        for (uint32_t i = 0; i < PREFIXES; i++)
            change(aggregate, i, 0, &seed);
        struct rib_aggregate_counts counts;
        rib_aggregate_count(aggregate, &counts);
        CHECK_EQUAL(2, counts.nodes[0] + counts.nodes[1]);
        CHECK_EQUAL(0, counts.routes[0] + counts.routes[1]);
        order_is_safe(&seed);
        rib_aggregate_close(aggregate);
    }
    rib_aggregate_close(NULL);
    rib_close(rib);
    free(memory);
    return 0;
}
