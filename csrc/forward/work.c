/* One pass over a batch of packets: look up, decide, send, count. See forward.h. */
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
    bool fresh = work->origin == ORIGIN_RING; /* as most are: of rx, and not held */
    if (!fresh && forward_ours(f, work))
        now->icmp_sent++;
    if (fresh || forward_counts(f, work)) {
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

static void send_batch(struct forwarder *f, uint32_t n)
{
    if (f->transmit.count == 0)
        return;
    transmit_flush(&f->transmit, f->fd);
    for (uint32_t i = 0; i < n; i++)
        if (f->work[i].item != NO_ITEM)
            count_sent(f, &f->work[i]);
    tell_port_errors(f);
}

/* Short of sending, which happens for the whole batch at once. */
static void carry_out(struct forwarder *f, struct work *work)
{
    const struct decision *decision = &work->decision;
    const struct fib_answer *answer = &f->lookup.answer[work->answer];
    work->item = NO_ITEM;
    switch (decision->outcome) {
    case DECISION_SEND: {
        const struct transmit_way way = {answer->target_mac, answer->source_mac, answer->port};
        work->item = transmit_add(&f->transmit, &work->packet, &way, !work->packet.host_port);
        return;
    }
    case DECISION_DELIVER:
        forward_deliver(f, work);
        return;
    case DECISION_HOLD:
        forward_hold(f, work, answer);
        return;
    default:
        if (decision->error != 0)
            forward_raise_error(f, work); /* first: dropping a held packet frees its bytes */
        forward_drop(f, work, decision->reason);
        return;
    }
}

void forward_work(struct forwarder *f, uint32_t n)
{
    const struct decide_state state = {f->fib, &f->own, f->open_ports, 0};
    transmit_begin(&f->transmit);
    if (decide_batch(&state, f->work, n, &f->lookup) != 0) {
        f->lookups++;
        if (f->lookup.generation != 0)
            f->named = f->lookup.generation;
    }
    for (uint32_t i = 0; i < n; i++)
        carry_out(f, &f->work[i]);
    send_batch(f, n);
}

/* Over a host port: back to whom the offending frame came from. */
static void send_back(struct forwarder *f)
{
    uint32_t n = 0;
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
        decide_own(error, f->seed, work);
        work->item = transmit_add(&f->transmit, &work->packet, &way, 0);
    }
    send_batch(f, n);
}

void forward_errors(struct forwarder *f)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->errors; i++)
        if (!f->error[i].to_ingress)
            decide_own(&f->error[i], f->seed, &f->work[n++]);
    forward_work(f, n);
    send_back(f);
    f->errors = 0;
}
