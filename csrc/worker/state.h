/* struct worker: the state of a worker, for worker.c and loop.c alone. */
#ifndef RC_WORKER_STATE_H
#define RC_WORKER_STATE_H
#include "forward/forward.h"
#include "worker/worker.h"

struct worker {
    struct worker_config config;
    struct forwarder f;
    struct fib_reader reader;
    void *fib;                 /* mapping, NULL: none */
    uint64_t fib_size;
    uint64_t stats_size;
    uint64_t gap_ns;           /* usual time between two turns with frames */
    uint64_t last_frames_ns;
    uint64_t next_tick_ns;     /* ring drops, lost events */
    uint64_t next_look_ns;     /* at channel and signals while busy */
    uint64_t paused_ns[FIB_MAX_PORTS]; /* not polled until then: its socket reports an error */
    uint64_t frame_ns;         /* usual time between two frames while there are any */
    uint64_t stray_ns;         /* since when poll() says frames and the rings say none; 0: not */
    uint32_t first_port;       /* served first in the next turn */
    uint32_t quiesced;
};

#endif
