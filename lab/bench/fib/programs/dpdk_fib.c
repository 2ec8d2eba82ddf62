/* DPDK as a contestant: EAL in private memory of 4 KiB pages (no huge pages, no files, no
 * devices: nothing on the machine has to be set up), the smallest next-hop size that holds the
 * table's ids, the AVX-512 batch where CPU and library have it.
 *
 * `load` may be asked for again: what rte_fib6 loses at each withdrawal (see dpdk_fib6.c) comes
 * back with a new FIB only.
 */
#include "dpdk_fib.h"

#include <rte_config.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct dpdk_family *fib;
static uint32_t address_width;
static int loaded, vector = 1;

static int start(const struct bench *bench)
{
    char memory[16], cpu[16], *argument[] = {
        "dpdk_fib", "--no-huge", "--no-shconf", "-m", memory, "--no-pci", "--no-telemetry",
        "--log-level=error", "--force-max-simd-bitwidth=512", "-l", cpu, NULL};
    snprintf(memory, sizeof memory, "%llu", (unsigned long long)(fib->room(bench) >> 20) + 64);
    snprintf(cpu, sizeof cpu, "%u", bench->cpu);
    /* EAL talks on stdout; ours is for answers. */
    fflush(stdout);
    int out = dup(STDOUT_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    int result = rte_eal_init((int)(sizeof argument / sizeof argument[0]) - 1, argument);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    close(out);
    return result < 0 ? bench_fail("rte_eal_init: %s", rte_strerror(rte_errno)) : 0;
}

static int load(const struct bench *bench, double *seconds)
{
    fib = bench->family == 4 ? &dpdk_fib4 : &dpdk_fib6;
    address_width = bench->family == 4 ? 4 : 16;
    if (!loaded && start(bench) != 0)
        return -1;
    if (loaded)
        fib->destroy();
    if (fib->create(bench) != 0)
        return bench_fail("the FIB was not made: %s", rte_strerror(rte_errno));
    loaded = 1;
    uint64_t began = bench_cpu_ns();
    for (uint64_t i = 0; i < bench->n_rows; i++) {
        int result = fib->add(&bench->rows[i]);
        if (result != 0)
            return bench_fail("row %llu was refused: %s", (unsigned long long)i + 1,
                              rte_strerror(-result));
    }
    *seconds = bench_seconds(began);
    if (vector && fib->select(1) != 0)
        vector = 0;
    return vector || fib->select(0) == 0 ? 0 : bench_fail("no lookup function");
}

static uint64_t lookup(const void *addresses, uint64_t n, uint32_t batch)
{
    uint64_t nexthop[BENCH_BATCH] __attribute__((aligned(64))), sum = 0;
    for (uint64_t at = 0; at < n; at += batch) {
        fib->lookup((const uint8_t *)addresses + at * address_width, nexthop, batch);
        sum += nexthop[batch / 2];
    }
    return sum;
}

static void nexthops(const void *addresses, uint32_t n, uint64_t *nexthop)
{
    fib->lookup(addresses, nexthop, n);
}

static int apply(const struct route_row *row)
{
    if (row->nexthop != 0)
        return fib->add(row);
    fib->remove(row); /* -ENOENT: it was not there */
    return 0;
}

static int memory(const struct bench *bench)
{
    struct rte_malloc_socket_stats stats = {0};
    (void)bench;
    rte_malloc_get_socket_stats(0, &stats);
    bench_say("{\"used\":%llu}", (unsigned long long)stats.heap_allocsz_bytes);
    return 0;
}

/* vector 1|0: the batch's instructions, for the runs without AVX-512. */
static int run_vector(const struct bench *bench, char *const *argument)
{
    vector = argument[0][0] == '1';
    (void)bench;
    if (!loaded || fib->select(vector) != 0)
        return bench_fail("vector: load first, or not on this machine");
    bench_say("{\"vector\":%d}", vector);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct bench_command more[] = {{"vector", 1, run_vector}, {NULL, 0, NULL}};
    static const struct bench_contestant dpdk = {
        .name = "dpdk",
        .load = load,
        .lookup = lookup,
        .nexthops = nexthops,
        .apply = apply,
        .memory = memory,
        .more = more,
    };
    return bench_main(argc, argv, &dpdk);
}
