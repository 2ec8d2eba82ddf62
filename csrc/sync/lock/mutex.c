/* `mutex`: a robust mutex, one process at a time.
 *
 * mutex lets one process in at a time. It knows its owner: the kernel passes it on with EOWNERDEAD
 * when that one dies (set_robust_list(2)). A reader that inherits it from a dead writer goes on,
 * since every word is old or new; the batch may be half there until the successor comes.
 */
#include "sync/lock/lock.h"

#include <errno.h>
#include <pthread.h>

RC_STATIC_ASSERT(sizeof(pthread_mutex_t) <= sizeof(((struct sync_lock *)0)->mutex), "for a mutex");

static pthread_mutex_t *as_mutex(const struct lock_place *place)
{
    return (pthread_mutex_t *)(void *)place->words->mutex;
}

static int inherited(pthread_mutex_t *mutex, int error)
{
    if (error == EOWNERDEAD)
        error = pthread_mutex_consistent(mutex);
    return error == 0 ? 0 : -EAGAIN;
}

static int mutex_enter(const struct lock_place *place, struct lock_wait *wait)
{
    pthread_mutex_t *mutex = as_mutex(place);
    int error = pthread_mutex_trylock(mutex);
    if (unlikely(error == EBUSY)) {
        struct timespec until = lock_until(wait);
        error = pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &until);
    }
    return inherited(mutex, error);
}

static void mutex_leave(const struct lock_place *place)
{
    (void)pthread_mutex_unlock(as_mutex(place));
}

/* Never formatted again: its words may hang in the list a living owner's kernel keeps. */
static int mutex_take_fresh(const struct lock_place *place)
{
    return inherited(as_mutex(place), pthread_mutex_trylock(as_mutex(place)));
}

const struct lock_kind lock_mutex = {
    .places = SYNC_LOCKS,
    .owned = 1,
    .enter = mutex_enter,
    .leave = mutex_leave,
    .enter_write = mutex_enter,
    .leave_write = mutex_leave,
    .take_fresh = mutex_take_fresh,
};

int mutex_format(struct sync_lock *lock)
{
    pthread_mutexattr_t how;
    struct lock_place place = {.words = lock};
    int error = pthread_mutexattr_init(&how);
    if (error == 0)
        error = pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
    if (error == 0)
        error = pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST);
    if (error == 0)
        error = pthread_mutex_init(as_mutex(&place), &how);
    return -error;
}

const struct fib_sync fib_sync_mutex = {
    .id = FIB_STRATEGY_MUTEX,
    .name = "mutex",
    .banks = 1,
    .flags = SYNC_LOCK_MEMORY,
    .layout = LAYOUT(SYNC_LAYOUT LAYOUT_FIELD(fib_sync_words, breaks)),
    .own = &lock_mutex,
    .read_begin = lock_read_begin,
    .read_end = lock_read_end,
    .write_begin = lock_write_begin,
    .write_end = lock_write_end,
    .recover = lock_write_begin,
    .break_lock = lock_break,
};
