/* The stats object of one worker slot: the only shared memory a worker writes.
 *
 *   +-----------------------------------------------------------------------------------
 *   | identity (64)
 *   | life (64)      pid, heartbeat, state, waiting      <- worker, relaxed/release as said
 *   | seen (64)      generation, t4                       <- worker
 *   | commit (64)    sequence                             <- worker, release: picks the block
 *   | block[0] | block[1]                                 <- worker writes the one NOT picked
 *   | visible[] histograms, drop examples                 <- worker, relaxed, may lag a batch
 *   | wait[]         addresses that packets wait for      <- worker, see struct stats_wait
 *   | doubt (64)     the batch that is open               <- worker, read by its successor
 *   | aside[]        frames that killed a worker twice    <- worker, before the commit that counts
 *   +-----------------------------------------------------------------------------------
 *
 * The commit rule. Counters live twice. After a batch the worker writes the whole new state into
 * block[(sequence + 1) & 1], then stores sequence + 1 with release ordering: one store commits
 * every outcome of the batch. SIGKILL before it leaves the old block, after it the new one;
 * either balances: rx = forwarded + delivered + sum(drops) + held.
 *
 * Reading: s = load_acquire(sequence); copy block[s & 1]; acquire fence; if sequence is still s
 * the copy is whole, else again (stats_read() does this).
 *
 * The object outlives the worker: the supervisor makes it once per slot, and a successor goes on
 * counting where the dead one stopped, from ring_next of the committed block.
 */
#ifndef RC_STATS_LAYOUT_H
#define RC_STATS_LAYOUT_H
#include "base/base.h"
#include "layout/fib_layout.h"
#include "layout/segment_layout.h"

/* Why a packet was dropped: a closed list whose numbers are never reused. */
enum drop_reason {
    DROP_NONE = 0,
#define REASON(name, number, word, what, why, remedy) name = number,
#include "layout/drop_reasons.h"
#undef REASON
    DROP_REASONS = 64,
};

enum worker_state {
    WORKER_STARTING = 0,
    WORKER_BUSY = 1,    /* a batch is open */
    WORKER_POLLING = 2, /* asleep in poll(), no batch open: counts as having seen everything */
    WORKER_QUIESCED = 3,
    WORKER_STOPPED = 4, /* left in order */
};

struct stats_life {
    uint32_t pid;        /* of the current owner; store relaxed at attach */
    uint32_t worker;     /* slot number */
    uint64_t heartbeat;  /* CLOCK_MONOTONIC ns of the last loop turn; relaxed */
    uint32_t state;      /* enum worker_state; release before sleeping */
    uint32_t waiting;    /* 1: holds packets for a neighbour, ring its bell after publishing; relaxed */
    uint32_t restarts;   /* attaches after the first */
    uint32_t unused0;
    uint64_t started_ns;
    uint64_t events_sent;
    uint64_t events_lost; /* queue full; all-time */
    uint64_t unused1;
};
RC_STATIC_ASSERT(sizeof(struct stats_life) == 64, "one line");

struct stats_seen {
    uint64_t generation; /* newest FIB generation a batch began with; release after t4 */
    uint64_t t4_ns;      /* when that batch began */
    uint64_t read_retries;
    uint64_t table;      /* fib_header.born of the FIB these belong to, 0 = none yet; release, after
                            generation was set back to 0 */
    uint64_t unused[4];
};
RC_STATIC_ASSERT(sizeof(struct stats_seen) == 64, "one line");

struct port_counters {
    uint64_t rx;         /* packets in: what passed the port's filter, ring drops included */
    uint64_t rx_bytes;
    uint64_t tx;         /* packets out, all kinds */
    uint64_t tx_bytes;
    uint64_t ring_drops; /* part of rx and of drops[DROP_RX_RING_FULL] */
    uint32_t ring_next;  /* next ring slot to read: where a successor goes on */
    uint32_t ring_first; /* first slot of the batch this commit closed; [first, next) may still
                            have to go back to the kernel: those whose mark equals ring_mark */
    uint32_t ring_mark;  /* nonzero, written to tp_padding of every slot of that batch */
    uint32_t ring_identity; /* of the socket the three above belong to (folded SO_COOKIE) */
    uint32_t unused[2];
};
RC_STATIC_ASSERT(sizeof(struct port_counters) == 64, "one line");

struct stats_block {
    uint64_t rx;         /* = forwarded + delivered + sum(drops) + held */
    uint64_t forwarded;  /* transit and host-port packets handed to an egress port */
    uint64_t delivered;  /* left to the host stack */
    uint64_t held;       /* waiting for a neighbour now */
    uint64_t from_host;  /* of rx: came in on a host port */
    uint64_t to_host;    /* of forwarded: went out on a host port */
    uint64_t icmp_sent;  /* originated here, not part of rx */
    uint64_t icmp_limited; /* errors not sent: token bucket empty */
    uint64_t batches;
    uint64_t gso;        /* of rx: super-frames */
    uint64_t icmp_lost;  /* errors not sent for want of an own address or of a way back */
    uint64_t unused[5];
    uint64_t drops[DROP_REASONS];
    uint64_t batch_size[8]; /* batches of 1, 2-3, 4-7, ... 128+ packets */
    struct port_counters port[FIB_MAX_PORTS];
};
RC_STATIC_ASSERT(sizeof(struct stats_block) % 64 == 0, "whole lines");

struct drop_example { /* the last packet dropped for a reason; relaxed, may be torn: a hint only */
    uint8_t source[16];
    uint8_t target[16];
    uint64_t mono_ns;
    uint8_t family;
    uint8_t protocol;
    uint16_t port;
    uint32_t unused;
    uint64_t reserved[2];
};
RC_STATIC_ASSERT(sizeof(struct drop_example) == 64, "one line");

/* A worker that dies leaves a note of what it was at. The slot's next worker serves the frames of
 * that batch one at a time; who dies with one of them alone has named the frame, and the next
 * worker sets it aside (forward/doubt.c). Relaxed, but `port`, which is stored last (release): what
 * a process stored before it was killed is there for its successor. */
struct stats_doubt {
    uint32_t port;     /* 1 + the port whose batch is open, 0: none */
    uint32_t identity; /* ring_identity of its ring */
    uint32_t slot;     /* where the batch began; ring_next is another one once it is committed */
    uint32_t frames;   /* how many it may have */
    uint32_t careful_port; /* 1 + the port with frames in doubt, 0: none */
    uint32_t careful;      /* so many are still to be served alone */
    uint32_t unused[10];
};
RC_STATIC_ASSERT(sizeof(struct stats_doubt) == 64, "one line");

enum { ASIDE_FRAMES = 4, ASIDE_BYTES = 364 };

struct frame_aside { /* number n (counted from 0 by drops[DROP_SET_ASIDE]) is aside[n % ASIDE_FRAMES] */
    uint64_t mono_ns;
    uint32_t length;   /* on the wire */
    uint32_t captured; /* of them in bytes[] */
    uint32_t port;
    uint8_t bytes[ASIDE_BYTES]; /* from the Ethernet header on */
};
RC_STATIC_ASSERT(sizeof(struct frame_aside) % 64 == 0, "whole lines");
enum { STATS_WAITS = 64 };

/* An address that packets of this worker wait for. Control reads the rows of all workers in turn,
 * so that no queue which another may fill stands between a packet and its neighbour. A row is
 * written anew each time the worker asks (once a second and neighbour), over the row of the same
 * address or else over the next in turn: 64 neighbours a look, ten looks a second. Writing: 0 into
 * asked_ns, release fence, the words, the time with release; so a reader that finds the same time
 * before and after its copy has a whole one. */
struct stats_wait {
    uint64_t asked_ns;   /* CLOCK_MONOTONIC; 0: never used, or being written */
    uint64_t address[2]; /* the bytes in network order */
    uint64_t where;      /* port | family << 16; family 4 or 6 */
    uint64_t unused[4];
};
RC_STATIC_ASSERT(sizeof(struct stats_wait) == 64, "one line");

enum { STATS_BUCKETS = 40 }; /* bucket i counts times in [2^i, 2^(i+1)) ns */

struct stats_object {
    struct segment_identity identity;
    struct stats_life life;
    struct stats_seen seen;
    uint64_t sequence; /* the commit word; release */
    uint64_t unused[7];
    struct stats_block block[2];
    uint64_t visible[STATS_BUCKETS]; /* t4 - t0 of the generations this worker was first to see */
    struct drop_example example[DROP_REASONS];
    struct stats_wait wait[STATS_WAITS];
    struct stats_doubt doubt;
    struct frame_aside aside[ASIDE_FRAMES];
};
RC_STATIC_ASSERT(offsetof(struct stats_object, block) % 64 == 0, "blocks on lines");

/* What the layout identity is made of, see layout/identity.h. */
#define STATS_LAYOUT                                                                             \
    LAYOUT_STRUCT(stats_life, pid, worker, heartbeat, state, waiting, restarts, unused0,         \
                  started_ns, events_sent, events_lost, unused1)                                 \
    LAYOUT_STRUCT(stats_seen, generation, t4_ns, read_retries, table, unused)                    \
    LAYOUT_STRUCT(port_counters, rx, rx_bytes, tx, tx_bytes, ring_drops, ring_next, ring_first,  \
                  ring_mark, ring_identity, unused)                                              \
    LAYOUT_STRUCT(stats_block, rx, forwarded, delivered, held, from_host, to_host, icmp_sent,    \
                  icmp_limited, batches, gso, icmp_lost, unused, drops, batch_size, port)        \
    LAYOUT_STRUCT(drop_example, source, target, mono_ns, family, protocol, port, unused,         \
                  reserved)                                                                      \
    LAYOUT_STRUCT(stats_doubt, port, identity, slot, frames, careful_port, careful, unused)      \
    LAYOUT_STRUCT(frame_aside, mono_ns, length, captured, port, bytes)                           \
    LAYOUT_STRUCT(stats_wait, asked_ns, address, where, unused)                                  \
    LAYOUT_STRUCT(stats_object, identity, life, seen, sequence, unused, block, visible,          \
                  example, wait, doubt, aside)                                                   \
    LAYOUT_NUMBER(DROP_REASONS) LAYOUT_NUMBER(STATS_BUCKETS) LAYOUT_NUMBER(FIB_MAX_PORTS)        \
    LAYOUT_NUMBER(STATS_WAITS) LAYOUT_NUMBER(ASIDE_FRAMES) LAYOUT_NUMBER(ASIDE_BYTES)

#endif
