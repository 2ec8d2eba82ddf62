/* A TPACKET_V2 receive ring: take frames out, give slots back, go on where a dead worker stopped.
 *
 *   slot:  | tpacket2_hdr | sockaddr_ll | ... | vnet 10 | Ethernet | IP ...        |
 *            tp_status  tp_padding = mark              ^tp_mac    ^tp_net
 *
 *          first            taken            next
 *     ... | USER | USER | USER | USER | USER | USER(new) | KERNEL ...
 *           `---- the batch, marked ----'
 *
 * Use, a batch: ring_begin(); ring_take() until it says 0 or the batch is full; process; send;
 * copy ring_next, ring_first, ring_mark into the port's counters and commit; ring_release().
 * A successor calls ring_resume() with the committed counters instead: slots of [first, next)
 * that are still the reader's and wear the committed mark had been counted and only not handed
 * back, so it does that and starts at next. Slots taken but not committed are read again.
 *
 * Ring memory is never written but for tp_status and the mark, because the batch may have to be
 * read again. The mark lies in tp_padding: the kernel zeroes it whenever it fills a slot, before
 * it sets tp_status, so a slot that is the reader's wears either its own batch's mark or none.
 *
 * The ring is shared with the kernel alone: one reader at a time.
 */
#ifndef RC_RING_H
#define RC_RING_H
#include "layout/stats_layout.h"
#include "port/socket.h"

/* Where the kernel puts the Ethernet header in a slot; what the slot cannot hold behind it is cut. */
enum { RING_FRAME_AT = 76 };

struct ring {
    uint8_t *base;      /* mapped; NULL: no ring */
    struct ring_geometry geometry;
    uint32_t first;     /* first slot of the open batch */
    uint32_t next;      /* next slot to look at */
    uint32_t mark;      /* of the open batch; never 0 */
    uint32_t taken;     /* slots of the open batch */
};

struct ring_frame {
    const uint8_t *frame;  /* Ethernet header */
    const uint8_t *vnet;   /* the 10 bytes in front of it */
    uint32_t captured;     /* bytes at frame */
    uint32_t wire_length;
    uint32_t station;      /* sll_pkttype */
    uint32_t losing;       /* 1: PACKET_STATISTICS has drops to tell */
};

/* `base` is geometry->bytes of ring memory. Starts at slot 0 of a fresh ring. */
void ring_open(struct ring *ring, uint8_t *base, const struct ring_geometry *geometry);
/* Starts where the committed counters of a former owner say; returns slots handed back.
 * Counters that do not fit this ring (another geometry) are ignored. */
uint32_t ring_resume(struct ring *ring, const struct port_counters *committed);
void ring_begin(struct ring *ring);
/* The next frame of the batch: 1, or 0 when the kernel has filled no more. A frame whose slot
 * offsets make no sense comes out with captured 0. */
int ring_take(struct ring *ring, struct ring_frame *out);
/* Hands all slots of the open batch back to the kernel. After the commit. */
void ring_release(struct ring *ring);
/* 1 when the next slot holds a frame. */
int ring_ready(const struct ring *ring);
/* poll() says there are frames, but not at `next`: moves to the first filled slot, if any. Never
 * needed unless somebody else touched the ring; returns slots skipped. */
uint32_t ring_resync(struct ring *ring);

#endif
