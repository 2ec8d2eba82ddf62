/* rte_fib6, TRIE: 24 bits, then 8 a step. See dpdk_fib.h. */
#include "dpdk_fib.h"

#include <rte_config.h>
#include <rte_fib6.h>
#include <string.h>

static struct rte_fib6 *table;
enum { LOST = 65536 };

static int covers(const struct route_row *a, const struct route_row *b)
{
    uint32_t whole = a->length / 8u, part = a->length % 8u;
    return a->length <= b->length && memcmp(a->prefix, b->prefix, whole) == 0 &&
           (part == 0 || ((a->prefix[whole] ^ b->prefix[whole]) & (0xff00 >> part)) == 0);
}

/* Steps of 8 bits that the library reserves for a route: those below the route that covers it,
 * whether another route has them already or not (trie.c: depth_diff). */
static uint32_t steps(const struct route_row *row, const struct route_row *above)
{
    uint32_t from = above == NULL || above->length < 24 ? 24 : (above->length + 7u) & ~7u;
    uint32_t to = (row->length + 7u) & ~7u;
    return to > from ? (to - from) / 8 : 0;
}

/* A quarter more, because the stream takes covering routes away. And in 22.11 what a withdrawal
 * should give back is lost (it finds itself as the covering route, so it counts 0 steps), so
 * that each pair costs its steps for good: room for what is done between two loads. */
static uint32_t extensions(const struct bench *bench)
{
    const struct route_row *above[129];
    uint32_t depth = 0, count = 0;
    for (uint64_t i = 0; i < bench->n_rows; i++) {
        const struct route_row *row = &bench->rows[i];
        while (depth > 0 && !covers(above[depth - 1], row))
            depth--;
        count += steps(row, depth == 0 ? NULL : above[depth - 1]);
        above[depth++] = row;
    }
    for (uint64_t i = 0; i < bench->n_updates; i++)
        if (bench_find(bench, &bench->updates[i]) == NULL)
            count += steps(&bench->updates[i], NULL);
    return count + count / 4 + (uint32_t)bench->n_updates + LOST;
}

/* The smallest that holds every id and every extension's number: one bit says which it is. */
static enum rte_fib_trie_nh_sz entry_size(const struct bench *bench)
{
    uint32_t most = extensions(bench) > bench->max_nexthop ? extensions(bench) : bench->max_nexthop;
    return most < 1u << 15 ? RTE_FIB6_TRIE_2B : RTE_FIB6_TRIE_4B;
}

static int routes(const struct bench *bench)
{
    return (int)(bench->n_rows + bench->n_updates + 1024);
}

static int create(const struct bench *bench)
{
    struct rte_fib6_conf conf = {.type = RTE_FIB6_TRIE, .max_routes = routes(bench)};
    conf.trie.nh_sz = entry_size(bench);
    conf.trie.num_tbl8 = extensions(bench);
    table = rte_fib6_create("bench", 0, &conf);
    return table == NULL ? -1 : 0;
}

static void destroy(void)
{
    rte_fib6_free(table);
}

static int add(const struct route_row *row)
{
    return rte_fib6_add(table, row->prefix, row->length, row->nexthop);
}

static int drop(const struct route_row *row)
{
    return rte_fib6_delete(table, row->prefix, row->length);
}

static void lookup(const void *addresses, uint64_t *nexthops, uint32_t n)
{
    rte_fib6_lookup_bulk(table, (uint8_t(*)[16])(uintptr_t)addresses, nexthops, (int)n);
}

static int choose(int vector)
{
    return rte_fib6_select_lookup(table, vector ? RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512
                                                : RTE_FIB6_LOOKUP_TRIE_SCALAR);
}

static uint64_t room(const struct bench *bench)
{
    uint64_t width = UINT64_C(1) << entry_size(bench);
    return (width << 24) + extensions(bench) * 256 * width + (uint64_t)routes(bench) * 2 * 256 +
           (UINT64_C(128) << 20);
}

const struct dpdk_family dpdk_fib6 = {create, destroy, add, drop, lookup, choose, room};
