/* rte_fib, DIR24_8 (Gupta, Lin, McKeown, INFOCOM 1998). See dpdk_fib.h. */
#include "dpdk_fib.h"

#include <rte_config.h>
#include <rte_fib.h>
#include <string.h>

static struct rte_fib *table;

/* One for each /24 with a longer prefix below. Rows are sorted, so those are neighbours; updates
 * are few and counted in full. */
static uint32_t extensions(const struct bench *bench)
{
    const struct route_row *before = NULL;
    uint32_t count = 64;
    for (uint64_t i = 0; i < bench->n_rows; i++) {
        const struct route_row *row = &bench->rows[i];
        if (row->length <= 24)
            continue;
        count += before == NULL || memcmp(before->prefix, row->prefix, 3) != 0;
        before = row;
    }
    for (uint64_t i = 0; i < bench->n_updates; i++)
        count += bench->updates[i].length > 24 && bench_find(bench, &bench->updates[i]) == NULL;
    return count;
}

/* The smallest that holds every id and every extension's number: one bit says which it is. */
static enum rte_fib_dir24_8_nh_sz entry_size(const struct bench *bench)
{
    uint32_t most = extensions(bench) > bench->max_nexthop ? extensions(bench) : bench->max_nexthop;
    return most < 1u << 7    ? RTE_FIB_DIR24_8_1B
           : most < 1u << 15 ? RTE_FIB_DIR24_8_2B
                             : RTE_FIB_DIR24_8_4B;
}

static int routes(const struct bench *bench)
{
    return (int)(bench->n_rows + bench->n_updates + 1024);
}

static int create(const struct bench *bench)
{
    struct rte_fib_conf conf = {.type = RTE_FIB_DIR24_8, .max_routes = routes(bench)};
    conf.dir24_8.nh_sz = entry_size(bench);
    conf.dir24_8.num_tbl8 = extensions(bench);
    table = rte_fib_create("bench", 0, &conf);
    return table == NULL ? -1 : 0;
}

static void destroy(void)
{
    rte_fib_free(table);
}

static int add(const struct route_row *row)
{
    return rte_fib_add(table, bench_address4(row->prefix), row->length, row->nexthop);
}

static int drop(const struct route_row *row)
{
    return rte_fib_delete(table, bench_address4(row->prefix), row->length);
}

static void lookup(const void *addresses, uint64_t *nexthops, uint32_t n)
{
    rte_fib_lookup_bulk(table, (uint32_t *)(uintptr_t)addresses, nexthops, (int)n);
}

static int choose(int vector)
{
    return rte_fib_select_lookup(table, vector ? RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512
                                               : RTE_FIB_LOOKUP_DIR24_8_SCALAR_MACRO);
}

/* The table, its extensions, and about 64 bytes for each of two RIB nodes a route. */
static uint64_t room(const struct bench *bench)
{
    uint64_t width = UINT64_C(1) << entry_size(bench);
    return (width << 24) + extensions(bench) * 256 * width + (uint64_t)routes(bench) * 2 * 192 +
           (UINT64_C(128) << 20);
}

const struct dpdk_family dpdk_fib4 = {create, destroy, add, drop, lookup, choose, room};
