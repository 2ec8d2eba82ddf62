/* The reader: attaches to a mapping, looks batches up, copies everything out.
 *
 *     read_begin (epoch: E = epoch, acquire)
 *     keys -> groups (engine) -> group records -> buckets -> adjacency records -> answers
 *     read_end (epoch: fence, acquire; epoch >= E + 2 ?)  again : done
 *
 * All of a batch's keys take each arrow before any takes the next, with a prefetch between, so
 * that the cache misses of a batch overlap. After three tries in vain a batch is halved; a single
 * key that is outrun a thousand times gives -EAGAIN. What waits and what writes shared memory is
 * the strategy's business (sync/strategy.h): under the default one, nothing does.
 *
 * Any process. One fib_reader belongs to one thread (`retries` is a plain counter).
 */
#include "engines/engine.h"
#include "engines/table.h"
#include "fib/fib.h"
#include "sync/strategy.h"

#include <errno.h>
#include <string.h>

enum { CHUNK = 64 }; /* keys taken through the arrows together */

int fib_reader_attach(struct fib_reader *reader, const void *base, uint64_t size)
{
    const struct fib_header *header = base;
    memset(reader, 0, sizeof *reader);
    if (segment_check(base, size, &fib_format) != SEGMENT_READY)
        return -EINVAL;
    if (lpm_engine_for(header->geometry.engine4, 4) == NULL ||
        lpm_engine_for(header->geometry.engine6, 6) == NULL ||
        !fib_banks_valid(base, header->identity.segment_size))
        return -EINVAL;
    /* A reader that makes a table of its own is its writer, and trusts what a writer trusts. */
    if (header->geometry.banks == 2 && !fib_tables_valid(base))
        return -EINVAL;
    reader->segment = reader->base = base;
    reader->size = (uint64_t)header->geometry.blocks * FIB_BLOCK;
    reader->block_mask_limit = header->geometry.blocks;
    reader->locks.semaphore = -1;
    reader->engine[0] = lpm_engine(header->geometry.engine4);
    reader->engine[1] = lpm_engine(header->geometry.engine6);
    const struct fib_sync *sync = fib_sync_of(header->geometry.strategy);
    reader->lags = (sync->flags & SYNC_REPLICA) != 0;
    if (sync->read_begin != NULL) {
        reader->sync = sync;
    } else {
        reader->lean4 = reader->engine[0]->lookup4;
        reader->lean6 = reader->engine[1]->lookup6;
    }
    return 0;
}

void fib_reader_detach(struct fib_reader *reader)
{
    if (reader->sync != NULL && reader->sync->detach != NULL)
        reader->sync->detach(reader);
}

int fib_reader_locks(struct fib_reader *reader, const struct fib_locks *locks)
{
    const uint32_t with_lock = SYNC_LOCK_MEMORY | SYNC_LOCK_SEMAPHORE;
    if (reader->sync == NULL || (reader->sync->flags & with_lock) == 0)
        return 0;
    if (!fib_locks_fit(reader->sync, locks))
        return -EINVAL;
    reader->locks = *locks;
    return 0;
}

static void groups_of_family(const struct fib_reader *reader, const struct fib_key *keys,
                             uint32_t *groups, uint32_t n)
{
    const struct fib_header *header = fib_header_of(reader);
    int v4 = keys[0].family == 4;
    uint32_t root = load_relaxed32(v4 ? &header->roots.root4 : &header->roots.root6);
    if (root != 0)
        reader->engine[v4 ? 0 : 1]->lookup(reader, root, keys, groups, n);
    else
        memset(groups, 0, n * sizeof groups[0]);
}

/* A mixed chunk is taken apart by family and put together again. */
static void groups_of_mixed(const struct fib_reader *reader, const struct fib_key *keys,
                            uint32_t *groups, uint32_t n)
{
    struct fib_key part[CHUNK];
    uint32_t found[CHUNK], from[CHUNK];
    for (uint8_t family = 4; family <= 6; family += 2) {
        uint32_t size = 0;
        for (uint32_t i = 0; i < n; i++) {
            if ((keys[i].family == 4) != (family == 4))
                continue;
            from[size] = i;
            part[size++] = keys[i];
        }
        if (size > 0)
            groups_of_family(reader, part, found, size);
        for (uint32_t i = 0; i < size; i++)
            groups[from[i]] = found[i];
    }
}

static void groups_of(const struct fib_reader *reader, const struct fib_key *keys,
                      uint32_t *groups, uint32_t n)
{
    uint32_t v4 = 0;
    for (uint32_t i = 0; i < n; i++)
        v4 += keys[i].family == 4;
    if (v4 == 0 || v4 == n)
        groups_of_family(reader, keys, groups, n);
    else
        groups_of_mixed(reader, keys, groups, n);
}

/* A record through its directory word; NULL when there is none. */
static const uint8_t *record_at(const struct fib_reader *reader, uint32_t directory, uint32_t id,
                                uint32_t max, uint64_t bytes)
{
    if (id == 0 || id >= max)
        return NULL;
    const uint32_t *word = (const void *)fib_at(reader, directory, (id + 1) * sizeof(uint32_t));
    return word == NULL ? NULL : fib_at(reader, load_relaxed32(word + id), bytes);
}

/* Copies whole 64-bit words: a stale record may be rewritten meanwhile. */
static void copy_words(void *to, const uint8_t *from, uint32_t words)
{
    for (uint32_t i = 0; i < words; i++) {
        uint64_t word = load_relaxed64((const uint64_t *)(const void *)from + i);
        memcpy((uint8_t *)to + i * sizeof word, &word, sizeof word);
    }
}

static void pick_adjacency(const struct fib_reader *reader, const uint8_t *record,
                           const struct fib_key *key, struct fib_answer *answer)
{
    struct fib_group head; /* kind .. bucket[0]: 20 bytes, two and a half words */
    copy_words(&head, record, 2);
    answer->kind = head.kind;
    if (head.buckets == 0)
        return;
    uint32_t bucket = key->hash & (head.buckets - 1) & (FIB_MAX_BUCKETS - 1);
    const uint32_t *word = (const uint32_t *)(const void *)(record +
                           offsetof(struct fib_group, bucket)) + bucket;
    if ((const uint8_t *)(word + 1) <= reader->base + reader->size)
        answer->adjacency = load_relaxed32(word);
}

static void copy_adjacency(const uint8_t *record, struct fib_answer *answer)
{
    struct fib_adjacency adjacency;
    copy_words(&adjacency, record, sizeof adjacency / 8);
    answer->state = adjacency.state;
    answer->port = adjacency.port;
    answer->mtu = adjacency.mtu;
    memcpy(answer->source_mac, adjacency.source_mac, sizeof answer->source_mac);
    memcpy(answer->target_mac, adjacency.target_mac, sizeof answer->target_mac);
    answer->family = adjacency.family;
    memcpy(answer->nexthop, adjacency.nexthop, sizeof answer->nexthop);
}

static void answer_chunk(const struct fib_reader *reader, const struct fib_key *keys,
                         struct fib_answer *answers, uint32_t n)
{
    const struct fib_geometry *geometry = &fib_header_of(reader)->geometry;
    const uint8_t *record[CHUNK];
    uint32_t groups[CHUNK];

    groups_of(reader, keys, groups, n);
    memset(answers, 0, n * sizeof answers[0]);
    for (uint32_t i = 0; i < n; i++) {
        answers[i].group = groups[i];
        record[i] = record_at(reader, geometry->groups_at, groups[i], geometry->max_groups,
                              sizeof(struct fib_group));
        __builtin_prefetch(record[i]);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (record[i] != NULL)
            pick_adjacency(reader, record[i], &keys[i], &answers[i]);
        record[i] = record_at(reader, geometry->adjacencies_at, answers[i].adjacency,
                              geometry->max_adjacencies, sizeof(struct fib_adjacency));
        __builtin_prefetch(record[i]);
    }
    for (uint32_t i = 0; i < n; i++)
        if (record[i] != NULL)
            copy_adjacency(record[i], &answers[i]);
}

/* What one batch asks: full answers, or group ids alone. */
struct ask {
    const struct fib_key *keys;
    struct fib_answer *answers; /* NULL: groups */
    uint32_t *groups;
    const uint32_t *addresses;  /* instead of keys: IPv4, host order; groups */
    const uint8_t (*addresses6)[16]; /* or IPv6, network order */
};

static void groups_of_addresses(const struct fib_reader *reader, const uint32_t *addresses,
                                uint32_t *groups, uint32_t n)
{
    const struct fib_header *header = fib_header_of(reader);
    const struct lpm_engine *engine = reader->engine[0];
    uint32_t root = load_relaxed32(&header->roots.root4);
    struct fib_key keys[CHUNK];
    if (root == 0) {
        memset(groups, 0, n * sizeof groups[0]);
        return;
    }
    if (engine->lookup4 != NULL) {
        engine->lookup4(reader, root, addresses, groups, n);
        return;
    }
    for (uint32_t at = 0; at < n; at += CHUNK) {
        uint32_t size = n - at < CHUNK ? n - at : CHUNK;
        memset(keys, 0, size * sizeof keys[0]);
        for (uint32_t i = 0; i < size; i++) {
            uint32_t big = __builtin_bswap32(addresses[at + i]);
            keys[i].family = 4;
            memcpy(keys[i].address, &big, sizeof big);
        }
        engine->lookup(reader, root, keys, groups + at, size);
    }
}

static void groups_of_addresses6(const struct fib_reader *reader, const uint8_t (*addresses)[16],
                                 uint32_t *groups, uint32_t n)
{
    const struct fib_header *header = fib_header_of(reader);
    const struct lpm_engine *engine = reader->engine[1];
    uint32_t root = load_relaxed32(&header->roots.root6);
    struct fib_key keys[CHUNK];
    if (root == 0) {
        memset(groups, 0, n * sizeof groups[0]);
        return;
    }
    if (engine->lookup6 != NULL) {
        engine->lookup6(reader, root, addresses, groups, n);
        return;
    }
    for (uint32_t at = 0; at < n; at += CHUNK) {
        uint32_t size = n - at < CHUNK ? n - at : CHUNK;
        memset(keys, 0, size * sizeof keys[0]);
        for (uint32_t i = 0; i < size; i++) {
            keys[i].family = 6;
            memcpy(keys[i].address, addresses[at + i], sizeof keys[i].address);
        }
        engine->lookup(reader, root, keys, groups + at, size);
    }
}

static void walk_once(const struct fib_reader *reader, const struct ask *ask, uint32_t from,
                      uint32_t n)
{
    if (ask->addresses != NULL) {
        groups_of_addresses(reader, ask->addresses + from, ask->groups + from, n);
        return;
    }
    if (ask->addresses6 != NULL) {
        groups_of_addresses6(reader, ask->addresses6 + from, ask->groups + from, n);
        return;
    }
    for (uint32_t at = from; at < from + n; at += CHUNK) {
        uint32_t size = from + n - at < CHUNK ? from + n - at : CHUNK;
        if (ask->answers != NULL)
            answer_chunk(reader, ask->keys + at, ask->answers + at, size);
        else
            groups_of(reader, ask->keys + at, ask->groups + at, size);
    }
}

/* The reader's loop; begin and end are the strategy's. */
static int look_up(struct fib_reader *reader, const struct ask *ask, uint32_t n,
                   uint64_t *generation)
{
    struct fib_ticket ticket = {0};
    uint32_t done = 0, size = n, tries = 0;
    *generation = fib_generation(reader);
    while (done < n) {
        uint32_t batch = n - done < size ? n - done : size;
        int error = fib_read_begin(reader, &ticket);
        if (unlikely(error != 0))
            return error;
        *generation = load_acquire64(&fib_header_of(reader)->published.generation);
        walk_once(reader, ask, done, batch);
        if (likely(fib_read_end(reader, &ticket))) {
            done += batch;
            tries = 0;
            continue;
        }
        tries++;
        if (batch == 1 && tries >= FIB_RETRIES)
            return -EAGAIN;
        if (batch > 1 && tries >= FIB_RETRIES_BEFORE_HALVING) {
            size = batch / 2;
            tries = 0;
        }
    }
    return 0;
}

int fib_lookup(struct fib_reader *reader, const struct fib_key *keys, struct fib_answer *answers,
               uint32_t n, uint64_t *generation)
{
    const struct ask ask = {.keys = keys, .answers = answers};
    return look_up(reader, &ask, n, generation);
}

int fib_lookup_groups(struct fib_reader *reader, const struct fib_key *keys, uint32_t *groups,
                      uint32_t n)
{
    const struct ask ask = {.keys = keys, .groups = groups};
    uint64_t generation;
    return look_up(reader, &ask, n, &generation);
}

int fib_lookup4(struct fib_reader *reader, const uint32_t *addresses, uint32_t *groups, uint32_t n)
{
    if (likely(reader->lean4 != NULL)) {
        struct fib_ticket ticket;
        (void)fib_epoch_begin(reader, &ticket);
        uint32_t root = load_relaxed32(&fib_header_of(reader)->roots.root4);
        reader->lean4(reader, root, addresses, groups, n);
        if (likely(fib_epoch_stands(reader, &ticket)))
            return 0;
        reader->retries++;
    }
    const struct ask ask = {.addresses = addresses, .groups = groups};
    uint64_t generation;
    return look_up(reader, &ask, n, &generation);
}

int fib_lookup6(struct fib_reader *reader, const uint8_t (*addresses)[16], uint32_t *groups,
                uint32_t n)
{
    if (likely(reader->lean6 != NULL)) {
        struct fib_ticket ticket;
        (void)fib_epoch_begin(reader, &ticket);
        uint32_t root = load_relaxed32(&fib_header_of(reader)->roots.root6);
        reader->lean6(reader, root, addresses, groups, n);
        if (likely(fib_epoch_stands(reader, &ticket)))
            return 0;
        reader->retries++;
    }
    const struct ask ask = {.addresses6 = addresses, .groups = groups};
    uint64_t generation;
    return look_up(reader, &ask, n, &generation);
}
