/* What becomes of one packet once its lookup is known. See forward.h. */
#include <string.h>

#include "forward/forward.h"

/* ---- the hold queue ---- */

static void ask_control(struct forwarder *f, const struct hold_key *key)
{
    if (!bucket_take(&f->misses, f->now_ns))
        return; /* asked again in a second, as long as packets wait */
    struct event_payload payload = {.port = key->port, .family = key->family};
    memcpy(payload.address, key->address, sizeof payload.address);
    event_send(&f->events, EVENT_NEIGHBOUR_MISS, URGENCY_NEIGHBOUR, &payload, f->now_ns);
}

static struct hold_key neighbour_key(const struct packet *packet, const struct fib_answer *answer)
{
    struct hold_key key = {.port = answer->port, .family = packet->family};
    /* Glean: the destination itself has to answer. */
    bool direct = answer->kind == FIB_KIND_GLEAN || answer->family == 0;
    memcpy(key.address, direct ? packet->target : answer->nexthop, sizeof key.address);
    if (!direct)
        key.family = answer->family;
    return key;
}

static void hold(struct forwarder *f, const struct work *work, const struct fib_answer *answer)
{
    if (work->origin == ORIGIN_HELD) { /* stays */
        if (hold_ask(&f->hold, work->entry, f->now_ns)) {
            struct hold_key key = neighbour_key(&work->packet, answer);
            ask_control(f, &key);
        }
        return;
    }
    struct hold_key key = neighbour_key(&work->packet, answer);
    struct hold_outcome outcome;
    uint8_t originated = work->origin == ORIGIN_OWN;
    if (hold_put(&f->hold, &work->packet, work->ingress, originated, &key, f->now_ns, &outcome) !=
        0) {
        forward_drop(f, work, DROP_NEIGHBOUR_QUEUE_FULL);
        return;
    }
    f->stats.now.held += originated == 0;
    f->stats.now.held -= outcome.evicted;
    f->stats.now.drops[DROP_NEIGHBOUR_QUEUE_FULL] += outcome.evicted;
    f->stats.now.icmp_lost += outcome.evicted_own;
    if (outcome.ask)
        ask_control(f, &key);
    store_relaxed32(&f->stats.object->life.waiting, 1);
}

/* ---- deciding ---- */

static void refuse(struct forwarder *f, const struct work *work, uint32_t reason, uint32_t what,
                   uint32_t info)
{
    forward_raise_error(f, work, what, info); /* first: dropping a held packet frees its bytes */
    forward_drop(f, work, reason);
}

static void send_on(struct forwarder *f, struct work *work, const struct fib_answer *answer)
{
    const struct packet *packet = &work->packet;
    bool decrement = work->origin != ORIGIN_OWN && !packet->host_port;
    if (decrement && packet->ttl <= 1) {
        refuse(f, work, DROP_TTL_EXPIRED, ICMP_ERROR_TIME_EXCEEDED, 0);
        return;
    }
    if (answer->kind == FIB_KIND_GLEAN || answer->state == ADJACENCY_INCOMPLETE) {
        hold(f, work, answer);
        return;
    }
    if (answer->state != ADJACENCY_RESOLVED) {
        refuse(f, work, DROP_UNREACHABLE, ICMP_ERROR_UNREACHABLE, 0);
        return;
    }
    if (answer->port >= FIB_MAX_PORTS || f->fd[answer->port] < 0) {
        forward_drop(f, work, DROP_PORT_DOWN);
        return;
    }
    if (answer->mtu != 0 && packet_too_big(packet, answer->mtu)) {
        if (packet->dont_fragment)
            refuse(f, work, DROP_TOO_BIG, ICMP_ERROR_TOO_BIG, answer->mtu);
        else
            forward_drop(f, work, DROP_FRAGMENT_NEEDED);
        return;
    }
    const struct transmit_way way = {answer->target_mac, answer->source_mac, answer->port};
    work->item = transmit_add(&f->transmit, packet, &way, decrement);
}

void forward_decide(struct forwarder *f, struct work *work, const struct fib_answer *answer)
{
    const struct packet *packet = &work->packet;
    if (packet->verdict == PACKET_LOCAL) {
        if (answer->kind == FIB_KIND_RECEIVE || answer->kind == FIB_KIND_BROADCAST)
            forward_deliver(f, work);
        else
            forward_drop(f, work, packet->drop);
        return;
    }
    switch (answer->kind) {
    case FIB_KIND_FORWARD:
    case FIB_KIND_GLEAN:
        send_on(f, work, answer);
        return;
    case FIB_KIND_RECEIVE:
        if (packet->host_port)
            forward_drop(f, work, DROP_SAME_HOST);
        else
            forward_deliver(f, work);
        return;
    case FIB_KIND_BLACKHOLE:
        forward_drop(f, work, DROP_BLACKHOLE);
        return;
    case FIB_KIND_UNREACHABLE:
        refuse(f, work, DROP_UNREACHABLE, ICMP_ERROR_UNREACHABLE, 0);
        return;
    case FIB_KIND_PROHIBIT:
        refuse(f, work, DROP_PROHIBITED, ICMP_ERROR_PROHIBITED, 0);
        return;
    case FIB_KIND_BROADCAST:
        forward_drop(f, work, DROP_BROADCAST);
        return;
    default:
        refuse(f, work, DROP_NO_ROUTE, ICMP_ERROR_NO_ROUTE, 0);
        return;
    }
}
