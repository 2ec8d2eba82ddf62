/* The segment NAME.sync: the lock words of rwlock and mutex, which readers have to write.
 *
 *   +-------------------------------------------- identity (64), see segment_layout.h
 *   | lock[0]   turnstile  entry  room  readers  mutex       256 bytes each
 *   | lock[1]
 *   | ..        lock[breaks % SYNC_LOCKS] is in force; `breaks` stands in the FIB, where only
 *   | lock[63]  the writer can change it
 *   +--------------------------------------------
 *
 * It exists under these two strategies alone and is the one memory that workers and control
 * both write: a faulty worker can hold the others up here. Under rwlock it can change no
 * route, but nonsense in a semaphore makes the C library abort whoever waits on it. Under mutex it could: the C library keeps the links of each thread's list of robust
 * mutexes in the mutexes, as pointers, and control's unlocking stores through them.
 *
 * A lock that a dead or stopped process may hold is left behind for the next one, and comes
 * into force again SYNC_LOCKS breaks later (sem_undo: SYNC_SEM_UNDO_LOCKS); under rwlock and
 * sem_undo it is made anew then. A reader that comes back to life inside looks at `breaks` first:
 * if less than half of that have passed it leaves the lock it holds, which nobody uses; later it
 * leaves it alone. One that is stopped between that look and the leaving for as many breaks counts
 * itself out of a lock in force: batches may then meet a half, until that lock is broken in its
 * turn. Under mutex the kernel knows the owner: such a lock is passed over (lock_break) until the
 * reader has left it.
 *
 * The words are the C library's own (sem_t, pthread_mutex_t); their sizes are part of the layout
 * id, so another C library is refused. Made by the supervisor as sealed memory (by control in the
 * lab), so that no worker can make it shorter under control; mapped by control and workers.
 */
#ifndef RC_SYNC_LAYOUT_H
#define RC_SYNC_LAYOUT_H
#include "base/base.h"
#include "layout/segment_layout.h"

enum {
    SYNC_LOCKS = 64,
    SYNC_SEM_UNDO_LOCKS = 16, /* pairs of semaphores in a SysV set */
};

struct sync_lock {
    uint64_t turnstile[4]; /* sem_t 1: passed by everyone; held by a writer that waits */
    uint64_t entry[4];     /* sem_t 1: guards `readers` */
    uint64_t room[4];      /* sem_t 1: held by the readers together, or by the writer */
    uint64_t mutex[5];     /* pthread_mutex_t, robust */
    uint32_t readers;      /* readers inside; relaxed, under `entry` */
    uint32_t unused;
    uint64_t reserved[14];
};
RC_STATIC_ASSERT(sizeof(struct sync_lock) == 256, "no two locks share a line");

struct sync_segment {
    struct segment_identity identity;
    struct sync_lock lock[SYNC_LOCKS];
};

/* What the layout identity is made of, see layout/identity.h. */
#define SYNC_LAYOUT                                                                              \
    LAYOUT_STRUCT(sync_lock, turnstile, entry, room, mutex, readers, unused, reserved)           \
    LAYOUT_STRUCT(sync_segment, identity, lock)                                                  \
    LAYOUT_NUMBER(SYNC_LOCKS) LAYOUT_NUMBER(SYNC_SEM_UNDO_LOCKS)

#endif
