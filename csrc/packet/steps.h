/* The steps of packet_parse(), for its own files alone: cffi does not read this. */
#ifndef RC_PACKET_STEPS_H
#define RC_PACKET_STEPS_H
#include "layout/stats_layout.h"
#include "packet/packet.h"

/* The last step: martians, link scope, broadcasts, frames cut by their slot. Expects family,
 * addresses, station, host_port and lengths filled; returns an enum packet_verdict. */
int packet_classify(struct packet *packet);

static inline int packet_drop(struct packet *packet, uint32_t reason)
{
    packet->drop = (uint8_t)reason;
    return PACKET_DROP;
}

/* For this host it may be, further it does not go. */
static inline int packet_local_or(struct packet *packet, uint32_t reason)
{
    packet->drop = (uint8_t)reason;
    return PACKET_LOCAL;
}

#endif
