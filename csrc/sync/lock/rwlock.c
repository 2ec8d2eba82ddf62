/* `rwlock`: the classic readers-writers lock, made of semaphores.
 *
 * rwlock is Courtois, Heymans and Parnas (CACM 1971) with a turnstile, so that readers cannot
 * starve the writer (Downey, "The Little Book of Semaphores", 4.2.5): four semaphore operations
 * to get in, two to get out, on lines that all readers share. P is an acquire and V a release,
 * so a walk inside meets whole batches only. Semaphores have no owner: killed inside, a reader
 * stops the writer and a writer stops the readers, until somebody breaks the lock.
 */
#include "sync/lock/lock.h"

#include <errno.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>

RC_STATIC_ASSERT(sizeof(sem_t) <= sizeof(((struct sync_lock *)0)->room), "room for a semaphore");

static sem_t *as_sem(uint64_t *words)
{
    return (sem_t *)(void *)words;
}

/* P, waiting until the deadline at most: 0 or -EAGAIN. */
static int take(uint64_t *words, struct lock_wait *wait)
{
    if (likely(sem_trywait(as_sem(words)) == 0))
        return 0;
    struct timespec until = lock_until(wait);
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

int rwlock_format(struct sync_lock *lock, unsigned free_now)
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

const struct fib_sync fib_sync_rwlock = {
    .id = FIB_STRATEGY_RWLOCK,
    .name = "rwlock",
    .banks = 1,
    .flags = SYNC_LOCK_MEMORY,
    .layout = LAYOUT(SYNC_LAYOUT LAYOUT_FIELD(fib_sync_words, breaks)),
    .own = &lock_rwlock,
    .read_begin = lock_read_begin,
    .read_end = lock_read_end,
    .write_begin = lock_write_begin,
    .write_end = lock_write_end,
    .recover = lock_break, /* whatever the dead writer held, he holds for ever */
    .break_lock = lock_break,
};
