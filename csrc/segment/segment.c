/* Identity lines: writing them, checking them. See layout/segment_layout.h. */
#include "layout/segment_layout.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <unistd.h>

#include "engines/binary/binary.h"
#include "engines/compact/compact.h"
#include "engines/multibit/multibit.h"
#include "layout/fib_layout.h"
#include "layout/rib_layout.h"
#include "layout/stats_layout.h"
#include "layout/sync_layout.h"

/* FNV-1a, 64 bits: small, good enough to tell a torn line from a whole one, and to fold
 * offsets into one layout number. Not meant against an adversary. */
enum { FNV_BYTES_AT = 8, FNV_BYTES_END = 56 };
static const uint64_t FNV_BASIS = 0xcbf29ce484222325u;
static const uint64_t FNV_PRIME = 0x100000001b3u;

static uint64_t fnv_bytes(uint64_t hash, const void *data, size_t length)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ p[i]) * FNV_PRIME;
    return hash;
}

static uint64_t fnv_numbers(uint64_t hash, const size_t *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t number = numbers[i];
        hash = fnv_bytes(hash, &number, sizeof number);
    }
    return hash;
}

#define LAYOUT_OF(...)                                                                           \
    fnv_numbers(FNV_BASIS, (const size_t[]){__VA_ARGS__},                                        \
                sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t))

static uint64_t fib_layout_id(void)
{
    return LAYOUT_OF(sizeof(struct fib_header), offsetof(struct fib_header, geometry),
                     offsetof(struct fib_header, published), offsetof(struct fib_header, roots),
                     offsetof(struct fib_header, intent), offsetof(struct fib_header, sync),
                     sizeof(struct fib_sync_words), sizeof(struct fib_geometry),
                     sizeof(struct fib_published), sizeof(struct fib_intent),
                     sizeof(struct fib_stamp), offsetof(struct fib_group, bucket),
                     sizeof(struct fib_adjacency), offsetof(struct fib_adjacency, nexthop),
                     sizeof(struct fib_port), offsetof(struct fib_port, address), FIB_BLOCK,
                     FIB_STAMPS, offsetof(struct fib_intent, at),
                     offsetof(struct multibit_node, list), offsetof(struct multibit_node, own),
                     sizeof(struct compact_root), offsetof(struct compact_root, short_at),
                     COMPACT_LEAVES_AT, offsetof(struct compact_tail, entry), FIB_GUARD,
                     sizeof(struct fib_word), offsetof(struct binary_node, child),
                     offsetof(struct binary_node, turned), offsetof(struct fib_header, born));
}

static uint64_t sync_layout_id(void)
{
    return LAYOUT_OF(sizeof(struct sync_segment), offsetof(struct sync_segment, lock),
                     sizeof(struct sync_lock), offsetof(struct sync_lock, room), SYNC_LOCKS,
                     sizeof(sem_t), sizeof(pthread_mutex_t));
}

static uint64_t rib_layout_id(void)
{
    return LAYOUT_OF(sizeof(struct rib_header), offsetof(struct rib_header, geometry),
                     offsetof(struct rib_header, words), offsetof(struct rib_header, sources),
                     offsetof(struct rib_words, published), offsetof(struct rib_words, reselect),
                     sizeof(struct rib_row), offsetof(struct rib_row, metric),
                     offsetof(struct rib_row, nexthop), offsetof(struct rib_row, next),
                     offsetof(struct rib_row, mark), offsetof(struct rib_row, since),
                     sizeof(struct rib_node), offsetof(struct rib_node, port),
                     offsetof(struct rib_node, next), offsetof(struct rib_node, state),
                     sizeof(struct rib_journal_entry), sizeof(struct rib_geometry), RIB_JOURNAL,
                     RIB_MAX_PATHS, SOURCE_COUNT);
}

static uint64_t stats_layout_id(void)
{
    return LAYOUT_OF(sizeof(struct stats_object), offsetof(struct stats_object, life),
                     offsetof(struct stats_object, seen), offsetof(struct stats_object, sequence),
                     offsetof(struct stats_object, block), offsetof(struct stats_object, visible),
                     offsetof(struct stats_object, example), sizeof(struct stats_block),
                     offsetof(struct stats_block, drops), offsetof(struct stats_block, port),
                     sizeof(struct port_counters), DROP_REASONS, FIB_MAX_PORTS,
                     offsetof(struct stats_seen, table));
}

int segment_expected(uint32_t kind, struct segment_expect *out)
{
    memset(out, 0, sizeof *out);
    out->kind = kind;
    out->major = 1;
    switch (kind) {
    case SEGMENT_FIB:
        out->magic = 0x0042494645474252u; /* "RBGEFIB", little-endian */
        out->layout_id = fib_layout_id();
        out->header_size = sizeof(struct fib_header);
        return 0;
    case SEGMENT_RIB:
        out->magic = 0x0042495245474252u; /* "RBGERIB" */
        out->layout_id = rib_layout_id();
        out->header_size = sizeof(struct rib_header);
        return 0;
    case SEGMENT_STATS:
        out->magic = 0x0054415445474252u; /* "RBGETAT", little-endian */
        out->layout_id = stats_layout_id();
        out->header_size = sizeof(struct stats_object);
        return 0;
    case SEGMENT_SYNC:
        out->magic = 0x434e595345474252u; /* "RBGESYNC" */
        out->layout_id = sync_layout_id();
        out->header_size = sizeof(struct sync_segment);
        return 0;
    default:
        return -EINVAL;
    }
}

static uint64_t identity_checksum(const struct segment_identity *identity)
{
    return fnv_bytes(FNV_BASIS, (const uint8_t *)identity + FNV_BYTES_AT,
                     FNV_BYTES_END - FNV_BYTES_AT);
}

int segment_identify(void *base, uint64_t size, uint32_t kind, uint64_t instance_id)
{
    struct segment_expect expect;
    struct segment_identity *identity = base;
    if (segment_expected(kind, &expect) != 0 || size < expect.header_size)
        return -EINVAL;
    identity->major = expect.major;
    identity->minor = expect.minor;
    identity->header_size = expect.header_size;
    identity->layout_id = expect.layout_id;
    identity->instance_id = instance_id;
    identity->segment_size = size;
    identity->compat = 0;
    identity->incompat = 0;
    identity->kind = kind;
    identity->creator_pid = (uint32_t)getpid();
    identity->checksum = identity_checksum(identity);
    RC_FAULT("segment-before-magic");
    /* Release: whoever sees the magic sees everything the creator wrote before. */
    store_release64(&identity->magic, expect.magic);
    return 0;
}

int segment_check(const void *base, uint64_t mapped, uint32_t kind)
{
    struct segment_expect expect;
    const struct segment_identity *identity = base;
    if (mapped < sizeof *identity || segment_expected(kind, &expect) != 0)
        return SEGMENT_INITIALISING;
    uint64_t magic = load_acquire64(&identity->magic);
    if (magic == 0)
        return SEGMENT_INITIALISING;
    if (magic != expect.magic || identity->kind != kind || identity->major != expect.major ||
        identity->layout_id != expect.layout_id || identity->header_size != expect.header_size ||
        identity->segment_size > mapped || identity->segment_size < expect.header_size ||
        (identity->incompat & ~expect.incompat_known) != 0 ||
        identity->checksum != identity_checksum(identity))
        return SEGMENT_FOREIGN;
    return SEGMENT_READY;
}
