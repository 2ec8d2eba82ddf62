/* The state of the benchmark program of our own FIB, shared by its two files: ribcage_fib.c
 * (load, lookups, updates, memory) and ribcage_others.c (what takes a second process). */
#ifndef RC_BENCH_RIBCAGE_FIB_H
#define RC_BENCH_RIBCAGE_FIB_H
#include "fib/fib.h"
#include "harness.h"
#include "ribcage_locks.h"

struct ours {
    uint32_t family;
    int fd;                    /* the segment; /proc/self/fd/N opens it again */
    uint8_t *base;             /* writable; the reader has a read-only mapping of its own */
    uint64_t size;
    uint32_t huge_units;       /* of the segment's front, in pages of 2 MiB */
    struct fib_writer *writer;
    struct fib_reader reader;
    void *view;                /* its mapping */
    uint64_t heap;             /* bytes the writer holds outside the segment */
};
extern struct ours ours;

extern const struct bench_command ribcage_others[];

/* Maps the segment read-only and attaches, as another process does. 0 or -errno. */
int ours_attach(struct fib_reader *reader, const char *path, void **view);
/* Opens the writer on the segment as it lies there: after a death, what the successor does. */
int ours_open_writer(struct fib_recovery *recovery);
/* The command `vector 1|0`: whether batches may use AVX-512. */
int ours_vector(const struct bench *bench, char *const *argument);
int ours_apply(const struct route_row *row);
void ours_publish(void);
/* Group ids of n addresses of the family (n <= BENCH_BATCH). 0 or -EAGAIN. */
int ours_groups(struct fib_reader *reader, const void *addresses, uint32_t *groups, uint32_t n);

#endif
