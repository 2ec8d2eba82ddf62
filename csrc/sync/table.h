/* The strategies of this build: their numbers, their order, their names, what is peculiar about
 * each. The one list.
 *
 * Use: those who offer the choice (configuration, benchmark, help) ask fib_strategy_at() and
 * fib_strategy_name(), those who prepare for one ask fib_strategy_flags(); nobody lists strategies
 * or compares their numbers (test_seams.py). The first is what a segment gets when nobody says
 * which. A new strategy: a line here, a file beside this one, a section of docs/synchronisation.md
 * (docs/extending.md shows one). Constant; any process.
 */
#ifndef RC_STRATEGIES_H
#define RC_STRATEGIES_H
#include "base/base.h"

/* STRATEGY(name, constant, number): the default first. Numbers are stored in segments: never reuse
 * one. */
#define STRATEGIES(STRATEGY)                                                                     \
    STRATEGY(epoch, FIB_STRATEGY_EPOCH, 1)                                                       \
    STRATEGY(seqlock, FIB_STRATEGY_SEQLOCK, 2)                                                   \
    STRATEGY(double, FIB_STRATEGY_DOUBLE, 3)                                                     \
    STRATEGY(rwlock, FIB_STRATEGY_RWLOCK, 4)                                                     \
    STRATEGY(sem_undo, FIB_STRATEGY_SEM_UNDO, 5)                                                 \
    STRATEGY(mutex, FIB_STRATEGY_MUTEX, 6)                                                       \
    STRATEGY(message, FIB_STRATEGY_MESSAGE, 7)                                                   \
    STRATEGY(none, FIB_STRATEGY_NONE, 8)

#define STRATEGY_NUMBER(name, constant, number) constant = number,
enum fib_strategy { STRATEGIES(STRATEGY_NUMBER) };

enum fib_strategy_flag {
    SYNC_LOCK_MEMORY = 1,    /* reader and writer need the segment NAME.sync (fib_locks.memory) */
    SYNC_LOCK_SEMAPHORE = 2, /* they need a SysV set (fib_locks.semaphore) */
    SYNC_REPLICA = 4,        /* each reader has a table of its own and may lag behind the newest
                                publish; the bank in force is a snapshot, older still */
    SYNC_REUSE_AT_ONCE = 8,  /* the writer takes memory back at every bump, not two later */
    SYNC_TEACHING = 16,      /* answers may be wrong: refused outside a lab */
};

/* Number of the strategy at a position, 0, 1, .., the default first; 0 behind the last. */
uint32_t fib_strategy_at(uint32_t position);
/* Its name, or NULL; a set of enum fib_strategy_flag, 0 for a number this build does not know. */
const char *fib_strategy_name(uint32_t id);
uint32_t fib_strategy_flags(uint32_t id);

#if RC_INLINE_SECTION

struct fib_sync; /* strategy.h */

/* fib_sync_epoch, ..: each defined in its file. */
#define STRATEGY_ENTRY(name, constant, number) extern const struct fib_sync fib_sync_##name;
STRATEGIES(STRATEGY_ENTRY)

/* NULL for a number this build does not know. */
const struct fib_sync *fib_sync_of(uint32_t strategy);
/* Every strategy once, by position; NULL behind the last. */
const struct fib_sync *fib_sync_listed(uint32_t position);

#endif
#endif
