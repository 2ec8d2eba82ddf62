/* The strategies of this build, and the two that need no code: `epoch` and `none`.
 *
 * `epoch` is inlined at the reader (strategy.h) and is what every writer does anyway.
 *
 * `none` is for teaching and refused outside a lab: the reader trusts whatever it read, and the
 * writer gives blocks back at every bump instead of two bumps later (fib_bump). So a reader
 * walks through nodes that are being rewritten and answers with what was never in the table; the
 * torture test has to catch it at that. Memory safety is not at stake: offsets stay checked.
 */
#include "sync/strategy.h"

#include <errno.h>
#include <string.h>

int fib_sync_nothing(struct fib_writer *writer)
{
    (void)writer;
    return 0;
}

void fib_sync_nothing_ends(struct fib_writer *writer)
{
    (void)writer;
}

static int none_begin(struct fib_reader *reader, struct fib_ticket *ticket)
{
    (void)reader;
    (void)ticket;
    return 0;
}

static int none_end(struct fib_reader *reader, struct fib_ticket *ticket)
{
    (void)reader;
    (void)ticket;
    return 1;
}

const struct fib_sync fib_sync_epoch = {
    .id = FIB_STRATEGY_EPOCH,
    .name = "epoch",
    .banks = 1,
    .write_begin = fib_sync_nothing,
    .write_end = fib_sync_nothing_ends,
    .recover = fib_sync_nothing,
};

const struct fib_sync fib_sync_none = {
    .id = FIB_STRATEGY_NONE,
    .name = "none",
    .banks = 1,
    .read_begin = none_begin,
    .read_end = none_end,
    .write_begin = fib_sync_nothing,
    .write_end = fib_sync_nothing_ends,
    .recover = fib_sync_nothing,
};

const struct fib_sync *fib_sync_of(uint32_t strategy)
{
    static const struct fib_sync *const all[] = {
        [FIB_STRATEGY_EPOCH] = &fib_sync_epoch,     [FIB_STRATEGY_SEQLOCK] = &fib_sync_seqlock,
        [FIB_STRATEGY_DOUBLE] = &fib_sync_double,   [FIB_STRATEGY_RWLOCK] = &fib_sync_rwlock,
        [FIB_STRATEGY_SEM_UNDO] = &fib_sync_sem_undo,       [FIB_STRATEGY_MUTEX] = &fib_sync_mutex,
        [FIB_STRATEGY_MESSAGE] = &fib_sync_message, [FIB_STRATEGY_NONE] = &fib_sync_none,
    };
    return strategy < sizeof all / sizeof all[0] ? all[strategy] : NULL;
}

int fib_locks_fit(const struct fib_sync *sync, const struct fib_locks *locks)
{
    if (sync->locks == 0)
        return 1;
    if (locks == NULL)
        return 0;
    if (sync->locks == FIB_LOCKS_SEMAPHORE)
        return locks->semaphore >= 0;
    return locks->memory != NULL &&
           segment_check(locks->memory, locks->size, SEGMENT_SYNC) == SEGMENT_READY;
}

int fib_reader_locks(struct fib_reader *reader, const struct fib_locks *locks)
{
    if (reader->sync == NULL || reader->sync->locks == 0)
        return 0;
    if (!fib_locks_fit(reader->sync, locks))
        return -EINVAL;
    reader->locks = *locks;
    return 0;
}
