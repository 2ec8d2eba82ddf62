/* The note a worker leaves of its open batch, and what its successor does about it. See doubt.h. */
#include "forward/doubt.h"

#include <string.h>

#include "base/monotonic.h"

static bool in_doubt(const struct stats_doubt *doubt, uint32_t port)
{
    return load_relaxed32(&doubt->careful_port) == port + 1 && load_relaxed32(&doubt->careful) != 0;
}

static void be_careful(struct stats_doubt *doubt, uint32_t port, uint32_t frames)
{
    store_relaxed32(&doubt->careful, frames);
    store_relaxed32(&doubt->careful_port, frames == 0 ? 0 : port + 1);
}

/* Killed before the commit: the note stands and the next one does it again, into the same entry.
 * Killed after it: the ring has gone on, so the note means nothing any more. */
static void set_aside(struct forwarder *f, uint32_t index)
{
    struct forward_port *port = &f->port[index];
    struct stats_block *now = &f->stats.now;
    struct ring_frame frame;
    ring_begin(&port->ring);
    if (!ring_take(&port->ring, &frame))
        return;
    struct frame_aside *aside =
        &f->stats.object->aside[now->drops[DROP_SET_ASIDE] % ASIDE_FRAMES];
    uint32_t captured = frame.captured < ASIDE_BYTES ? frame.captured : ASIDE_BYTES;
    memset(aside, 0, sizeof *aside);
    memcpy(aside->bytes, frame.frame, captured);
    aside->captured = captured;
    aside->length = frame.wire_length;
    aside->port = index;
    aside->mono_ns = monotonic_ns();
    now->rx++;
    now->drops[DROP_SET_ASIDE]++;
    now->from_host += port->kind == PORT_KIND_HOST;
    now->port[index].rx++;
    now->port[index].rx_bytes += frame.wire_length;
    now->port[index].ring_first = port->ring.first;
    now->port[index].ring_next = port->ring.next;
    now->port[index].ring_mark = port->ring.mark;
    stats_commit(&f->stats);
    ring_release(&port->ring);
}

void doubt_resume(struct forwarder *f, uint32_t port)
{
    struct stats_doubt *doubt = &f->stats.object->doubt;
    if (load_acquire32(&doubt->port) != port + 1)
        return;
    const struct port_counters *counters = &f->stats.now.port[port];
    if (load_relaxed32(&doubt->identity) == counters->ring_identity &&
        load_relaxed32(&doubt->slot) == counters->ring_next) {
        uint32_t frames = load_relaxed32(&doubt->frames);
        if (in_doubt(doubt, port) && frames == 1) {
            uint32_t left = load_relaxed32(&doubt->careful);
            if (f->stats.ports <= port)
                f->stats.ports = port + 1;
            set_aside(f, port);
            be_careful(doubt, port, left - 1);
        } else {
            be_careful(doubt, port, frames < BATCH_MAX ? frames : BATCH_MAX);
        }
    }
    store_release32(&doubt->port, 0);
}

uint32_t doubt_budget(const struct forwarder *f, uint32_t port, uint32_t budget)
{
    return in_doubt(&f->stats.object->doubt, port) ? 1 : budget;
}

void doubt_open(struct forwarder *f, uint32_t port, uint32_t budget)
{
    struct stats_doubt *doubt = &f->stats.object->doubt;
    store_relaxed32(&doubt->identity, f->stats.now.port[port].ring_identity);
    store_relaxed32(&doubt->slot, f->port[port].ring.next);
    store_relaxed32(&doubt->frames, budget);
    store_release32(&doubt->port, port + 1);
}

void doubt_empty(struct forwarder *f, uint32_t port)
{
    if (in_doubt(&f->stats.object->doubt, port))
        be_careful(&f->stats.object->doubt, port, 0);
}

void doubt_close(struct forwarder *f, uint32_t port, uint32_t taken)
{
    struct stats_doubt *doubt = &f->stats.object->doubt;
    if (in_doubt(doubt, port)) {
        uint32_t left = load_relaxed32(&doubt->careful);
        be_careful(doubt, port, left > taken ? left - taken : 0);
    }
    store_release32(&doubt->port, 0);
}
