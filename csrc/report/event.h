/* Events to control: a worker's end of the SysV queue, and the eventfd (the bell) beside it.
 *
 * Use: event_send() whenever something changed state, event_flush() once a batch. The first
 * never blocks; the second rings control's bell (an eventfd, because nobody can poll a SysV
 * queue) once for whatever was queued since the last flush, so a batch costs one wake-up.
 *
 * A full queue drops by class: URGENCY_FAULT may fill it, all other classes stop when three
 * quarters of its bytes are taken, so that a storm of neighbour misses leaves room for a fault.
 * What was dropped is counted in the stats object and told by one EVENT_LOST as soon as there
 * is room. The sequence counts attempts: a gap seen by the receiver is a loss.
 *
 * One sender per process; private memory but for the two counters in struct stats_life.
 */
#ifndef RC_EVENT_H
#define RC_EVENT_H
#include "layout/event_layout.h"
#include "layout/stats_layout.h"

struct event_sender {
    struct stats_life *life; /* events_sent, events_lost: relaxed */
    uint64_t sequence;
    uint64_t unannounced;    /* lost since the last EVENT_LOST that was queued */
    int32_t queue;           /* msqid, or -1: every event is lost */
    int32_t bell;            /* eventfd of control, or -1 */
    uint32_t worker;
    uint32_t queued;         /* since the last ring of the bell */
};

void event_open(struct event_sender *sender, struct stats_life *life, int queue, int bell,
                uint32_t worker);
/* 0 queued; -EAGAIN no room for its class; other -errno: the queue is gone. All but 0 are lost. */
int event_send(struct event_sender *sender, uint32_t type, uint32_t urgency,
               const struct event_payload *payload, uint64_t now_ns);
/* Announces losses if there is room now, and rings the bell if anything was queued. */
void event_flush(struct event_sender *sender, uint64_t now_ns);

#endif
