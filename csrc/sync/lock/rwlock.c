/* `rwlock`: the classic readers-writers lock of semaphores, and `mutex`: a robust one for all.
 *
 * rwlock is Courtois, Heymans and Parnas (CACM 1971) with a turnstile, so that readers cannot
 * starve the writer (Downey, "The Little Book of Semaphores", 4.2.5): four semaphore operations
 * to get in, two to get out, on lines that all readers share. P is an acquire and V a release,
 * so a walk inside meets whole batches only. Semaphores have no owner: killed inside, a reader
 * stops the writer and a writer stops the readers, until somebody breaks the lock.
 *
 * mutex lets one process in at a time. It knows its owner: the kernel passes it on with EOWNERDEAD
 * when that one dies (set_robust_list(2)). A reader that inherits it from a dead writer goes on,
 * since every word is old or new; the batch may be half there until the successor comes.
 */
#include "sync/lock/lock.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>

RC_STATIC_ASSERT(sizeof(sem_t) <= sizeof(((struct sync_lock *)0)->room), "room for a semaphore");
RC_STATIC_ASSERT(sizeof(pthread_mutex_t) <= sizeof(((struct sync_lock *)0)->mutex), "for a mutex");

static struct timespec deadline(struct lock_wait *wait)
{
    int64_t ns = lock_deadline(wait);
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

static sem_t *as_sem(uint64_t *words)
{
    return (sem_t *)(void *)words;
}

/* P, waiting until the deadline at most: 0 or -EAGAIN. */
static int take(uint64_t *words, struct lock_wait *wait)
{
    if (likely(sem_trywait(as_sem(words)) == 0))
        return 0;
    struct timespec until = deadline(wait);
    while (sem_clockwait(as_sem(words), CLOCK_MONOTONIC, &until) != 0)
        if (errno != EINTR)
            return -EAGAIN;
    return 0;
}

static void give(uint64_t *words)
{
    (void)sem_post(as_sem(words));
}

static int rwlock_enter(const struct lock_place *place, struct lock_wait *wait)
{
    struct sync_lock *lock = place->words;
    if (take(lock->turnstile, wait) != 0)
        return -EAGAIN;
    give(lock->turnstile);
    if (take(lock->entry, wait) != 0)
        return -EAGAIN;
    int error = 0;
    uint32_t before = load_relaxed32(&lock->readers);
    if (before == 0)
        error = take(lock->room, wait);
    if (error == 0)
        store_relaxed32(&lock->readers, before + 1);
    give(lock->entry);
    return error;
}

static void rwlock_leave(const struct lock_place *place)
{
    struct sync_lock *lock = place->words;
    struct lock_wait wait = {.patience_ns = SYNC_READ_WAIT_NS};
    if (take(lock->entry, &wait) != 0)
        return; /* somebody died at the entry: the writer will break this lock */
    uint32_t left = load_relaxed32(&lock->readers) - 1;
    store_relaxed32(&lock->readers, left);
    if (left == 0)
        give(lock->room);
    give(lock->entry);
}

static int rwlock_enter_write(const struct lock_place *place, struct lock_wait *wait)
{
    if (take(place->words->turnstile, wait) != 0)
        return -EAGAIN;
    /* In vain: the turnstile stays shut, this lock is about to be left behind. */
    return take(place->words->room, wait);
}

static void rwlock_leave_write(const struct lock_place *place)
{
    give(place->words->turnstile);
    give(place->words->room);
}

static int rwlock_format(struct sync_lock *lock, unsigned free_now)
{
    store_relaxed32(&lock->readers, 0);
    if (sem_init(as_sem(lock->turnstile), 1, free_now) != 0 ||
        sem_init(as_sem(lock->entry), 1, 1) != 0 || sem_init(as_sem(lock->room), 1, free_now) != 0)
        return -errno;
    return 0;
}

static int rwlock_take_fresh(const struct lock_place *place)
{
    return rwlock_format(place->words, 0);
}

const struct lock_kind lock_rwlock = {
    .places = SYNC_LOCKS,
    .enter = rwlock_enter,
    .leave = rwlock_leave,
    .enter_write = rwlock_enter_write,
    .leave_write = rwlock_leave_write,
    .take_fresh = rwlock_take_fresh,
};

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
        struct timespec until = deadline(wait);
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
    .enter = mutex_enter,
    .leave = mutex_leave,
    .enter_write = mutex_enter,
    .leave_write = mutex_leave,
    .take_fresh = mutex_take_fresh,
};

static int mutex_format(struct sync_lock *lock)
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

int sync_create(void *base, uint64_t size, uint64_t instance_id)
{
    struct sync_segment *segment = base;
    if (size < sizeof *segment)
        return -EINVAL;
    for (uint32_t i = 0; i < SYNC_LOCKS; i++) {
        int error = rwlock_format(&segment->lock[i], 1);
        if (error == 0)
            error = mutex_format(&segment->lock[i]);
        if (error != 0)
            return error;
    }
    return segment_identify(base, size, SEGMENT_SYNC, instance_id);
}

const struct fib_sync fib_sync_rwlock = {
    .id = FIB_STRATEGY_RWLOCK,
    .name = "rwlock",
    .banks = 1,
    .locks = FIB_LOCKS_MEMORY,
    .read_begin = lock_read_begin,
    .read_end = lock_read_end,
    .write_begin = lock_write_begin,
    .write_end = lock_write_end,
    .recover = lock_break, /* whatever the dead writer held, he holds for ever */
};

const struct fib_sync fib_sync_mutex = {
    .id = FIB_STRATEGY_MUTEX,
    .name = "mutex",
    .banks = 1,
    .locks = FIB_LOCKS_MEMORY,
    .read_begin = lock_read_begin,
    .read_end = lock_read_end,
    .write_begin = lock_write_begin,
    .write_end = lock_write_end,
    .recover = lock_write_begin,
};
