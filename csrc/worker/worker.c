/* Makes a worker, gives it a FIB and ports, ends it. The loop is in loop.c. */
#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/monotonic.h"
#include "forward/doubt.h"
#include "segment/map.h"
#include "worker/state.h"

RC_STATIC_ASSERT(WORKER_BATCH_MAX == (int)BATCH_MAX, "one limit, told to Python");

enum { MISSES_A_SECOND = 1000, MISSES_BURST = 256 };

/* Maps a whole object; *size receives its bytes. NULL and -errno in *error. */
static void *map_object(int fd, int writable, uint64_t *size, int32_t *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        *error = -errno;
        return NULL;
    }
    *size = (uint64_t)status.st_size;
    if (status.st_size <= 0) {
        *error = -EINVAL;
        return NULL;
    }
    return segment_map(fd, *size, writable, error);
}

static void limit_errors(struct worker *w)
{
    const struct worker_config *config = &w->config;
    limiter_init(&w->f.limiter, config->icmp_rate, config->icmp_burst, config->icmp_per_source,
                 config->icmp_per_source, config->seed, monotonic_ns());
}

void worker_configure(struct worker *w, const struct worker_config *config)
{
    struct worker_config *own = &w->config;
    if (config->batch != 0 && config->batch <= BATCH_MAX)
        own->batch = config->batch;
    own->hold_timeout_ns = w->f.hold_timeout_ns = config->hold_timeout_ns;
    own->teach = w->f.teach = config->teach;
    if (own->icmp_rate == config->icmp_rate && own->icmp_burst == config->icmp_burst &&
        own->icmp_per_source == config->icmp_per_source)
        return;
    own->icmp_rate = config->icmp_rate;
    own->icmp_burst = config->icmp_burst;
    own->icmp_per_source = config->icmp_per_source;
    limit_errors(w);
}

static int open_parts(struct worker *w, const struct worker_config *config, int stats_fd)
{
    struct forwarder *f = &w->f;
    int32_t error = 0;
    uint64_t now = monotonic_ns();
    int held = hold_open(&f->hold, config->hold_packets, config->hold_per_neighbour);
    if (held != 0)
        return held;
    struct stats_object *object =
        map_object(stats_fd, 1, &w->stats_size, &error);
    if (object == NULL)
        return error;
    error = stats_attach(&f->stats, object, w->stats_size, now);
    if (error != 0) {
        segment_unmap(object, w->stats_size);
        f->stats.object = NULL;
        return error;
    }
    event_open(&f->events, &object->life, config->queue, config->bell, config->index);
    waits_open(&f->waits, object);
    limit_errors(w);
    bucket_init(&f->misses, MISSES_A_SECOND, MISSES_BURST, now);
    return 0;
}

struct worker *worker_new(const struct worker_config *config, int stats_fd, int32_t *error)
{
    *error = -EINVAL;
    if (config->batch == 0 || config->batch > BATCH_MAX)
        return NULL;
    *error = -ENOMEM;
    struct worker *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->config = *config;
    w->f.seed = config->seed;
    w->f.teach = config->teach;
    w->f.hold_timeout_ns = config->hold_timeout_ns;
    w->gap_ns = UINT64_MAX;
    for (uint32_t i = 0; i < FIB_MAX_PORTS; i++)
        w->f.fd[i] = -1;
    *error = open_parts(w, config, stats_fd);
    if (*error != 0) {
        worker_free(w);
        return NULL;
    }
    return w;
}

static void release_fib(struct worker *w)
{
    if (w->fib == NULL)
        return;
    fib_reader_detach(&w->reader);
    if (w->reader.locks.memory != NULL)
        segment_unmap(w->reader.locks.memory, w->reader.locks.size);
    segment_unmap(w->fib, w->fib_size);
}

void worker_free(struct worker *w)
{
    for (uint32_t i = 0; i < FIB_MAX_PORTS; i++)
        (void)worker_del_port(w, i);
    release_fib(w);
    if (w->f.stats.object != NULL)
        segment_unmap(w->f.stats.object, w->stats_size);
    hold_close(&w->f.hold);
    free(w);
}

/* Lock words are the one shared memory besides its own stats object that a worker may write, and
 * only under a strategy that has them. */
static int map_locks(struct fib_reader *reader, int sync_fd, int semaphore)
{
    int32_t error = 0;
    struct fib_locks locks = {.semaphore = semaphore};
    if (sync_fd >= 0)
        locks.memory = map_object(sync_fd, 1, &locks.size, &error);
    if (error == 0)
        error = fib_reader_locks(reader, &locks);
    if (error != 0 && locks.memory != NULL)
        segment_unmap(locks.memory, locks.size);
    return error;
}

int worker_set_fib(struct worker *w, int fd, int sync_fd, int semaphore)
{
    int32_t error = 0;
    uint64_t size = 0;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    if ((flags & O_ACCMODE) != O_RDONLY)
        return -EPERM;
    void *base = map_object(fd, 0, &size, &error);
    if (base == NULL)
        return error;
    struct fib_reader reader;
    error = fib_reader_attach(&reader, base, size);
    if (error == 0)
        error = map_locks(&reader, sync_fd, semaphore);
    if (error != 0) {
        segment_unmap(base, size);
        return error;
    }
    release_fib(w);
    w->fib = base;
    w->fib_size = size;
    w->reader = reader;
    w->f.fib = &w->reader;
    /* Another FIB counts from its own beginning. The number goes back before the name changes: who
     * reads the name first never takes the old FIB's number for the new one's. */
    struct stats_seen *seen = &w->f.stats.object->seen;
    w->f.generation = 0;
    w->f.held_generation = UINT64_MAX;
    store_relaxed64(&seen->generation, 0);
    store_release64(&seen->table, ((const struct fib_header *)base)->born);
    w->f.own_generation = 0;
    return 0;
}

/* Which ring a set of counters belongs to: another socket on the same port starts at slot 0. */
static uint32_t ring_identity(int fd)
{
    uint64_t cookie = 0;
    socklen_t length = sizeof cookie;
    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) != 0)
        return 0;
    uint32_t folded = (uint32_t)(cookie ^ (cookie >> 32));
    return folded == 0 ? 1 : folded;
}

static int open_ring(struct worker *w, uint32_t index, int fd, uint32_t kind, uint32_t slots,
                     uint32_t slot_bytes)
{
    struct ring_geometry geometry;
    struct ring *ring = &w->f.port[index].ring;
    struct port_counters *counters = &w->f.stats.now.port[index];
    int error = ring_geometry(slots, slot_bytes, &geometry);
    if (error != 0)
        return error;
    void *base = mmap(NULL, (size_t)geometry.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return -errno;
    (void)madvise(base, (size_t)geometry.bytes, MADV_DONTDUMP); /* a core tells of no packet */
    ring_open(ring, base, &geometry);
    uint32_t identity = ring_identity(fd);
    if (counters->ring_identity == identity) {
        (void)ring_resume(ring, counters);
        w->f.port[index].kind = kind;
        doubt_resume(&w->f, index);
    } else {
        counters->ring_identity = identity;
        counters->ring_next = counters->ring_first = counters->ring_mark = 0;
    }
    return 0;
}

int worker_add_port(struct worker *w, uint32_t index, int fd, uint32_t kind, uint32_t slots,
                    uint32_t slot_bytes)
{
    int error = index >= FIB_MAX_PORTS ? -EINVAL : w->f.fd[index] >= 0 ? -EEXIST : 0;
    if (error == 0)
        error = open_ring(w, index, fd, kind, slots, slot_bytes);
    if (error != 0) {
        close(fd);
        return error;
    }
    w->f.fd[index] = fd;
    w->f.open_ports |= 1u << index;
    w->f.port[index].kind = kind;
    w->f.port[index].unread = 1; /* drops since a former owner last asked */
    w->paused_ns[index] = 0;
    if (w->f.stats.ports <= index)
        w->f.stats.ports = index + 1;
    stats_commit(&w->f.stats);
    return 0;
}

int worker_del_port(struct worker *w, uint32_t index)
{
    if (index >= FIB_MAX_PORTS || w->f.fd[index] < 0)
        return -ENOENT;
    struct ring *ring = &w->f.port[index].ring;
    munmap(ring->base, (size_t)ring->geometry.bytes);
    memset(ring, 0, sizeof *ring);
    close(w->f.fd[index]);
    w->f.fd[index] = -1;
    w->f.open_ports &= ~(1u << index);
    return 0;
}

void worker_set_channel(struct worker *w, int fd)
{
    w->config.channel = fd;
}

void worker_set_bell(struct worker *w, int fd)
{
    w->config.bell = w->f.events.bell = fd;
}

void worker_set_queue(struct worker *w, int queue)
{
    w->config.queue = w->f.events.queue = queue;
}

void worker_quiesce(struct worker *w, int on)
{
    w->quiesced = on != 0;
    if (on)
        store_release32(&w->f.stats.object->life.state, WORKER_QUIESCED);
}

void worker_stop(struct worker *w)
{
    forward_abandon(&w->f, DROP_QUIESCED);
    event_flush(&w->f.events, monotonic_ns());
    store_release32(&w->f.stats.object->life.state, WORKER_STOPPED);
}

uint64_t worker_generation(const struct worker *w)
{
    return w->f.fib == NULL ? 0 : fib_generation(w->f.fib);
}

int worker_report(struct worker *w, uint32_t type, uint32_t urgency, int32_t code)
{
    uint64_t now = monotonic_ns();
    struct event_payload payload = {.generation = worker_generation(w), .code = code};
    int error = event_send(&w->f.events, type, urgency, &payload, now);
    event_flush(&w->f.events, now);
    return error;
}

int worker_fault(struct worker *w, uint32_t kind)
{
    if (kind == 2)
        abort();
    volatile uintptr_t mapped_by_nobody = 64; /* the first page: vm.mmap_min_addr; volatile, or
                                                 the compiler knows better than to write there */
    if (kind == 3)
        *(volatile uint8_t *)mapped_by_nobody = 0;
    while (kind == 4)
        (void)pause(); /* SIGTERM is blocked: it arrives as a descriptor that nobody reads now */
    if (kind != 1)
        return -EINVAL;
    if (w->fib == NULL)
        return -ENODEV;
    *(volatile uint8_t *)w->fib = 0; /* the mapping is read-only: SIGSEGV */
    return -EACCES;
}
