/* What rwlock, mutex and sem_undo have in common: a lock that can be given up.
 *
 *     reader   B = breaks; enter lock[B]; breaks == B, or leave it and begin again
 *              walk; fence (acquire); leave; breaks == B ? done : again
 *     writer   enter lock[breaks], or, after SYNC_WRITE_WAIT_NS in vain: take lock[B + 1] while
 *              nobody knows it, then breaks = B + 1 (release), fence (release), words ..
 *
 * Why it is right: while nothing is broken the lock orders batches and walks. When it is broken a
 * reader may be inside; if its walk met a word stored since, its fence has the new number in
 * sight (the writer's fence is between number and word), and it looks again. So a
 * dead or stopped reader costs the writer one wait, and a dead writer costs readers the time until
 * its successor comes: they wait SYNC_READ_WAIT_NS a batch and drop as `fib-unavailable`.
 */
#ifndef RC_LOCK_H
#define RC_LOCK_H
#include "layout/sync_layout.h"
#include "sync/lock/locks.h"
#include "sync/strategy.h"

enum {
    SYNC_READ_WAIT_NS = 10 * 1000 * 1000,  /* some hundred batches' time: the ring outlasts it */
    SYNC_WRITE_WAIT_NS = 50 * 1000 * 1000, /* a reader holds the lock for microseconds */
};

/* One lock of many: words in NAME.sync, or two semaphores of a SysV set. */
struct lock_place {
    struct sync_lock *words;
    int set;
    unsigned short at;
};

/* How long somebody may still wait, over all the steps of getting in and over all the locks tried:
 * the first step that has to wait sets the deadline. Who meets nobody never asks for the time. */
struct lock_wait {
    int64_t patience_ns;
    int64_t until_ns; /* CLOCK_MONOTONIC; 0: nobody had to wait yet */
};
int64_t lock_now_ns(void);
int64_t lock_deadline(struct lock_wait *wait);
struct timespec lock_until(struct lock_wait *wait); /* the same, as pthreads want it */

struct lock_kind {
    uint32_t places;
    uint32_t owned; /* 1: the kernel knows its owner, so it is never used again before he let go */
    int (*enter)(const struct lock_place *place, struct lock_wait *wait); /* 0 or -EAGAIN */
    void (*leave)(const struct lock_place *place);
    int (*enter_write)(const struct lock_place *place, struct lock_wait *wait);
    void (*leave_write)(const struct lock_place *place);
    /* Makes an unused lock one that the writer holds; -EBUSY: this one will not do. */
    int (*take_fresh)(const struct lock_place *place);
};
extern const struct lock_kind lock_rwlock, lock_mutex, lock_sem_undo;

/* segment.c: what is in a fresh lock; 0 or -errno. */
int rwlock_format(struct sync_lock *lock, unsigned free_now);
int mutex_format(struct sync_lock *lock);

int lock_read_begin(struct fib_reader *reader, struct fib_ticket *ticket);
int lock_read_end(struct fib_reader *reader, struct fib_ticket *ticket);
int lock_write_begin(struct fib_writer *writer);
void lock_write_end(struct fib_writer *writer);
int lock_break(struct fib_writer *writer); /* the writer holds the new one */

#endif
