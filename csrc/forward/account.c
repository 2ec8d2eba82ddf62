/* Counts what became of each packet: every packet of rx has exactly one outcome. See forward.h. */
#include <string.h>

#include "forward/forward.h"

static void show_example(struct forwarder *f, uint32_t reason, const struct work *work)
{
    uint64_t bit = (uint64_t)1 << reason;
    if ((f->examples & bit) != 0)
        return; /* one a batch is enough, and a flood of drops stays cheap */
    f->examples |= bit;
    struct drop_example *example = &f->stats.object->example[reason];
    memcpy(example->source, work->packet.source, sizeof example->source);
    memcpy(example->target, work->packet.target, sizeof example->target);
    example->family = work->packet.family;
    example->protocol = work->packet.protocol;
    example->port = work->ingress;
    store_relaxed64(&example->mono_ns, f->now_ns);
}

/* A held packet leaves the queue with its outcome; one of ours never was part of rx. */
bool forward_counts(struct forwarder *f, const struct work *work)
{
    if (work->origin == ORIGIN_OWN)
        return false;
    if (work->origin == ORIGIN_HELD) {
        bool ours = f->hold.entry[work->entry].originated != 0;
        hold_remove(&f->hold, work->entry);
        if (ours)
            return false;
        f->stats.now.held--;
    }
    return true;
}

void forward_drop(struct forwarder *f, const struct work *work, uint32_t reason)
{
    if (!forward_counts(f, work)) {
        f->stats.now.icmp_lost++;
        return;
    }
    f->stats.now.drops[reason]++;
    show_example(f, reason, work);
}

void forward_deliver(struct forwarder *f, const struct work *work)
{
    if (forward_counts(f, work))
        f->stats.now.delivered++;
    else
        f->stats.now.icmp_lost++;
}

bool forward_ours(const struct forwarder *f, const struct work *work)
{
    return work->origin == ORIGIN_OWN ||
           (work->origin == ORIGIN_HELD && f->hold.entry[work->entry].originated != 0);
}
