/* Where forwarding begins: a batch of new frames, a pass over the held packets, and the count of
 * what the kernel could not queue. See forward.h. */
#include "forward/forward.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <string.h>

#include "base/monotonic.h"
#include "forward/doubt.h"
#include "forward/poison.h"

static const uint64_t HELD_EVERY_NS = 100 * NS_PER_MS; /* what a lost bell costs at most */

static const uint64_t OWN_EVERY_NS = 10 * NS_PER_MS;

/* The generation this batch uses, and how long it took from the update's source to here. */
static void see_generation(struct forwarder *f, uint64_t generation)
{
    if (generation <= f->generation)
        return;
    struct stats_object *object = f->stats.object;
    struct fib_stamp stamp;
    f->generation = generation;
    store_relaxed64(&object->seen.t4_ns, f->now_ns);
    store_release64(&object->seen.generation, generation);
    if (fib_read_stamp(f->fib, generation, &stamp) != 0 || stamp.t0 == 0 || stamp.t0 > f->now_ns)
        return;
    uint64_t *bucket = &object->visible[stats_bucket(f->now_ns - stamp.t0, STATS_BUCKETS)];
    store_relaxed64(bucket, load_relaxed64(bucket) + 1);
}

/* Addresses change with a generation, but most generations are routes: under a storm of updates
 * the port table (about 2 us) is read a hundred times a second and not more often. */
static void see_addresses(struct forwarder *f)
{
    if (f->fib == NULL || f->own_generation == f->generation ||
        (f->own_generation != 0 && f->now_ns - f->own_read_ns < OWN_EVERY_NS))
        return;
    f->own_read_ns = f->now_ns;
    if (own_addresses_read(&f->own, f->fib) == 0)
        f->own_generation = f->generation;
}

static void batch_begin(struct forwarder *f)
{
    f->now_ns = monotonic_ns();
    f->errors = 0;
    f->examples = 0;
    f->named = f->lookups = 0;
    /* Every lookup that begins now answers from this generation or a later one, but where a reader
     * that is outrun goes on with the table it has. */
    if (f->fib != NULL && !f->fib->lags)
        see_generation(f, fib_generation(f->fib));
    see_addresses(f);
}

static void batch_end(struct forwarder *f)
{
    if (f->errors != 0)
        forward_errors(f);
    /* What the lookups named; a batch that asked nothing was wrong about nothing. */
    if (f->fib != NULL && f->fib->lags)
        see_generation(f, f->lookups != 0 ? f->named : fib_generation(f->fib));
    if (f->fib != NULL)
        store_relaxed64(&f->stats.object->seen.read_retries, f->fib->retries);
    stats_commit(&f->stats);
}

static uint32_t take_frames(struct forwarder *f, uint32_t index, uint32_t budget)
{
    struct forward_port *port = &f->port[index];
    struct stats_block *now = &f->stats.now;
    int is_host = port->kind == PORT_KIND_HOST;
    struct ring_frame frame;
    uint32_t n = 0;
    uint64_t bytes = 0;
    while (n < budget && ring_take(&port->ring, &frame)) {
        struct work *work = &f->work[n++];
        work->origin = ORIGIN_RING;
        work->ingress = (uint16_t)index;
        if (f->teach)
            poison_act(&frame);
        packet_parse(&work->packet, frame.frame, frame.captured, frame.wire_length, frame.vnet,
                     frame.station, f->seed, is_host);
        bytes += frame.wire_length;
        now->gso += work->packet.vnet.gso_type != VNET_GSO_NONE;
    }
    port->unread |= n != 0;
    now->rx += n;
    now->from_host += is_host ? n : 0;
    now->port[index].rx += n;
    now->port[index].rx_bytes += bytes;
    return n;
}

uint32_t forward_frames(struct forwarder *f, uint32_t index, uint32_t budget)
{
    struct forward_port *port = &f->port[index];
    struct stats_block *now = &f->stats.now;
    if (port->ring.base == NULL)
        return 0;
    if (!ring_ready(&port->ring)) {
        doubt_empty(f, index);
        return 0;
    }
    budget = doubt_budget(f, index, budget < BATCH_MAX ? budget : BATCH_MAX);
    batch_begin(f);
    ring_begin(&port->ring);
    doubt_open(f, index, budget);
    uint32_t n = take_frames(f, index, budget);
    forward_work(f, n);
    now->batches++;
    now->batch_size[stats_bucket(n, 8)]++;
    now->port[index].ring_first = port->ring.first;
    now->port[index].ring_next = port->ring.next;
    now->port[index].ring_mark = port->ring.mark;
    RC_FAULT("forward-before-commit");
    batch_end(f);
    RC_FAULT("forward-after-commit");
    doubt_close(f, index, n);
    ring_release(&port->ring);
    return n;
}

int forward_held_due(const struct forwarder *f, uint64_t now_ns)
{
    return f->hold.count != 0 && (now_ns - f->held_ns >= HELD_EVERY_NS ||
                                  (f->fib != NULL && fib_generation(f->fib) != f->held_generation));
}

static void look_up_held(struct forwarder *f)
{
    uint32_t next = f->hold.oldest;
    while (next != HOLD_NONE) {
        uint32_t n = 0;
        for (; next != HOLD_NONE && n < BATCH_MAX; next = f->hold.entry[next].age.newer) {
            struct work *work = &f->work[n++];
            work->packet = f->hold.entry[next].packet;
            work->ingress = f->hold.entry[next].ingress;
            work->origin = ORIGIN_HELD;
            work->entry = next;
        }
        /* Removes entries of work[] only, and puts none in: `next` stays good. */
        forward_work(f, n);
    }
}

static struct work *oldest_work(struct forwarder *f)
{
    struct work *work = &f->work[0];
    const struct hold_entry *entry = &f->hold.entry[f->hold.oldest];
    work->packet = entry->packet;
    work->ingress = entry->ingress;
    work->origin = ORIGIN_HELD;
    work->entry = f->hold.oldest;
    return work;
}

static void give_up_late(struct forwarder *f)
{
    while (f->hold.oldest != HOLD_NONE &&
           f->now_ns - f->hold.entry[f->hold.oldest].arrived_ns >= f->hold_timeout_ns) {
        struct work *work = oldest_work(f);
        work->decision = (struct decision){.reason = DROP_NO_NEIGHBOUR,
                                           .error = ICMP_ERROR_UNREACHABLE};
        if (f->hold.entry[work->entry].originated == 0)
            forward_raise_error(f, work);
        forward_drop(f, work, DROP_NO_NEIGHBOUR);
    }
}

void forward_held(struct forwarder *f)
{
    batch_begin(f);
    f->held_generation = f->fib == NULL ? 0 : fib_generation(f->fib);
    f->held_ns = f->now_ns;
    look_up_held(f);
    give_up_late(f);
    batch_end(f);
    store_relaxed32(&f->stats.object->life.waiting, f->hold.count != 0);
}

void forward_abandon(struct forwarder *f, enum drop_reason reason)
{
    batch_begin(f);
    while (f->hold.oldest != HOLD_NONE)
        forward_drop(f, oldest_work(f), reason);
    batch_end(f);
    store_relaxed32(&f->stats.object->life.waiting, 0);
}

void forward_ring_drops(struct forwarder *f, uint32_t index)
{
    struct tpacket_stats statistics;
    socklen_t length = sizeof statistics;
    f->port[index].unread = 0;
    /* Reading clears. Killed before the commit, these drops are in neither rx nor drops. */
    if (f->fd[index] < 0 ||
        getsockopt(f->fd[index], SOL_PACKET, PACKET_STATISTICS, &statistics, &length) != 0 ||
        statistics.tp_drops == 0)
        return;
    f->stats.now.rx += statistics.tp_drops;
    f->stats.now.drops[DROP_RX_RING_FULL] += statistics.tp_drops;
    f->stats.now.port[index].rx += statistics.tp_drops;
    f->stats.now.port[index].ring_drops += statistics.tp_drops;
    if (f->port[index].kind == PORT_KIND_HOST)
        f->stats.now.from_host += statistics.tp_drops;
    stats_commit(&f->stats);
}
