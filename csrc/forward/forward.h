/* One batch: decide (decide.h) -> rewrite -> send -> commit -> slots back.
 *
 *   ring slots --+                         +-> delivered (the host stack has its own copy)
 *   held packets +-> work[] -> decisions ->+-> transmit -> forwarded, or a drop
 *   own errors --+                         +-> hold queue (neighbour unknown; an event asks)
 *                                          +-> a drop, and perhaps an ICMP error of ours
 *
 * Use: forward_frames() for each port with frames, forward_held() when control has news or time
 * has passed. Each ends in one commit, so at any instant the committed counters say
 * rx = forwarded + delivered + sum(drops) + held. ICMP errors go through the same work array
 * after the batch that caused them; they are no part of rx.
 *
 * Private state of one worker process, nothing in it is shared but what its pointers lead to:
 * the FIB mapping (read only), the stats object, the rings. No allocation after forward_open().
 */
#ifndef RC_FORWARD_H
#define RC_FORWARD_H
#include "decide/decide.h"
#include "forward/hold.h"
#include "forward/limiter.h"
#include "port/ring.h"
#include "port/socket.h"
#include "port/transmit.h"
#include "report/event.h"
#include "report/stats.h"
#include "report/waits.h"

enum { ERRORS_MAX = 32 }; /* ICMP errors one batch may cause; more are counted as limited */

static const uint32_t NO_ITEM = UINT32_MAX; /* struct work, item */

struct forward_port {
    struct ring ring;       /* base NULL: no such port */
    uint32_t kind;          /* enum port_kind */
    uint32_t unread;        /* 1: frames came since PACKET_STATISTICS was read */
    uint64_t error_told_ns; /* when EVENT_PORT_ERROR was last sent */
};

struct forwarder {
    struct stats_writer stats;
    struct event_sender events;
    struct wait_table waits;
    struct fib_reader *fib;     /* NULL: no FIB yet */
    struct hold_queue hold;
    struct source_limiter limiter;
    struct token_bucket misses; /* neighbour events a second, whatever the number of hosts */
    struct forward_port port[FIB_MAX_PORTS];
    int32_t fd[FIB_MAX_PORTS];  /* -1: none */
    uint32_t open_ports;        /* bit i: fd[i] is there */
    struct own_addresses own;   /* as of some generation not long ago */
    uint64_t own_read_ns;       /* when */
    uint64_t own_generation;    /* it was read at, or is to be read again after; 0: never read */
    uint64_t seed;
    uint64_t now_ns;            /* read once a batch */
    uint64_t hold_timeout_ns;
    uint64_t generation;        /* newest seen, private copy of seen.generation */
    uint64_t named;             /* by this batch's last lookup that was answered, 0: none */
    uint64_t lookups;           /* of this batch, answered or not */
    uint64_t held_generation;   /* newest when the held packets were looked up */
    uint64_t held_ns;           /* and when */
    uint64_t examples;          /* drop reasons that have an example in this batch */
    struct work work[BATCH_MAX];
    struct lookup lookup;
    struct transmit transmit;
    struct own_error error[ERRORS_MAX];
    uint32_t errors;
    uint32_t teach; /* 1: frames may be poisoned (poison.h) */
};

/* Up to `budget` frames of one port (at most BATCH_MAX). Returns how many. */
uint32_t forward_frames(struct forwarder *f, uint32_t port, uint32_t budget);
/* Looks every held packet up again, sends what can go, gives up what is too old. */
void forward_held(struct forwarder *f);
/* 1 when forward_held() is due: a new generation, or 100 ms since the last time. */
int forward_held_due(const struct forwarder *f, uint64_t now_ns);
/* Gives every held packet up (an orderly stop) and commits. */
void forward_abandon(struct forwarder *f, enum drop_reason reason);
/* Reads PACKET_STATISTICS of a port into rx and drops[DROP_RX_RING_FULL]; commits if any. */
void forward_ring_drops(struct forwarder *f, uint32_t port);

/* ---- between the files of forward/ ---- */

/* work.c: decides on work[0..n), does it, sends and counts it. */
void forward_work(struct forwarder *f, uint32_t n);
/* wait.c: copies a packet into the hold queue, or leaves a held one there; asks control
 * for the neighbour. */
void forward_hold(struct forwarder *f, const struct work *work, const struct fib_answer *answer);
/* error.c: builds the ICMP error that work->decision names into error[], if it may be
 * sent. Before the packet is dropped, which frees the bytes of a held one. */
void forward_raise_error(struct forwarder *f, const struct work *work);
/* work.c: sends the errors raised so far; they may land in the hold queue. */
void forward_errors(struct forwarder *f);
/* account.c: true when the packet is one of rx, to be counted now; a held one leaves
 * the queue. */
bool forward_counts(struct forwarder *f, const struct work *work);
void forward_drop(struct forwarder *f, const struct work *work, uint32_t reason);
void forward_deliver(struct forwarder *f, const struct work *work);
/* account.c: true for an ICMP error of ours, held or not. */
bool forward_ours(const struct forwarder *f, const struct work *work);

#endif
