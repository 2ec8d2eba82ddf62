/* `sem_undo`: a System V semaphore whose operations the kernel takes back when a process dies.
 *
 *     two semaphores a lock:   gate = writers that wait or are inside     room = ROOM - readers
 *     reader in    { gate == 0, room - 1 UNDO }    at once          out   { room + 1 UNDO }
 *     writer in    { gate + 1 UNDO }, then { room - ROOM UNDO }     out   { room + ROOM, gate - 1 }
 *
 * One system call each way, and nothing to break when somebody is killed: semop(2) with SEM_UNDO
 * gives back what the dead process held. That is its danger too: a writer killed inside lets
 * the readers in to what it left. Here they find every word old or new, so no answer is
 * torn, but the batch may be half there until the successor, who repairs it, has come. The kernel
 * orders the operations, so a walk inside meets whole batches only.
 *
 * A stopped process keeps what it holds: the writer then breaks the lock as under rwlock.
 */
#include "sync/lock/lock.h"

#include <errno.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <time.h>

enum { ROOM = 32000 }; /* below SEMVMX, and more readers than there will ever be */

static int operate_at_once(const struct lock_place *place, struct sembuf *operations, size_t n)
{
    const struct timespec none = {0};
    while (semtimedop(place->set, operations, n, &none) != 0)
        if (errno != EINTR)
            return -EAGAIN;
    return 0;
}

/* semtimedop(2) takes a length of time and a signal ends it: what is left is counted anew each
 * time, or a signal a millisecond would make the wait last for ever. */
static int operate(const struct lock_place *place, struct sembuf *operations, size_t n,
                   struct lock_wait *wait)
{
    if (likely(operate_at_once(place, operations, n) == 0))
        return 0;
    for (;;) {
        int64_t left = lock_deadline(wait) - lock_now_ns();
        left = left > 0 ? left : 0;
        struct timespec for_ns = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        if (semtimedop(place->set, operations, n, &for_ns) == 0)
            return 0;
        if (errno != EINTR)
            return -EAGAIN;
    }
}

static unsigned short gate(const struct lock_place *place)
{
    return place->at;
}

static unsigned short room(const struct lock_place *place)
{
    return (unsigned short)(place->at + 1);
}

static int sem_undo_enter(const struct lock_place *place, struct lock_wait *wait)
{
    struct sembuf in[2] = {{gate(place), 0, 0}, {room(place), -1, SEM_UNDO}};
    return operate(place, in, 2, wait);
}

static void sem_undo_leave(const struct lock_place *place)
{
    struct sembuf out = {room(place), 1, SEM_UNDO};
    (void)operate_at_once(place, &out, 1);
}

static int sem_undo_enter_write(const struct lock_place *place, struct lock_wait *wait)
{
    struct sembuf shut = {gate(place), 1, SEM_UNDO};
    struct sembuf in = {room(place), -ROOM, SEM_UNDO};
    int error = operate(place, &shut, 1, wait);
    return error != 0 ? error : operate(place, &in, 1, wait);
}

static void sem_undo_leave_write(const struct lock_place *place)
{
    struct sembuf out[2] = {{room(place), ROOM, SEM_UNDO}, {gate(place), -1, SEM_UNDO}};
    (void)operate_at_once(place, out, 2);
}

/* SETVAL forgets what the kernel would have undone for those who were left behind. */
static int set_values(int set, unsigned short at)
{
    if (semctl(set, at, SETVAL, 0) != 0 || semctl(set, at + 1, SETVAL, ROOM) != 0)
        return -errno;
    return 0;
}

static int sem_undo_take_fresh(const struct lock_place *place)
{
    struct sembuf in[2] = {{gate(place), 1, SEM_UNDO}, {room(place), -ROOM, SEM_UNDO}};
    int error = set_values(place->set, place->at);
    return error != 0 ? error : operate_at_once(place, in, 2);
}

const struct lock_kind lock_sem_undo = {
    .places = SYNC_SEM_UNDO_LOCKS,
    .enter = sem_undo_enter,
    .leave = sem_undo_leave,
    .enter_write = sem_undo_enter_write,
    .leave_write = sem_undo_leave_write,
    .take_fresh = sem_undo_take_fresh,
};

static int give_to_group(int set, uint32_t mode, int32_t group)
{
    struct semid_ds status;
    if (semctl(set, 0, IPC_STAT, &status) != 0)
        return -errno;
    status.sem_perm.gid = (gid_t)group;
    status.sem_perm.mode = (unsigned short)(mode & 0777);
    return semctl(set, 0, IPC_SET, &status) == 0 ? 0 : -errno;
}

int sync_semaphore_create(int32_t key, uint32_t mode, int32_t group)
{
    int set = semget(key, 2 * SYNC_SEM_UNDO_LOCKS, (int)(mode & 0777) | IPC_CREAT | IPC_EXCL);
    if (set < 0)
        return -errno;
    int error = group < 0 ? 0 : give_to_group(set, mode, group);
    for (unsigned short i = 0; error == 0 && i < SYNC_SEM_UNDO_LOCKS; i++)
        error = set_values(set, (unsigned short)(2 * i));
    if (error != 0)
        (void)semctl(set, 0, IPC_RMID);
    return error != 0 ? error : set;
}

int sync_semaphore_open(int32_t key)
{
    int set = semget(key, 2 * SYNC_SEM_UNDO_LOCKS, 0);
    return set < 0 ? -errno : set;
}

int sync_semaphore_remove(int32_t set)
{
    return semctl(set, 0, IPC_RMID) == 0 ? 0 : -errno;
}

const struct fib_sync fib_sync_sem_undo = {
    .id = FIB_STRATEGY_SEM_UNDO,
    .name = "sem_undo",
    .banks = 1,
    .flags = SYNC_LOCK_SEMAPHORE,
    .layout = LAYOUT(LAYOUT_FIELD(fib_sync_words, breaks) LAYOUT_NUMBER(SYNC_SEM_UNDO_LOCKS)),
    .own = &lock_sem_undo,
    .read_begin = lock_read_begin,
    .read_end = lock_read_end,
    .write_begin = lock_write_begin,
    .write_end = lock_write_end,
    .recover = lock_write_begin,
    .break_lock = lock_break,
};
