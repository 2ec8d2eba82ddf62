/* The loop of a worker: serve the rings, then held packets, then the clock; then sleep. See
 * worker.h. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/monotonic.h"
#include "worker/state.h"

enum {
    THIN_BATCH = 32,       /* below it a fast sender is given time to fill more slots */
    GATHER_NS = 10000,
    FAST_FRAME_NS = 3000,  /* "fast": a frame this often */
    LOOK_NS = 500000,      /* a busy worker looks at its channel this often */
};
static const uint64_t TICK_NS = 100 * NS_PER_MS;
static const uint64_t HEARTBEAT_NS = NS_PER_S;
static const uint64_t PAUSE_NS = 100 * NS_PER_MS;
static const uint64_t STRAY_NS = 50 * NS_PER_MS; /* poll() says frames, the ring says none */

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void enter(struct worker *w, uint32_t state)
{
    uint32_t *word = &w->f.stats.object->life.state;
    if (load_relaxed32(word) != state)
        store_release32(word, state);
}

/* One turn over all ports; returns frames taken. */
static uint32_t turn(struct worker *w)
{
    uint32_t frames = 0;
    for (uint32_t i = 0; i < FIB_MAX_PORTS; i++) {
        uint32_t port = (w->first_port + i) % FIB_MAX_PORTS;
        if (w->f.fd[port] < 0)
            continue;
        enter(w, WORKER_BUSY);
        frames += forward_frames(&w->f, port, w->config.batch);
    }
    w->first_port = (w->first_port + 1) % FIB_MAX_PORTS;
    return frames;
}

/* What need not happen for every packet. */
static void tick(struct worker *w, uint64_t now)
{
    w->next_tick_ns = now + TICK_NS;
    for (uint32_t port = 0; port < FIB_MAX_PORTS; port++)
        if (w->f.fd[port] >= 0 && w->f.port[port].unread)
            forward_ring_drops(&w->f, port);
    event_flush(&w->f.events, now);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When poll() has to end by itself. */
static uint64_t sleep_until(const struct worker *w, uint64_t now, uint64_t deadline)
{
    uint64_t until = sooner(now + HEARTBEAT_NS, deadline);
    bool chores = w->f.events.unannounced != 0;
    for (uint32_t port = 0; port < FIB_MAX_PORTS; port++)
        chores |= w->f.fd[port] >= 0 && (w->f.port[port].unread || w->paused_ns[port] > now);
    if (chores)
        until = sooner(until, w->next_tick_ns);
    if (w->f.hold.count != 0 && !w->quiesced)
        until = sooner(until, w->f.held_ns + TICK_NS);
    return until;
}

/* A socket error is read (which clears it), and the port left out of poll() for a while, so that
 * a dead interface cannot keep the loop awake. */
static void pause_port(struct worker *w, uint32_t port, uint64_t now)
{
    int error = 0;
    socklen_t length = sizeof error;
    (void)getsockopt(w->f.fd[port], SOL_SOCKET, SO_ERROR, &error, &length);
    w->paused_ns[port] = now + PAUSE_NS;
    if (error == 0 || now - w->f.port[port].error_told_ns < NS_PER_S)
        return;
    w->f.port[port].error_told_ns = now;
    struct event_payload payload = {.port = (uint16_t)port, .code = error};
    (void)event_send(&w->f.events, EVENT_PORT_ERROR, URGENCY_LINK, &payload, now);
}

/* Frames are said to be there but not where we look: cannot happen while this process alone
 * reads the ring; kept so that a ring disturbed from outside costs some frames, not the port. */
static void resync_rings(struct worker *w)
{
    for (uint32_t port = 0; port < FIB_MAX_PORTS; port++)
        if (w->f.port[port].ring.base != NULL)
            (void)ring_resync(&w->f.port[port].ring);
    w->stray_ns = 0;
}

/* Sleeps until `until` at most (0: only looks). Returns wake bits; handles bell and errors. */
static uint32_t look(struct worker *w, uint64_t now, uint64_t until)
{
    struct pollfd set[FIB_MAX_PORTS + 3];
    uint32_t port_of[FIB_MAX_PORTS];
    nfds_t rings = 0;
    for (uint32_t port = 0; port < FIB_MAX_PORTS && !w->quiesced; port++) {
        if (w->f.fd[port] < 0 || w->paused_ns[port] > now)
            continue;
        port_of[rings] = port;
        set[rings++] = (struct pollfd){.fd = w->f.fd[port], .events = POLLIN};
    }
    struct pollfd *bell = &set[rings], *channel = bell + 1, *signals = bell + 2;
    *bell = (struct pollfd){.fd = w->config.bell, .events = POLLIN};
    *channel = (struct pollfd){.fd = w->config.channel, .events = POLLIN};
    *signals = (struct pollfd){.fd = w->config.signals, .events = POLLIN};
    uint64_t wait = until > now ? until - now : 0;
    struct timespec timeout = {.tv_sec = (time_t)(wait / NS_PER_S),
                               .tv_nsec = (long)(wait % NS_PER_S)};
    int ready = ppoll(set, rings + 3, &timeout, NULL);
    if (ready <= 0)
        return 0; /* nothing, or EINTR: the loop looks at its clock and comes back */
    bool frames = false;
    for (nfds_t i = 0; i < rings; i++) {
        if ((set[i].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0)
            pause_port(w, port_of[i], now);
        frames |= (set[i].revents & POLLIN) != 0;
    }
    if (!frames)
        w->stray_ns = 0;
    else if (w->stray_ns == 0)
        w->stray_ns = now;
    if (bell->revents != 0) { /* an error on it is read, too, or poll() would not sleep */
        bell_hear(w->config.bell);
        w->f.held_ns = 0; /* look the held packets up now */
    }
    return (channel->revents != 0 ? WORKER_WAKE_CHANNEL : 0u) |
           (signals->revents != 0 ? WORKER_WAKE_SIGNAL : 0u);
}

static bool any_ready(const struct worker *w)
{
    for (uint32_t port = 0; port < FIB_MAX_PORTS; port++)
        if (w->f.port[port].ring.base != NULL && ring_ready(&w->f.port[port].ring))
            return true;
    return false;
}

int worker_drained(const struct worker *w, uint64_t quiet_ns)
{
    return !any_ready(w) && w->f.hold.count == 0 &&
           monotonic_ns() - w->last_frames_ns >= quiet_ns;
}

/* Waits for frames awake while they come faster than sleeping would pay. True: there are some.
 * Between two looks the core is offered to whoever wants it (0.3 us when nobody does): the sender
 * that fills the ring or the receiver that empties ours often is on the same core. One TCP flow
 * over two cores: 13.5 instead of 12.2 Gbit/s; never spinning at all: 9.7. */
static bool spin(const struct worker *w, uint64_t now)
{
    uint64_t limit = w->config.spin_ns;
    if (w->quiesced || w->gap_ns > limit)
        return false;
    uint64_t end = w->last_frames_ns + sooner(2 * w->gap_ns + GATHER_NS, limit);
    while (now < end) {
        (void)sched_yield();
        if (any_ready(w))
            return true;
        now = monotonic_ns();
    }
    return false;
}

static void gather(uint64_t now)
{
    while (monotonic_ns() < now + GATHER_NS)
        relax();
}

static void note_frames(struct worker *w, uint32_t frames, uint64_t now)
{
    uint64_t gap = now - w->last_frames_ns;
    /* A moving average over eight turns; one long pause ends the spinning at once. */
    if (gap > w->config.spin_ns || w->gap_ns > w->config.spin_ns)
        w->gap_ns = gap;
    else
        w->gap_ns = (w->gap_ns * 7 + gap) / 8;
    w->frame_ns = (w->frame_ns * 7 + sooner(gap, NS_PER_S) / frames) / 8;
    w->last_frames_ns = now;
    w->stray_ns = 0;
    /* Reader and kernel stay off each other's cache lines: 5 to 10 % of a small-frame flood. */
    if (frames < THIN_BATCH && w->frame_ns < FAST_FRAME_NS)
        gather(now);
}

uint32_t worker_run(struct worker *w, uint64_t deadline_ns)
{
    struct stats_life *life = &w->f.stats.object->life;
    uint64_t deadline = deadline_ns == 0 ? UINT64_MAX : deadline_ns;
    for (;;) {
        uint32_t frames = w->quiesced ? 0 : turn(w);
        uint64_t now = monotonic_ns();
        store_relaxed64(&life->heartbeat, now);
        if (!w->quiesced && forward_held_due(&w->f, now))
            forward_held(&w->f);
        if (w->f.events.queued != 0)
            event_flush(&w->f.events, now);
        if (now >= w->next_tick_ns)
            tick(w, now);
        if (now >= deadline)
            return WORKER_WAKE_DEADLINE;
        if (frames != 0) {
            note_frames(w, frames, now);
            if (now < w->next_look_ns)
                continue;
        } else if (spin(w, now)) {
            continue;
        }
        w->next_look_ns = now + LOOK_NS;
        uint64_t until = 0;
        if (frames == 0) {
            enter(w, w->quiesced ? WORKER_QUIESCED : WORKER_POLLING);
            /* Between "I hold packets" and sleep: a publish that saw no `waiting` is seen here. */
            atomic_thread_fence(memory_order_seq_cst);
            if (!w->quiesced && forward_held_due(&w->f, now))
                continue;
            if (w->stray_ns != 0 && now - w->stray_ns > STRAY_NS)
                resync_rings(w);
            until = sleep_until(w, now, deadline);
        }
        uint32_t wake = look(w, now, until);
        if (wake != 0)
            return wake;
    }
}
