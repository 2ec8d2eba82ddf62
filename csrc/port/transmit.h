/* Sends a batch: new headers from scratch memory, the rest of each frame from where it lies.
 *
 *   item:  iov[0] = scratch [vnet | Ethernet | IP header]     built by packet_rewrite()
 *          iov[1] = frame + what the scratch replaces         in the ring, the hold queue, ...
 *
 * Use: transmit_begin(), transmit_add() for each packet (the frame stays where it is until the
 * flush), transmit_flush(), then outcome(i): DROP_NONE sent, else why not. One sendmmsg() a
 * port, never blocking: a partial send goes on behind the packet that failed, and after
 * TRANSMIT_FAILURES of them in a row the port gets no more of this batch, so that a dead egress
 * port cannot slow the others. Packets of one port leave in the order they were added.
 *
 * Private memory of one worker; the sockets are the caller's.
 */
#ifndef RC_TRANSMIT_H
#define RC_TRANSMIT_H
#include <sys/socket.h>

#include "base/base.h"
#include "layout/fib_layout.h"
#include "layout/stats_layout.h"
#include "packet/packet.h"

enum { TRANSMIT_FAILURES = 8 };

struct transmit {
    struct mmsghdr message[BATCH_MAX]; /* built for one port at a time */
    struct iovec part[BATCH_MAX][2];
    uint8_t scratch[BATCH_MAX][PACKET_REWRITE_ROOM];
    uint32_t bytes[BATCH_MAX];         /* of the frame on the wire */
    uint16_t port[BATCH_MAX];
    uint8_t outcome[BATCH_MAX];        /* enum drop_reason */
    uint16_t order[BATCH_MAX];
    uint32_t count;
    uint32_t ports;                    /* bit set: ports that have items */
    int32_t error[FIB_MAX_PORTS];      /* last errno of a port in this flush, 0: none */
};

void transmit_begin(struct transmit *transmit);
/* Where a packet goes: out of `port` (the caller has checked it), between these stations. */
struct transmit_way {
    const uint8_t *target_mac;
    const uint8_t *source_mac;
    uint16_t port;
};
/* Index of the new item. The caller adds at most BATCH_MAX. */
uint32_t transmit_add(struct transmit *transmit, const struct packet *packet,
                      const struct transmit_way *way, int decrement_ttl);
/* Sends everything; fd[port] < 0: the port is gone (DROP_PORT_DOWN). */
void transmit_flush(struct transmit *transmit, const int32_t fd[FIB_MAX_PORTS]);

#endif
