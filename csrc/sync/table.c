/* The strategies of this build, and the two that need no code: `epoch` and `none`.
 *
 * `epoch` is inlined at the reader (strategy.h) and is what every writer does anyway.
 *
 * `none` is for teaching and refused outside a lab: the reader trusts whatever it read, and the
 * writer gives blocks back at every bump instead of two bumps later (fib_bump). So a reader
 * walks through nodes that are being rewritten and answers with what was never in the table; the
 * torture test has to catch it at that. Memory safety is not at stake: offsets stay checked.
 */
#include "sync/table.h"
#include "sync/lock/locks.h"
#include "sync/strategy.h"

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
    .layout = LAYOUT(LAYOUT_FIELD(fib_published, epoch)),
    .write_begin = fib_sync_nothing,
    .write_end = fib_sync_nothing_ends,
    .recover = fib_sync_nothing,
};

const struct fib_sync fib_sync_none = {
    .id = FIB_STRATEGY_NONE,
    .name = "none",
    .banks = 1,
    .flags = SYNC_REUSE_AT_ONCE | SYNC_TEACHING,
    .layout = LAYOUT(LAYOUT_FIELD(fib_published, epoch)),
    .read_begin = none_begin,
    .read_end = none_end,
    .write_begin = fib_sync_nothing,
    .write_end = fib_sync_nothing_ends,
    .recover = fib_sync_nothing,
};

#define STRATEGY_LISTED(name, constant, number) &fib_sync_##name,
static const struct fib_sync *const strategies[] = {STRATEGIES(STRATEGY_LISTED)};

const struct fib_sync *fib_sync_listed(uint32_t position)
{
    return position < sizeof strategies / sizeof strategies[0] ? strategies[position] : NULL;
}

const struct fib_sync *fib_sync_of(uint32_t strategy)
{
    const struct fib_sync *sync;
    for (uint32_t i = 0; (sync = fib_sync_listed(i)) != NULL; i++)
        if (sync->id == strategy)
            return sync;
    return NULL;
}

uint32_t fib_strategy_at(uint32_t position)
{
    const struct fib_sync *sync = fib_sync_listed(position);
    return sync != NULL ? sync->id : 0;
}

const char *fib_strategy_name(uint32_t id)
{
    const struct fib_sync *sync = fib_sync_of(id);
    return sync != NULL ? sync->name : NULL;
}

uint32_t fib_strategy_flags(uint32_t id)
{
    const struct fib_sync *sync = fib_sync_of(id);
    return sync != NULL ? sync->flags : 0;
}

int fib_locks_fit(const struct fib_sync *sync, const struct fib_locks *locks)
{
    if ((sync->flags & (SYNC_LOCK_MEMORY | SYNC_LOCK_SEMAPHORE)) == 0)
        return 1;
    if (locks == NULL)
        return 0;
    if ((sync->flags & SYNC_LOCK_SEMAPHORE) != 0)
        return locks->semaphore >= 0;
    return locks->memory != NULL &&
           segment_check(locks->memory, locks->size, &sync_format) == SEGMENT_READY;
}
