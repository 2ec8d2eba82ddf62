/* Events to control: the SysV queue, and the bell beside it.
 *
 * Use: event_send() whenever something changed state, event_flush() once a batch. The first
 * never blocks; the second rings control's bell (because nobody can poll a SysV queue) once for
 * whatever was queued since the last flush, so a batch costs one wake-up. Control takes all that
 * is there with event_receive(), whoever sent it.
 *
 * The bell is a pair of datagram sockets, one end each, rung with MSG_DONTWAIT: whether a call may
 * block is said by the caller. An eventfd is one open file for both sides, so that the other one
 * could make it blocking, fill it, and stop whoever rings next.
 *
 * A full queue drops by class: URGENCY_FAULT may fill it, all other classes stop when three
 * quarters of its bytes are taken, so that a storm of neighbour misses leaves room for a fault.
 * What was dropped is counted in the stats object and told by one EVENT_LOST as soon as there
 * is room. The sequence counts attempts: a gap seen by the receiver is a loss.
 *
 * One sender per process; private memory but for the two counters in struct stats_life. Nothing
 * in the queue says who sent it: a record's `worker` is its sender's word.
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
    int32_t bell;            /* our end, or -1 */
    uint32_t worker;
    uint32_t queued;         /* news since the last ring of the bell */
};

struct event_arrival {
    int64_t urgency; /* its mtype: any positive number */
    uint64_t length; /* EVENT_SIZE, or it is none of ours; a longer one was cut */
    struct event_record record;
};

void event_open(struct event_sender *sender, struct stats_life *life, int queue, int bell,
                uint32_t worker);
/* 0 queued; -EAGAIN no room for its class; other -errno: the queue is gone. All but 0 are lost. */
int event_send(struct event_sender *sender, uint32_t type, uint32_t urgency,
               const struct event_payload *payload, uint64_t now_ns);
/* The stats object says something that control should look at soon: the next flush rings. */
void event_wake(struct event_sender *sender);
/* Announces losses if there is room now, and rings the bell if there is news. */
void event_flush(struct event_sender *sender, uint64_t now_ns);
/* Rings a bell: 0; -EAGAIN: it has been rung and not been heard yet; another -errno: nobody hears. */
int bell_ring(int bell);
/* Takes note of up to BELL_HEARD rings, how often does not matter. */
enum { BELL_HEARD = 16 };
void bell_hear(int bell);

/* Takes up to `most` messages, the lowest mtype first, of whatever type and length: what nobody
 * takes would stay and fill the queue. How many, or -errno when there are none to be had. */
int event_receive(int queue, struct event_arrival *out, uint32_t most);

#endif
