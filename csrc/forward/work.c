/* One pass over a batch of packets, wherever they came from. See forward.h. */
#include <errno.h>
#include <string.h>

#include "base/monotonic.h"
#include "forward/forward.h"

static void count_sent(struct forwarder *f, const struct work *work)
{
    const struct transmit *t = &f->transmit;
    struct stats_block *now = &f->stats.now;
    uint32_t port = t->port[work->item];
    if (t->outcome[work->item] != DROP_NONE) {
        forward_drop(f, work, t->outcome[work->item]);
        return;
    }
    now->port[port].tx++;
    now->port[port].tx_bytes += t->bytes[work->item];
    if (forward_ours(f, work))
        now->icmp_sent++;
    if (forward_counts(f, work)) {
        now->forwarded++;
        now->to_host += f->port[port].kind == PORT_KIND_HOST;
    }
}

static void tell_port_errors(struct forwarder *f)
{
    for (uint32_t port = 0; port < FIB_MAX_PORTS; port++) {
        int32_t error = f->transmit.error[port];
        if (error == 0 || error == EAGAIN || error == ENOBUFS ||
            f->now_ns - f->port[port].error_told_ns < NS_PER_S)
            continue;
        f->port[port].error_told_ns = f->now_ns;
        struct event_payload payload = {.port = (uint16_t)port, .code = error};
        event_send(&f->events, EVENT_PORT_ERROR, URGENCY_LINK, &payload, f->now_ns);
    }
}

static void send_and_count(struct forwarder *f, uint32_t n)
{
    if (f->transmit.count == 0)
        return;
    transmit_flush(&f->transmit, f->fd);
    for (uint32_t i = 0; i < n; i++)
        if (f->work[i].item != NO_ITEM)
            count_sent(f, &f->work[i]);
    tell_port_errors(f);
}

void forward_work(struct forwarder *f, uint32_t n)
{
    uint32_t asked = 0;
    uint64_t generation = 0;
    transmit_begin(&f->transmit);
    for (uint32_t i = 0; i < n; i++) {
        struct work *work = &f->work[i];
        work->item = NO_ITEM;
        if (work->packet.verdict == PACKET_DELIVER) {
            forward_deliver(f, work);
        } else if (work->packet.verdict == PACKET_DROP) {
            forward_drop(f, work, work->packet.drop);
        } else {
            struct fib_key *key = &f->key[asked];
            memcpy(key->address, work->packet.target, sizeof key->address);
            key->hash = work->packet.hash;
            key->family = work->packet.family;
            f->asked[asked++] = (uint16_t)i;
        }
    }
    if (asked == 0)
        return;
    int error = f->fib == NULL ? -ENODEV
                               : fib_lookup(f->fib, f->key, f->answer, asked, &generation);
    f->lookups++;
    if (error == 0)
        f->named = generation;
    for (uint32_t i = 0; i < asked; i++) {
        if (error == 0)
            forward_decide(f, &f->work[f->asked[i]], &f->answer[i]);
        else
            forward_drop(f, &f->work[f->asked[i]], DROP_FIB_UNAVAILABLE);
    }
    send_and_count(f, n);
}

/* Our own errors, as work: parsed as if they came from the host, so that our addresses are no
 * martians and the fresh TTL stays. */
static void take_error(struct forwarder *f, const struct own_error *error, struct work *work)
{
    work->origin = ORIGIN_OWN;
    work->ingress = error->ingress;
    packet_parse(&work->packet, error->frame, error->length, error->length, NULL, STATION_HOST,
                 f->seed, 1);
}

void forward_errors(struct forwarder *f)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->errors; i++)
        if (!f->error[i].to_ingress)
            take_error(f, &f->error[i], &f->work[n++]);
    forward_work(f, n);
    n = 0;
    transmit_begin(&f->transmit);
    for (uint32_t i = 0; i < f->errors; i++) {
        const struct own_error *error = &f->error[i];
        if (!error->to_ingress)
            continue;
        if (f->fd[error->ingress] < 0) {
            f->stats.now.icmp_lost++;
            continue;
        }
        const struct transmit_way way = {error->target_mac, error->source_mac, error->ingress};
        struct work *work = &f->work[n++];
        take_error(f, error, work);
        work->item = transmit_add(&f->transmit, &work->packet, &way, 0);
    }
    send_and_count(f, n);
    f->errors = 0;
}
