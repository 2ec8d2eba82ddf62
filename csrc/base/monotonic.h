/* The one clock of the packet path: CLOCK_MONOTONIC in nanoseconds, through the vDSO. */
#ifndef RC_MONOTONIC_H
#define RC_MONOTONIC_H
#include "base/base.h"

#ifndef RC_CFFI
#include <time.h>

enum { NS_PER_US = 1000, NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

static inline uint64_t monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}
#endif
#endif
