/* Takes the lock in force, and goes from a broken lock to the next one. See lock.h.
 *
 * Reader functions: any process that has the locks mapped; writer functions: control alone.
 */
#include "sync/lock/lock.h"

#include <errno.h>
#include <time.h>

int64_t lock_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t lock_deadline(struct lock_wait *wait)
{
    if (wait->until_ns == 0)
        wait->until_ns = lock_now_ns() + wait->patience_ns;
    return wait->until_ns;
}

struct timespec lock_until(struct lock_wait *wait)
{
    int64_t ns = lock_deadline(wait);
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

static const struct lock_kind *kind_of(const struct fib_sync *sync)
{
    return sync->own;
}

static struct lock_place place_of(const struct fib_sync *sync, const struct fib_locks *locks,
                                  uint64_t breaks)
{
    uint32_t at = (uint32_t)(breaks % kind_of(sync)->places);
    struct lock_place place = {.set = locks->semaphore, .at = (unsigned short)(2 * at)};
    if ((sync->flags & SYNC_LOCK_MEMORY) != 0)
        place.words = &((struct sync_segment *)locks->memory)->lock[at];
    return place;
}

int lock_read_begin(struct fib_reader *reader, struct fib_ticket *ticket)
{
    const uint64_t *breaks = &fib_reader_words(reader)->breaks;
    const struct lock_kind *kind = kind_of(reader->sync);
    struct lock_wait wait = {.patience_ns = SYNC_READ_WAIT_NS};
    if (unlikely(reader->locks.memory == NULL && reader->locks.semaphore < 0))
        return -ENOLCK;
    for (uint32_t tries = 0; tries < 4; tries++) { /* more only if as many locks break meanwhile */
        ticket->mark = load_acquire64(breaks);
        struct lock_place place = place_of(reader->sync, &reader->locks, ticket->mark);
        int error = kind->enter(&place, &wait);
        if (likely(error == 0 && load_acquire64(breaks) == ticket->mark))
            return 0;
        if (error == 0)
            kind->leave(&place);
        else if (load_acquire64(breaks) == ticket->mark)
            break;
    }
    reader->unavailable++;
    return -EAGAIN;
}

int lock_read_end(struct fib_reader *reader, struct fib_ticket *ticket)
{
    atomic_thread_fence(memory_order_acquire);
    uint64_t gone = load_relaxed64(&fib_reader_words(reader)->breaks) - ticket->mark;
    const struct lock_kind *kind = kind_of(reader->sync);
    struct lock_place place = place_of(reader->sync, &reader->locks, ticket->mark);
    /* A lock left behind so long ago that it may be in force again is not ours any more; a
     * mutex still is, it is only ever used again after its owner let go. */
    if (likely(gone < kind->places / 2) || kind->owned)
        kind->leave(&place);
    return gone == 0;
}

int lock_break(struct fib_writer *writer)
{
    uint64_t *breaks = &fib_writer_words(writer)->breaks;
    const struct lock_kind *kind = kind_of(writer->sync);
    uint64_t now = load_relaxed64(breaks);
    for (uint64_t next = now + 1; next < now + kind->places; next++) {
        struct lock_place place = place_of(writer->sync, &writer->locks, next);
        if (kind->take_fresh(&place) != 0)
            continue;
        RC_FAULT("lock-taken-fresh");
        store_release64(breaks, next);
        atomic_thread_fence(memory_order_release);
        RC_FAULT("lock-broken");
        return 0;
    }
    return -EAGAIN;
}

int lock_write_begin(struct fib_writer *writer)
{
    uint64_t breaks = load_relaxed64(&fib_writer_words(writer)->breaks);
    struct lock_place place = place_of(writer->sync, &writer->locks, breaks);
    struct lock_wait wait = {.patience_ns = SYNC_WRITE_WAIT_NS};
    int error = kind_of(writer->sync)->enter_write(&place, &wait);
    if (error != 0)
        error = lock_break(writer);
    RC_FAULT("lock-held");
    return error;
}

void lock_write_end(struct fib_writer *writer)
{
    uint64_t breaks = load_relaxed64(&fib_writer_words(writer)->breaks);
    struct lock_place place = place_of(writer->sync, &writer->locks, breaks);
    RC_FAULT("lock-before-leave");
    kind_of(writer->sync)->leave_write(&place);
    RC_FAULT("lock-left");
}
