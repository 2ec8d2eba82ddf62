/* What becomes of a packet. See decide.h. */
#include "decide/decide.h"

#include <errno.h>
#include <string.h>

#include "layout/stats_layout.h"

/* Nobody else may send from an address of ours (RFC 1812 5.3.8): forged, or a loop. Not asked for
 * link scope, which is the host stack's to look at, nor of packets of this machine itself. */
static bool forged(const struct work *work, const struct own_addresses *own)
{
    return work->origin == ORIGIN_RING && !work->packet.host_port &&
           own_addresses_has(own, work->packet.family, work->packet.source);
}

static struct decision drop(uint32_t stage, uint32_t reason)
{
    return (struct decision){
        .outcome = DECISION_DROP, .stage = (uint8_t)stage, .reason = (uint8_t)reason};
}

static struct decision refuse(uint32_t stage, uint32_t reason, uint32_t error)
{
    return (struct decision){.outcome = DECISION_DROP,
                             .stage = (uint8_t)stage,
                             .reason = (uint8_t)reason,
                             .error = (uint8_t)error};
}

static struct decision deliver(uint32_t stage)
{
    return (struct decision){.outcome = DECISION_DELIVER, .stage = (uint8_t)stage};
}

/* A route leads on. Packets of this machine, its own errors too, leave with their TTL as it is. */
static struct decision decide_way(const struct packet *packet, const struct fib_answer *answer,
                                  uint32_t open_ports)
{
    if (!packet->host_port && packet->ttl <= 1)
        return refuse(STAGE_TTL, DROP_TTL_EXPIRED, ICMP_ERROR_TIME_EXCEEDED);
    if (answer->kind == FIB_KIND_GLEAN || answer->state == ADJACENCY_INCOMPLETE)
        return (struct decision){.outcome = DECISION_HOLD, .stage = STAGE_NEIGHBOUR};
    if (answer->state != ADJACENCY_RESOLVED)
        return refuse(STAGE_NEIGHBOUR, DROP_UNREACHABLE, ICMP_ERROR_UNREACHABLE);
    if (answer->port >= FIB_MAX_PORTS || (open_ports >> answer->port & 1) == 0)
        return drop(STAGE_PORT, DROP_PORT_DOWN);
    /* No segment is larger than the whole: most packets are not asked further. */
    if (packet->l3_length > answer->mtu && answer->mtu != 0 && packet_too_big(packet, answer->mtu)) {
        if (!packet->dont_fragment)
            return drop(STAGE_MTU, DROP_FRAGMENT_NEEDED);
        struct decision told = refuse(STAGE_MTU, DROP_TOO_BIG, ICMP_ERROR_TOO_BIG);
        told.mtu = answer->mtu;
        return told;
    }
    return (struct decision){.outcome = DECISION_SEND, .stage = STAGE_SEND};
}

static struct decision decide_packet(const struct packet *packet, const struct fib_answer *answer,
                                     uint32_t open_ports)
{
    if (packet->verdict == PACKET_LOCAL) {
        if (answer->kind == FIB_KIND_RECEIVE || answer->kind == FIB_KIND_BROADCAST)
            return deliver(STAGE_LOCAL);
        return drop(STAGE_LOCAL, packet->drop);
    }
    switch (answer->kind) {
    case FIB_KIND_FORWARD:
    case FIB_KIND_GLEAN:
        return decide_way(packet, answer, open_ports);
    case FIB_KIND_RECEIVE:
        return packet->host_port ? drop(STAGE_LOCAL, DROP_SAME_HOST) : deliver(STAGE_LOCAL);
    case FIB_KIND_BLACKHOLE:
        return drop(STAGE_LOOKUP, DROP_BLACKHOLE);
    case FIB_KIND_UNREACHABLE:
        return refuse(STAGE_LOOKUP, DROP_UNREACHABLE, ICMP_ERROR_UNREACHABLE);
    case FIB_KIND_PROHIBIT:
        return refuse(STAGE_LOOKUP, DROP_PROHIBITED, ICMP_ERROR_PROHIBITED);
    case FIB_KIND_BROADCAST:
        return drop(STAGE_LOOKUP, DROP_BROADCAST);
    default:
        return refuse(STAGE_LOOKUP, DROP_NO_ROUTE, ICMP_ERROR_NO_ROUTE);
    }
}

/* Decides what needs no lookup; the others become keys. */
static uint32_t collect(const struct own_addresses *own, struct work *work, uint32_t n,
                        struct lookup *lookup)
{
    uint32_t asked = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct packet *packet = &work[i].packet;
        if (packet->verdict == PACKET_DELIVER) {
            work[i].decision = deliver(STAGE_PARSE);
        } else if (packet->verdict == PACKET_DROP) {
            work[i].decision = drop(STAGE_PARSE, packet->drop);
        } else if (forged(&work[i], own)) {
            work[i].decision = drop(STAGE_SOURCE, DROP_BAD_SOURCE);
        } else {
            struct fib_key *key = &lookup->key[asked];
            memcpy(key->address, packet->target, sizeof key->address);
            key->hash = packet->hash;
            key->family = packet->family;
            work[i].answer = (uint16_t)asked;
            lookup->asked[asked++] = (uint16_t)i;
        }
    }
    return asked;
}

uint32_t decide_batch(const struct decide_state *state, struct work *work, uint32_t n,
                      struct lookup *lookup)
{
    uint32_t asked = collect(state->own, work, n, lookup);
    lookup->generation = 0;
    if (asked == 0)
        return 0;
    int error = state->fib == NULL ? -ENODEV
                                   : fib_lookup(state->fib, lookup->key, lookup->answer, asked,
                                                &lookup->generation);
    if (error != 0) {
        lookup->generation = 0;
        for (uint32_t i = 0; i < asked; i++)
            work[lookup->asked[i]].decision = drop(STAGE_LOOKUP, DROP_FIB_UNAVAILABLE);
        return asked;
    }
    for (uint32_t i = 0; i < asked; i++) {
        struct work *one = &work[lookup->asked[i]];
        one->decision = decide_packet(&one->packet, &lookup->answer[i], state->open_ports);
    }
    return asked;
}
