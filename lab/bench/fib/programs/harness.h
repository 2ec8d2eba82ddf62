/* One contestant a process: what every benchmark program of this folder shares.
 *
 *   program FAMILY FOLDER [PARAMS [CPU [SEMAPHORE]]]     commands on stdin, one JSON line for each on stdout
 *
 *   load                     make the FIB anew from rows.bin            {"seconds"}
 *   lookup S BATCH FROM N    N addresses timed, those before to warm up {"seconds","lookups"}
 *   check S COUNT            order-dependent checksum of next hops      {"sum"}
 *   pairs FROM COUNT EVERY   withdraw and announce rows[pairs[i]]       {"seconds","updates"}
 *   stream EVERY             apply updates.bin in order                 {"seconds","updates"}
 *   restore                  what the stream changed, back as loaded    {}
 *   memory                   bytes, by part                             {...}
 *   vector 1|0               C contestants: batches with or without AVX-512  {"vector"}
 *   quit
 *
 * Seconds are CPU time of the process, see bench_cpu_ns. EVERY: changes between two publishes (0: one publish at the end). S numbers the files
 * stream-S.bin, read round and round. The folder is written by the Python side (table.py, streams.py): rows and updates
 * are struct route_row arrays, streams are u32 in host order (IPv4) or 16 bytes in network order.
 * A failure is {"error":"..."} and the command's end; nothing is measured after one. The
 * orchestrator interleaves the contestants, so that a slow second of the machine meets all.
 */
#ifndef RC_BENCH_HARNESS_H
#define RC_BENCH_HARNESS_H
#include "base/monotonic.h"
#include "layout/row_layout.h"

enum { BENCH_STREAMS = 3, BENCH_BATCH = 64, BENCH_ARGUMENTS = 8 };

struct bench_file {
    const void *bytes;
    uint64_t size;
};

struct bench {
    uint32_t family;
    uint32_t cpu;      /* where this process was told to run */
    int32_t semaphore; /* a System V set for the strategy that wants one; -1: none */
    struct bench_file params; /* struct fib_params of ours; a peer has none */
    const struct route_row *rows; /* sorted, distinct */
    uint64_t n_rows;
    const struct route_row *updates; /* nexthop 0 withdraws */
    uint64_t n_updates;
    const uint32_t *pairs; /* positions in rows */
    uint64_t n_pairs;
    struct bench_file stream[BENCH_STREAMS];
    uint32_t max_nexthop; /* of rows and updates */
};

struct bench_command {
    const char *verb;
    uint32_t arguments;
    /* Prints one JSON object through bench_say, or returns -errno after bench_fail. */
    int (*run)(const struct bench *bench, char *const *argument);
};

struct bench_contestant {
    const char *name;
    /* Everything made anew and loaded; *seconds is what loading the sorted rows took. */
    int (*load)(const struct bench *bench, double *seconds);
    /* Looks n addresses up, `batch` at a time; the sum keeps the compiler honest. */
    uint64_t (*lookup)(const void *addresses, uint64_t n, uint32_t batch);
    void (*nexthops)(const void *addresses, uint32_t n, uint64_t *nexthops); /* n <= BENCH_BATCH */
    /* One change; nexthop 0 withdraws, and withdrawing what is not there is no error. */
    int (*apply)(const struct route_row *row);
    void (*publish)(void); /* NULL: a change is in force when apply returns */
    int (*memory)(const struct bench *bench);
    const struct bench_command *more; /* ends with a NULL verb; or NULL */
};

/* main() of a program; does not return before `quit` or the end of stdin. */
int bench_main(int argc, char **argv, const struct bench_contestant *contestant);

void bench_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* {"error": ...}; returns -EINVAL. */
int bench_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The whole file mapped read-only; a size of 0 when there is none. */
struct bench_file bench_map(const char *folder, const char *name);
/* Withdraws and announces `count` rows; the part of `pairs` that is timed. */
int bench_pairs(const struct bench *bench, uint64_t from, uint64_t count, uint64_t every);
/* The row of exactly this prefix, or NULL. */
const struct route_row *bench_find(const struct bench *bench, const struct route_row *like);
uint64_t bench_random(void);

/* Nanoseconds of this process on a CPU. Nothing that is timed with it waits for anything, so on a
 * quiet machine it is the wall clock's figure; on a busy one it leaves out who else ran. */
static inline uint64_t bench_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static inline double bench_seconds(uint64_t from_cpu_ns)
{
    return (double)(bench_cpu_ns() - from_cpu_ns) * 1e-9;
}

static inline uint32_t bench_address4(const uint8_t *prefix)
{
    return (uint32_t)prefix[0] << 24 | (uint32_t)prefix[1] << 16 | (uint32_t)prefix[2] << 8 |
           prefix[3];
}

#endif
