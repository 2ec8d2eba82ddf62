/* One writer and two readers as threads over one FIB, under ThreadSanitizer.
 *
 *   test_threads STRATEGY ENGINE4 ENGINE6 ROUNDS
 *
 * Every round moves all routes to the next group in one publish, and makes and withdraws longer
 * ones in between, so that nodes come and go under the readers. An answer must hold together
 * (group, adjacency and MTU of one id); where the strategy promises whole batches, all answers
 * of a call must name the same group. ThreadSanitizer adds that nothing shared is touched but
 * through atomic words. It does not know fences (gcc says so when it compiles), so this is no
 * proof of their place: that is argued in csrc/sync/ and tried by tests/crash.
 */
#include <pthread.h>
#include <time.h>

#include "base/cpu.h"
#include "check.h"
#include "fib/fib.h"
#include "sync/lock/locks.h"

enum { GROUPS = 8, SITES = 12, KEYS = 2 * SITES, READERS = 2, MOST_ROWS = 6 * SITES + 2 };

static struct fib_params params = {
    .max_routes4 = 300, .max_routes6 = 300, .max_groups = 32, .max_adjacencies = 32};
static struct fib_locks locks = {.semaphore = -1};
static void *segment;
static uint64_t size;
static int ended;

/* The rows of a round: all to `group`; the longest of each site to `deep`, 0 withdraws. */
static uint64_t rows_of(struct route_row *row, uint32_t group, uint32_t deep)
{
    static const uint8_t length4[3] = {16, 24, 32}, length6[3] = {40, 48, 128};
    uint64_t n = 0;
    memset(row, 0, MOST_ROWS * sizeof *row);
    for (uint32_t level = 0; level < 3; level++)
        for (uint8_t site = 0; site < SITES; site++)
            for (uint8_t family = 4; family <= 6; family += 2) {
                struct route_row *to = &row[n++];
                const uint8_t four[4] = {10, site, level > 0, level > 1};
                const uint8_t six[16] = {0x20, 1, 0xd, 0xb8, site, level > 0};
                memcpy(to->prefix, family == 4 ? four : six, family == 4 ? 4 : 16);
                if (family == 6 && level == 2)
                    to->prefix[15] = 1;
                to->family = family;
                to->length = family == 4 ? length4[level] : length6[level];
                to->nexthop = level == 2 ? deep : group;
            }
    for (uint8_t family = 4; family <= 6; family += 2) {
        row[n].family = family;
        row[n++].nexthop = group;
    }
    return n;
}

static void keys_of(struct fib_key *key)
{
    memset(key, 0, KEYS * sizeof *key);
    for (uint8_t site = 0; site < SITES; site++) {
        const uint8_t four[4] = {10, site, 1, 1};
        const uint8_t six[16] = {0x20, 1, 0xd, 0xb8, site, 1, [15] = 1};
        key[2 * site].family = 4;
        memcpy(key[2 * site].address, four, sizeof four);
        key[2 * site + 1].family = 6;
        memcpy(key[2 * site + 1].address, six, sizeof six);
    }
}

static int promises_whole_batches(void)
{
    return params.strategy != FIB_STRATEGY_EPOCH && params.strategy != FIB_STRATEGY_NONE;
}

static void check_answers(const struct fib_answer *answer, int whole)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        CHECK(answer[i].group >= 1 && answer[i].group <= GROUPS);
        CHECK_EQUAL(answer[i].group, answer[i].adjacency);
        CHECK_EQUAL(1500 + answer[i].group, answer[i].mtu);
        if (whole)
            CHECK_EQUAL(answer[0].group, answer[i].group);
    }
}

static void *read_on(void *answered)
{
    struct fib_reader reader;
    struct fib_key key[KEYS];
    struct fib_answer answer[KEYS];
    uint64_t *count = answered, so_far = 0, generation;
    keys_of(key);
    CHECK_EQUAL(0, -fib_reader_attach(&reader, segment, size));
    CHECK_EQUAL(0, -fib_reader_locks(&reader, &locks));
    while (!__atomic_load_n(&ended, __ATOMIC_ACQUIRE)) {
        uint64_t mixed = reader.mixed, retries = reader.retries;
        if (fib_lookup(&reader, key, answer, KEYS, &generation) != 0)
            continue; /* locked out */
        int halved = reader.retries - retries >= FIB_RETRIES_BEFORE_HALVING;
        if (params.strategy != FIB_STRATEGY_NONE)
            check_answers(answer, promises_whole_batches() && mixed == reader.mixed && !halved);
        so_far += KEYS;
        __atomic_store_n(count, so_far, __ATOMIC_RELAXED);
    }
    fib_reader_detach(&reader);
    return NULL;
}

static void fill(struct fib_writer *writer)
{
    for (uint32_t id = 1; id <= GROUPS; id++) {
        const struct fib_adjacency adjacency = {
            .id = id, .state = ADJACENCY_RESOLVED, .mtu = (uint16_t)(1500 + id)};
        const struct fib_group group = {
            .id = id, .kind = FIB_KIND_FORWARD, .paths = 1, .buckets = 1, .bucket = {id}};
        CHECK_EQUAL(0, -fib_set_adjacency(writer, &adjacency));
        CHECK_EQUAL(0, -fib_set_group(writer, &group));
    }
}

static void move(struct fib_writer *writer, uint32_t group, uint32_t deep)
{
    struct route_row row[MOST_ROWS];
    uint64_t applied, changed, n = rows_of(row, group, deep);
    CHECK_EQUAL(0, -fib_apply(writer, row, n, &applied, &changed));
    fib_publish(writer, 0, 0, 0);
}

/* A reader that got no CPU until now, or was locked out each time, has shown nothing yet. */
static int all_answered(const uint64_t *answered)
{
    for (uint32_t i = 0; i < READERS; i++)
        if (__atomic_load_n(&answered[i], __ATOMIC_RELAXED) == 0)
            return 0;
    return 1;
}

static void make_segment(void)
{
    size = fib_segment_size(&params);
    CHECK(size > 0);
    segment = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
    CHECK(segment != NULL);
    memset(segment, 0, size);
    CHECK_EQUAL(0, fib_create(segment, size, &params));
    locks.size = sizeof(struct sync_segment);
    locks.memory = aligned_alloc(4096, (locks.size + 4095) / 4096 * 4096);
    CHECK(locks.memory != NULL);
    memset(locks.memory, 0, locks.size);
    CHECK_EQUAL(0, -sync_create(locks.memory, locks.size, 1));
    if (params.strategy == FIB_STRATEGY_SEM_UNDO)
        for (int32_t key = 0x52430000; locks.semaphore < 0; key++)
            locks.semaphore = sync_semaphore_create(key, 0600, -1);
}

int main(int argc, char **argv)
{
    pthread_t reader[READERS];
    uint64_t answered[READERS] = {0};
    CHECK_EQUAL(5, argc);
    params.strategy = (uint32_t)atoi(argv[1]);
    params.engine4 = (uint32_t)atoi(argv[2]);
    params.engine6 = (uint32_t)atoi(argv[3]);
    uint32_t rounds = (uint32_t)atoi(argv[4]);
    cpu_force_portable(1); /* gathers are not instrumented */
    make_segment();
    struct fib_writer *writer = fib_writer_open_locked(segment, size, &locks, NULL);
    CHECK(writer != NULL);
    fill(writer);
    move(writer, 1, 1);
    for (uint32_t i = 0; i < READERS; i++)
        CHECK_EQUAL(0, pthread_create(&reader[i], NULL, read_on, &answered[i]));
    time_t at_most = time(NULL) + 60;
    for (uint32_t round = 1;
         round <= rounds || (!all_answered(answered) && time(NULL) < at_most); round++) {
        uint32_t group = 1 + round % GROUPS;
        move(writer, group, round % 3 == 0 ? 0 : group);
    }
    __atomic_store_n(&ended, 1, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < READERS; i++)
        CHECK_EQUAL(0, pthread_join(reader[i], NULL));
    CHECK(all_answered(answered));
    CHECK_EQUAL(0, -fib_check(writer));
    fib_writer_close(writer);
    if (locks.semaphore >= 0)
        CHECK_EQUAL(0, sync_semaphore_remove(locks.semaphore));
    free(locks.memory);
    free(segment);
    printf("answered %llu\n", (unsigned long long)(answered[0] + answered[1]));
    return 0;
}
