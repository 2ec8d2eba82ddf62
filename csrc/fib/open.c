/* Becoming the writer of a segment, and ceasing to be: the strategy first, then each bank.
 *
 * The same code opens a fresh segment and one whose writer was killed at any instruction
 * (bank/recover.c). Control alone; the caller holds the ownership lock.
 */
#include <errno.h>

#include "base/monotonic.h"
#include "bank/bank.h"
#include "fib/fib.h"
#include "sync/strategy.h"

/* Everything that can fail; the caller closes on failure. The strategy comes first: it takes the
 * lock, or makes the second bank equal to the one readers use. */
static int take_over(struct fib_writer *writer, struct fib_recovery *found)
{
    struct fib_recovery other = {0};
    int error = writer->sync->recover(writer);
    if (error != 0)
        return error;
    error = bank_take_over(writer, found);
    if (error == 0 && writer->header->geometry.banks == 2) {
        writer->twin = bank_begin(writer->segment, writer->base + writer->size);
        error = writer->twin == NULL ? -ENOMEM : bank_take_over(writer->twin, &other);
    }
    /* On failure too: readers may go on with what is there. */
    writer->sync->write_end(writer);
    return error;
}

static struct fib_writer *failed(struct fib_recovery *recovery, int error)
{
    if (recovery != NULL)
        recovery->error = error;
    return NULL;
}

struct fib_writer *fib_writer_open_locked(void *base, uint64_t size, const struct fib_locks *locks,
                                          struct fib_recovery *recovery)
{
    struct fib_recovery found = {0};
    uint64_t began = monotonic_ns();
    if (segment_check(base, size, &fib_format) != SEGMENT_READY || !fib_tables_valid(base))
        return failed(recovery, -EBADMSG);
    struct fib_writer *writer = bank_begin(base, base);
    if (writer == NULL)
        return failed(recovery, -ENOMEM);
    writer->sync = fib_sync_of(writer->header->geometry.strategy);
    writer->reuse_at_once = (writer->sync->flags & SYNC_REUSE_AT_ONCE) != 0;
    if (locks != NULL)
        writer->locks = *locks;
    int error = fib_locks_fit(writer->sync, locks) ? take_over(writer, &found) : -ENOLCK;
    if (error != 0) {
        fib_writer_close(writer);
        return failed(recovery, error);
    }
    found.nanoseconds = monotonic_ns() - began;
    if (recovery != NULL)
        *recovery = found;
    return writer;
}

struct fib_writer *fib_writer_open(void *base, uint64_t size, struct fib_recovery *recovery)
{
    return fib_writer_open_locked(base, size, NULL, recovery);
}

void fib_writer_close(struct fib_writer *writer)
{
    if (writer == NULL)
        return;
    fib_batch_end(writer);
    bank_close(writer->twin);
    if (writer->sync->close != NULL)
        writer->sync->close(writer);
    bank_close(writer);
}
