/* Stats objects: the names of drop reasons, copies for readers, commits for the owner. */
#include "report/stats.h"
#include "layout/event_layout.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const struct drop_text TEXTS[DROP_REASONS] = {
#define REASON(name, number, word, what, why, remedy) [name] = {word, what, why, remedy},
#include "layout/drop_reasons.h"
#undef REASON
};

const struct drop_text *drop_reason_text(uint32_t reason)
{
    return reason < DROP_REASONS && TEXTS[reason].name != NULL ? &TEXTS[reason] : NULL;
}

const char *drop_reason_name(uint32_t reason)
{
    return reason < DROP_REASONS ? TEXTS[reason].name : NULL;
}

static const struct layout own_layout = LAYOUT(SEGMENT_LAYOUT STATS_LAYOUT EVENT_LAYOUT);

/* The events that workers send are of the same build as the objects they count in. */
static const struct layout *stats_part(uint32_t position)
{
    return position == 0 ? &own_layout : NULL;
}

const struct segment_format stats_format = {
    .magic = 0x0054415445474252u, /* "RBGETAT", little-endian */
    .kind = SEGMENT_STATS,
    .header_size = sizeof(struct stats_object),
    .major = 2,
    .part = stats_part,
};

enum { READ_TRIES = 1000, WORD = sizeof(uint64_t) };
enum { BLOCK_WORDS = sizeof(struct stats_block) / WORD };
enum { HEAD_WORDS = offsetof(struct stats_block, port) / WORD };
enum { PORT_WORDS = sizeof(struct port_counters) / WORD };
RC_STATIC_ASSERT(sizeof(struct stats_block) % WORD == 0, "copied word by word");

int stats_read(const struct stats_object *object, struct stats_block *out)
{
    for (int i = 0; i < READ_TRIES; i++) {
        uint64_t sequence = load_acquire64(&object->sequence);
        const uint64_t *from = (const uint64_t *)&object->block[sequence & 1];
        uint64_t *to = (uint64_t *)out;
        for (size_t w = 0; w < BLOCK_WORDS; w++)
            to[w] = load_relaxed64(from + w);
        /* The owner writes this block again only after storing sequence + 1, so an unchanged
         * word means an untouched block. */
        atomic_thread_fence(memory_order_acquire);
        if (load_relaxed64(&object->sequence) == sequence)
            return 0;
    }
    return -EAGAIN;
}

void stats_read_seen(const struct stats_object *object, struct stats_seen *out)
{
    const struct stats_seen *seen = &object->seen;
    memset(out, 0, sizeof *out);
    out->table = load_acquire64(&seen->table);
    out->generation = load_acquire64(&seen->generation);
    out->t4_ns = load_relaxed64(&seen->t4_ns);
    out->read_retries = load_relaxed64(&seen->read_retries);
}

int stats_balanced(const struct stats_block *block)
{
    uint64_t sum = block->forwarded + block->delivered + block->held;
    for (uint32_t i = 0; i < DROP_REASONS; i++)
        sum += block->drops[i];
    return sum == block->rx;
}

void stats_commit(struct stats_writer *writer)
{
    struct stats_object *object = writer->object;
    uint64_t next = load_relaxed64(&object->sequence) + 1;
    uint64_t *to = (uint64_t *)&object->block[next & 1];
    const uint64_t *from = (const uint64_t *)&writer->now;
    size_t words = HEAD_WORDS + (size_t)writer->ports * PORT_WORDS;
    RC_FAULT("stats-before-block");
    /* Readers may still hold the block we are about to write: this fence makes them see the
     * sequence that took it out of use before they see new words in it. */
    atomic_thread_fence(memory_order_release);
    for (size_t w = 0; w < words; w++) {
        store_relaxed64(to + w, from[w]);
        if (w == words / 2)
            RC_FAULT("stats-inside-block");
    }
    RC_FAULT("stats-before-sequence");
    store_release64(&object->sequence, next);
    RC_FAULT("stats-after-sequence");
}

uint32_t stats_bucket(uint64_t value, uint32_t buckets)
{
    uint32_t bit = value == 0 ? 0 : 63u - (uint32_t)__builtin_clzll(value);
    return bit < buckets ? bit : buckets - 1;
}

int stats_create(void *base, uint64_t size, uint32_t worker, uint64_t instance_id)
{
    struct stats_object *object = base;
    if (size < sizeof *object)
        return -EINVAL;
    object->life.worker = worker;
    return segment_identify(base, size, &stats_format, instance_id);
}

int stats_attach(struct stats_writer *writer, struct stats_object *object, uint64_t size,
                 uint64_t now_ns)
{
    memset(writer, 0, sizeof *writer);
    if (segment_check(object, size, &stats_format) != SEGMENT_READY ||
        stats_read(object, &writer->now) != 0)
        return -EINVAL;
    if (!stats_balanced(&writer->now))
        return -EBADMSG;
    writer->object = object;
    struct stats_life *life = &object->life;
    /* Copies died with their owner. Ring slots did not: see ring_resume(). */
    writer->now.drops[DROP_WORKER_RESTARTING] += writer->now.held;
    writer->now.held = 0;
    writer->ports = FIB_MAX_PORTS; /* the first commits bring both blocks to one state */
    stats_commit(writer);
    stats_commit(writer);
    writer->ports = 0;
    const struct port_counters none = {0};
    for (uint32_t i = 0; i < FIB_MAX_PORTS; i++)
        if (memcmp(&writer->now.port[i], &none, sizeof none) != 0)
            writer->ports = i + 1;
    if (load_relaxed32(&life->pid) != 0)
        store_relaxed32(&life->restarts, load_relaxed32(&life->restarts) + 1);
    store_relaxed32(&life->pid, (uint32_t)getpid());
    store_relaxed32(&life->waiting, 0);
    store_relaxed64(&life->started_ns, now_ns);
    store_relaxed64(&life->heartbeat, now_ns);
    store_release32(&life->state, WORKER_STARTING);
    return 0;
}
