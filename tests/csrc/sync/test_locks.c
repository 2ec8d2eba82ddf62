/* Waiting for a lock ends: one deadline for all the steps of getting in, whatever interrupts it.
 *
 * Times are checked generously: what is ruled out waits several times as long, or for ever.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "sync/lock/lock.h"

enum { MS = 1000 * 1000, PATIENCE = 200 * MS, ALARM_US = 1000, TURNS = 1000 };

static void on_alarm(int number)
{
    (void)number;
}

/* A signal a millisecond, without SA_RESTART. */
static void interrupt(int on)
{
    const struct sigaction action = {.sa_handler = on_alarm};
    const struct itimerval every = {{0, on ? ALARM_US : 0}, {0, on ? ALARM_US : 0}};
    CHECK_EQUAL(0, sigaction(SIGALRM, &action, NULL));
    CHECK_EQUAL(0, setitimer(ITIMER_REAL, &every, NULL));
}

/* The lock is held by its writer: whoever comes waits once, for all that it tries. */
static void a_deadline_is_one(const struct lock_kind *kind, const struct lock_place *place)
{
    struct lock_wait at_once = {.patience_ns = PATIENCE}, wait = at_once;
    CHECK_EQUAL(0, kind->enter(place, &at_once));
    CHECK_EQUAL(0, at_once.until_ns); /* nobody there: the time was not asked for */
    kind->leave(place);
    CHECK_EQUAL(0, kind->enter_write(place, &at_once));
    for (int interrupted = 0; interrupted < 2; interrupted++) {
        interrupt(interrupted);
        wait.until_ns = 0;
        int64_t began = lock_now_ns();
        for (int tries = 0; tries < 20; tries++)
            CHECK_EQUAL(-EAGAIN, kind->enter(place, &wait));
        int64_t took = lock_now_ns() - began;
        CHECK(took >= PATIENCE && took < 10ll * PATIENCE);
    }
    interrupt(0);
    kind->leave_write(place);
    wait.until_ns = 0;
    CHECK_EQUAL(0, kind->enter(place, &wait));
    kind->leave(place);
}

int main(void)
{
    struct sync_segment *segment = aligned_alloc(64, sizeof *segment);
    CHECK(segment != NULL);
    memset(segment, 0, sizeof *segment);
    CHECK_EQUAL(0, sync_create(segment, sizeof *segment, 7));
    const struct lock_place words = {.words = &segment->lock[3]};
    a_deadline_is_one(&lock_rwlock, &words);
    a_deadline_is_one(&lock_mutex, &words);
    free(segment);
    int set = -EEXIST;
    for (int32_t key = 0x51c0; set == -EEXIST && key < 0x51ff; key++)
        set = sync_semaphore_create(key, 0600, -1);
    CHECK(set >= 0);
    /* Whatever fails, the set is given back. */
    struct lock_place pair = {.set = set, .at = 4};
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        a_deadline_is_one(&lock_sem_undo, &pair);
        _exit(0);
    }
    int status = 1, ended = 0;
    for (int turn = 0; turn < TURNS && ended == 0; turn++, usleep(20 * 1000))
        ended = waitpid(child, &status, WNOHANG);
    if (ended == 0) { /* it waits without end */
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
    }
    CHECK_EQUAL(0, sync_semaphore_remove(set));
    CHECK_EQUAL(0, status);
    return 0;
}
