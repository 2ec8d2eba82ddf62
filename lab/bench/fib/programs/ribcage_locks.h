/* What a strategy needs beside the segment, for the benchmark's readers and writers: the lock memory
 * of rwlock and mutex, the System V set of sem_undo. */
#ifndef RC_BENCH_RIBCAGE_LOCKS_H
#define RC_BENCH_RIBCAGE_LOCKS_H
#include "fib/fib.h"

/* Lock memory of this process and those it forks (the set is the orchestrator's, -1 = none). */
int locks_make(int semaphore);
/* Somebody else's: the file of the lock memory, "-" = none. */
int locks_open(const char *path, int semaphore);
int locks_give(struct fib_reader *reader);
void locks_detach(struct fib_reader *reader);
struct fib_writer *locks_open_writer(void *base, uint64_t size, struct fib_recovery *recovery);
/* 1 when readers of this segment may have to wait for somebody. */
int locks_waited_for(const void *base);
/* The header with the counts in force, and how many tables and other bytes the segment holds. */
const struct fib_header *locks_header(const void *base, uint32_t *banks, uint64_t *more);

#endif
