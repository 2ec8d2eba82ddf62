/* What is shared is believed word by word: banks stopped in mid-copy, words that make no sense.
 *
 * Built with -DRC_FAULT_POINTS: `at_point` runs at each, in whatever copies or writes. Segments end
 * where their heap block ends, so AddressSanitizer sees one byte too far.
 */
#include <errno.h>

#include "check.h"
#include "fib/fib.h"

enum { GROUPS = 8, RING = MESSAGE_RING_BLOCKS * FIB_BLOCK };

static void (*at_point)(const char *name);
void fault_point(const char *name);
void fault_point(const char *name)
{
    if (at_point != NULL)
        at_point(name);
}

static uint8_t *segment;
static uint64_t size;
static struct fib_writer *writer;
static struct fib_reader reader;

static struct fib_header *bank(uint32_t which)
{
    struct fib_header *first = (void *)segment;
    return (void *)(segment + which * (uint64_t)first->geometry.blocks * FIB_BLOCK);
}

static void route(uint32_t group)
{
    struct route_row row = {.family = 4, .length = 8, .prefix = {10}, .nexthop = group};
    uint64_t applied, changed;
    CHECK_EQUAL(0, fib_apply(writer, &row, 1, &applied, &changed));
}

/* A stamp says its generation in every field. */
static void publish(void)
{
    uint64_t next = fib_header_newest(writer)->published.generation + 1;
    CHECK_EQUAL(next, fib_publish(writer, next, 2 * next, 3 * next));
}

static void begin(uint32_t strategy, uint32_t engine4)
{
    const struct fib_params params = {.max_routes4 = 64, .max_routes6 = 64, .max_groups = 16,
                                      .max_adjacencies = 16, .engine4 = engine4,
                                      .strategy = strategy};
    size = fib_segment_size(&params);
    segment = aligned_alloc(4096, size);
    CHECK(segment != NULL);
    memset(segment, 0, size);
    CHECK_EQUAL(0, fib_create(segment, size, &params));
    writer = fib_writer_open(segment, size, NULL);
    CHECK(writer != NULL);
    for (uint32_t id = 1; id < GROUPS; id++) {
        const struct fib_adjacency record = {.id = id, .state = ADJACENCY_RESOLVED};
        struct fib_group group = {.id = id, .kind = FIB_KIND_FORWARD, .paths = 1, .buckets = 1};
        group.bucket[0] = id;
        CHECK_EQUAL(0, fib_set_adjacency(writer, &record));
        CHECK_EQUAL(0, fib_set_group(writer, &group));
    }
    route(1);
    publish();
    CHECK_EQUAL(0, fib_reader_attach(&reader, segment, size));
}

static void end(void)
{
    at_point = NULL;
    fib_reader_detach(&reader);
    fib_writer_close(writer);
    writer = NULL;
    free(segment);
}

static int look_up(void)
{
    const uint32_t address = 10u << 24;
    uint32_t group = 0;
    int result = fib_lookup4(&reader, &address, &group, 1);
    return result != 0 ? result : (int)group;
}

/* ---- stamps while their bank is copied ---- */

static uint64_t newest, whole, met;

static void read_stamps(const char *name)
{
    met += strcmp(name, "bank-stamp-copied") == 0;
    for (uint64_t generation = 1; generation <= newest; generation++) {
        struct fib_stamp stamp;
        if (fib_read_stamp(&reader, generation, &stamp) != 0)
            continue;
        CHECK_EQUAL(generation, stamp.generation);
        CHECK_EQUAL(generation, stamp.update_id);
        CHECK_EQUAL(2 * generation, stamp.t0);
        CHECK_EQUAL(3 * generation, stamp.t1);
        whole++;
    }
}

/* A reader chose a bank and was stopped; now that bank is copied over. The swap after the choice
 * is left out here, which to the reader is the same: both banks have gone on by a whole ring. */
static void a_stamp_is_whole_or_not_there(uint32_t strategy)
{
    begin(strategy, FIB_ENGINE_COMPACT);
    for (uint32_t i = 0; i < FIB_STAMPS / 2; i++)
        publish();
    uint8_t *old = malloc(size);
    CHECK(old != NULL);
    memcpy(old, segment, size);
    for (uint32_t i = 0; i < FIB_STAMPS; i++)
        publish();
    newest = fib_header_newest(writer)->published.generation;
    /* Both banks as they are now, and stale stamps where a successor copies to. */
    struct fib_header *in_force = (void *)(uintptr_t)fib_header_now(segment);
    struct fib_header *to = in_force == bank(0) ? bank(1) : bank(0);
    uint64_t at = (uint64_t)to->geometry.stamps_at * FIB_BLOCK;
    uint64_t bytes = FIB_STAMPS * sizeof(struct fib_stamp);
    memcpy((uint8_t *)to + at, old + ((uint8_t *)to - segment) + at, bytes);
    /* The reader stands in the bank that is copied to. */
    struct fib_reader before = reader;
    reader.segment = (const uint8_t *)to;
    reader.sync = NULL;
    reader.lags = 0;
    reader.base = (const uint8_t *)to;
    store_relaxed64(&to->published.generation, newest);
    whole = met = 0;
    struct fib_writer *dead = writer;
    at_point = read_stamps;
    writer = fib_writer_open(segment, size, NULL);
    at_point = NULL;
    CHECK(writer != NULL);
    CHECK(met > 5 && whole > FIB_STAMPS);
    reader = before;
    fib_writer_close(dead);
    free(old);
    end();
}

/* ---- a replica that could not be made whole ---- */

static void swap_on(const char *name)
{
    if (strcmp(name, "bank-copied") == 0)
        bank(0)->sync.swaps += 2;
}

static void a_torn_replica_names_no_generation(void)
{
    begin(FIB_STRATEGY_MESSAGE, FIB_ENGINE_COMPACT);
    CHECK_EQUAL(1, look_up());
    /* The ring jumps, as after a takeover; the snapshot has a header of another time. */
    struct fib_header *snapshot = (void *)(uintptr_t)fib_header_now(segment);
    bank(0)->sync.reserve = bank(0)->sync.commit = 4ull * RING;
    bank(0)->sync.position[0] = bank(0)->sync.position[1] = 4ull * RING;
    snapshot->published.generation = 999;
    at_point = swap_on;
    CHECK_EQUAL(-EAGAIN, look_up());
    CHECK_EQUAL(1, fib_generation(&reader));
    end();
}

/* ---- words that make no sense ---- */

static void a_segment_of_one_bank_has_no_second(void)
{
    begin(FIB_STRATEGY_SEQLOCK, FIB_ENGINE_COMPACT);
    bank(0)->sync.swaps = 1;
    CHECK_EQUAL(1, fib_generation(&reader));
    CHECK_EQUAL(1, fib_header_now(segment)->published.generation);
    struct fib_published published;
    CHECK_EQUAL(0, fib_read_published(&reader, &published));
    CHECK_EQUAL(1, published.generation);
    CHECK_EQUAL(1, look_up());
    end();
}

static void a_geometry_no_writer_trusts_is_refused(uint32_t strategy)
{
    begin(strategy, FIB_ENGINE_COMPACT);
    for (uint32_t i = 0; i < 3; i++) {
        struct fib_geometry kept = bank(0)->geometry;
        for (uint32_t b = 0; b < 2; b++) {
            uint32_t *word[3] = {&bank(b)->geometry.arena_at, &bank(b)->geometry.stamps_at,
                                 &bank(b)->geometry.max_adjacencies};
            *word[i] = i == 2 ? 60000 : kept.blocks - 1;
        }
        struct fib_reader other;
        CHECK_EQUAL(-EINVAL, fib_reader_attach(&other, segment, size));
        bank(0)->geometry = bank(1)->geometry = kept;
    }
    end();
}

/* The same after attaching: the replica is checked, and is the reader's own. */
static void a_geometry_that_changes_later_makes_no_replica(void)
{
    begin(FIB_STRATEGY_MESSAGE, FIB_ENGINE_COMPACT);
    struct fib_header *both[2] = {bank(0), bank(1)};
    both[0]->geometry.blocks *= 2;
    both[1]->geometry.blocks *= 2;
    CHECK_EQUAL(-EAGAIN, look_up());
    both[0]->geometry.blocks /= 2;
    both[1]->geometry.blocks /= 2;
    CHECK_EQUAL(1, look_up());
    end();
}

static void a_position_between_entries_is_refused(void)
{
    begin(FIB_STRATEGY_MESSAGE, FIB_ENGINE_COMPACT);
    bank(0)->sync.position[0] = bank(0)->sync.position[1] = RING - 8;
    bank(0)->sync.reserve = bank(0)->sync.commit = RING;
    CHECK_EQUAL(-EAGAIN, look_up());
    end();
}

static void an_engine_that_changes_later_changes_nothing(void)
{
    begin(FIB_STRATEGY_SEQLOCK, FIB_ENGINE_COMPACT);
    bank(0)->geometry.engine4 = bank(0)->geometry.engine6 = 77;
    struct route_row row;
    const struct fib_key key = {.family = 4, .address = {10}}, six = {.family = 6};
    uint32_t group = 0;
    CHECK_EQUAL(1, look_up());
    CHECK_EQUAL(0, fib_lookup_groups(&reader, &key, &group, 1));
    CHECK_EQUAL(1, group);
    CHECK_EQUAL(0, fib_lookup_groups(&reader, &six, &group, 1));
    CHECK_EQUAL(0, fib_lookup6(&reader, (const uint8_t(*)[16])six.address, &group, 1));
    CHECK_EQUAL(0, fib_lookup_match(&reader, &key, &row));
    CHECK_EQUAL(1, row.nexthop);
    end();
}

/* An intent that ranges over the end of the address space: flat would paint behind its table. */
static void an_intent_about_no_prefix_derives_nothing(void)
{
    begin(FIB_STRATEGY_EPOCH, FIB_ENGINE_FLAT);
    struct fib_intent *intent = &bank(0)->intent;
    memset(intent->prefix, 0xff, 4);
    intent->length = 1;
    intent->family = 4;
    intent->rows = 1;
    intent->sequence |= 1;
    struct fib_writer *dead = writer;
    struct fib_recovery found;
    writer = fib_writer_open(segment, size, &found);
    CHECK(writer != NULL);
    CHECK_EQUAL(1, found.redone);
    CHECK_EQUAL(1, look_up());
    fib_writer_close(dead);
    end();
}

/* ---- the lean path ---- */

static void bump(void)
{
    bank(0)->published.epoch += 2;
}

static void (*before_lean)(const struct fib_reader *, uint32_t, const uint32_t *, uint32_t *,
                           uint32_t);
static void outrun_once(const struct fib_reader *r, uint32_t root, const uint32_t *addresses,
                        uint32_t *groups, uint32_t n)
{
    before_lean(r, root, addresses, groups, n);
    bump();
}

static void a_lean_lookup_that_is_outrun_counts(void)
{
    begin(FIB_STRATEGY_EPOCH, FIB_ENGINE_COMPACT);
    before_lean = reader.lean4;
    CHECK_EQUAL(1, look_up());
    CHECK_EQUAL(0, reader.retries);
    reader.lean4 = outrun_once;
    CHECK_EQUAL(1, look_up());
    CHECK_EQUAL(1, reader.retries);
    end();
}

int main(void)
{
    a_stamp_is_whole_or_not_there(FIB_STRATEGY_DOUBLE);
    a_stamp_is_whole_or_not_there(FIB_STRATEGY_MESSAGE);
    a_torn_replica_names_no_generation();
    a_segment_of_one_bank_has_no_second();
    a_geometry_no_writer_trusts_is_refused(FIB_STRATEGY_DOUBLE);
    a_geometry_no_writer_trusts_is_refused(FIB_STRATEGY_MESSAGE);
    a_geometry_that_changes_later_makes_no_replica();
    a_position_between_entries_is_refused();
    an_engine_that_changes_later_changes_nothing();
    an_intent_about_no_prefix_derives_nothing();
    a_lean_lookup_that_is_outrun_counts();
    return 0;
}
