/* A worker: the loop around forward/forward.h, as dataplane/worker.py drives it.
 *
 *     worker_new -> worker_set_fib, worker_add_port ... -> worker_run -> (Python looks) -> worker_run
 *
 * Use: worker_run() forwards until something needs Python: the channel or the signal descriptor
 * is readable, or the deadline has come. Python handles that and calls it again; between two
 * calls nothing is forwarded, so Python does little. Frames wait in the rings meanwhile.
 *
 * The loop: up to `batch` frames of each port in turn (a busy port cannot starve the others),
 * then the held packets if due, then the clock. After traffic it spins for about twice the usual
 * gap between batches, at most `spin_ns`; then it sleeps in poll() on rings, bell, channel and
 * signals. An idle worker wakes once a second for its heartbeat.
 *
 * Called by the one thread of a worker process. Everything is allocated in worker_new().
 */
#ifndef RC_WORKER_H
#define RC_WORKER_H
#include "base/base.h"
#include "layout/stats_layout.h"

struct worker; /* private */

enum { WORKER_BATCH_MAX = 256 };

struct worker_config {
    uint32_t index;
    uint32_t batch;             /* frames a port and turn, 1..WORKER_BATCH_MAX */
    uint64_t seed;              /* of the flow hash: one per instance */
    uint64_t spin_ns;           /* longest busy wait after traffic; 0: always sleep */
    uint64_t hold_timeout_ns;
    uint32_t hold_packets;
    uint32_t hold_per_neighbour;
    uint32_t icmp_rate;         /* errors a second, and at once */
    uint32_t icmp_burst;
    uint32_t icmp_per_source;   /* a second */
    int32_t queue;              /* SysV queue id, -1: none */
    int32_t bell;               /* our end: control rings it and is rung by it; -1: none */
    int32_t channel;            /* polled for reading, -1: none */
    int32_t signals;            /* polled for reading, -1: none */
    uint32_t teach;             /* 1: poisoned frames act (forward/poison.h) */
    uint32_t unused;
};

/* Why worker_run() came back; a set. */
enum worker_wake {
    WORKER_WAKE_CHANNEL = 1,
    WORKER_WAKE_SIGNAL = 2,
    WORKER_WAKE_DEADLINE = 4,
};

/* Maps the stats object read-write and takes it over (stats_attach). NULL, and *error = -errno. */
struct worker *worker_new(const struct worker_config *config, int stats_fd, int32_t *error);
/* Unmaps everything; closes no descriptor but ring sockets that were added. */
void worker_free(struct worker *worker);

/* Maps a FIB from a descriptor opened O_RDONLY (-EPERM for any other) instead of the old one, and
 * what its strategy needs: sync_fd, NAME.sync opened O_RDWR, or -1; semaphore, a set's id, or -1.
 * -EINVAL: not a ready FIB of this build, or its lock is missing. The caller may close the
 * descriptors afterwards. */
int worker_set_fib(struct worker *worker, int fd, int sync_fd, int semaphore);
/* Maps the ring of a socket made by port_socket_open() with the same slots x slot_bytes, and goes
 * on where the stats object says if it is the same ring. Owns fd from now on, also on error.
 * -EEXIST: the port has one already. */
int worker_add_port(struct worker *worker, uint32_t port, int fd, uint32_t kind, uint32_t slots,
                    uint32_t slot_bytes);
int worker_del_port(struct worker *worker, uint32_t port);
/* Another channel, after a reconnect; -1: none. */
void worker_set_channel(struct worker *worker, int fd);

/* Another bell, another event queue; -1: none. */
void worker_set_bell(struct worker *worker, int fd);
void worker_set_queue(struct worker *worker, int queue);

/* Runs; returns a set of enum worker_wake. deadline_ns: CLOCK_MONOTONIC, 0 = none. */
uint32_t worker_run(struct worker *worker, uint64_t deadline_ns);
/* Takes batch (1..WORKER_BATCH_MAX), hold_timeout_ns, teach and the icmp_ words of another
 * configuration; its other words are ignored. A changed ICMP rate starts with full buckets. */
void worker_configure(struct worker *worker, const struct worker_config *config);
/* 1: take no more frames (they wait in the rings) until 0. Held packets stay held. */
void worker_quiesce(struct worker *worker, int on);
/* 1 when nothing is left to do: no frame in a ring and none since quiet_ns, no packet held. What
 * a worker that was steered away waits for before it may end. */
int worker_drained(const struct worker *worker, uint64_t quiet_ns);
/* An orderly end: held packets are given up, the state says so. worker_free() follows. */
void worker_stop(struct worker *worker);

uint64_t worker_generation(const struct worker *worker);
/* Sends one event of a kind Python decides on (ready, fault); urgency as in layout/event_layout.h. */
int worker_report(struct worker *worker, uint32_t type, uint32_t urgency, int32_t code);
/* Test faults under `--teach`: 1 writes to the FIB mapping (SIGSEGV), 2 aborts, 3 writes where
 * nothing is mapped (SIGSEGV), 4 hangs: no packet, no message, until killed. Returns only for an
 * unknown kind (-EINVAL) or when there is no FIB to write to (-ENODEV). */
int worker_fault(struct worker *worker, uint32_t kind);

#endif
