/* ICMP errors of the packet path: whether one may be sent now. See forward.h. */
#include "forward/forward.h"

void forward_raise_error(struct forwarder *f, const struct work *work)
{
    const struct packet *packet = &work->packet;
    if (work->origin == ORIGIN_OWN || f->fib == NULL)
        return;
    /* What may not be answered costs nobody a token. Then the limiter, before the build: under a
     * flood most errors end here, for a few ns each. */
    if (!icmp_may_answer(packet))
        return;
    if (f->errors == ERRORS_MAX ||
        !limiter_take(&f->limiter, packet->family, packet->source, f->now_ns)) {
        f->stats.now.icmp_limited++;
        return;
    }
    if (decide_error(f->fib, work, &f->error[f->errors]) != 0) {
        f->stats.now.icmp_lost++;
        return;
    }
    f->errors++;
}
