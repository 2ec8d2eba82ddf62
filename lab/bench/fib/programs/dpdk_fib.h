/* DPDK's two FIBs under the harness: what rte_fib (IPv4, DIR24_8) and rte_fib6 (IPv6, TRIE) each
 * supply. Public API alone; built only where pkg-config finds libdpdk. */
#ifndef RC_BENCH_DPDK_FIB_H
#define RC_BENCH_DPDK_FIB_H
#include "harness.h"

struct dpdk_family {
    /* 0, or -1: no memory, or an option this version does not have. */
    int (*create)(const struct bench *bench);
    void (*destroy)(void);
    int (*add)(const struct route_row *row);
    int (*remove)(const struct route_row *row);
    void (*lookup)(const void *addresses, uint64_t *nexthops, uint32_t n);
    /* Chooses the batch: 1 the AVX-512 one, 0 the portable one. 0 or -1. */
    int (*select)(int vector);
    uint64_t (*room)(const struct bench *bench); /* bytes of memory to start with */
};
extern const struct dpdk_family dpdk_fib4, dpdk_fib6;

#endif
