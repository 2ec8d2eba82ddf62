/* Packets that have to wait for a neighbour, and asking for it. See forward.h. */
#include <string.h>

#include "forward/forward.h"

static void ask_control(struct forwarder *f, const struct hold_key *key)
{
    if (!bucket_take(&f->misses, f->now_ns))
        return; /* asked again in a second, as long as packets wait */
    struct event_payload payload = {.port = key->port, .family = key->family};
    memcpy(payload.address, key->address, sizeof payload.address);
    /* The row is what counts; the event in the queue may be lost to whoever fills it. */
    waits_note(&f->waits, key->port, key->family, key->address, f->now_ns);
    event_wake(&f->events);
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

void forward_hold(struct forwarder *f, const struct work *work, const struct fib_answer *answer)
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
