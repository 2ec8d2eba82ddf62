/* What is measured with a second process beside the writer: how soon it sees an update, how much
 * it is slowed down by them, how long its successor takes after a SIGKILL.
 *
 *   visible CPU COUNT            update call -> seen by a spinning reader    {"seen_ns":[...],"call_ns":[...]}
 *   slowdown CPU BLOCKS MS RATE  reader's rate with and without updates      {"idle":[...],"busy":[...],...}
 *   takeover COUNT               fib_writer_open after SIGKILL               {"seconds":[...],...}
 *   attach PATH LOCKS            be a reader of somebody else's segment      {}
 *   expect ADDRESS GROUP         answered twice: armed, then when seen       {"armed":1} {"seen_ns"}
 *
 * The reader is forked, runs on CPU, and shares one page with the writer's process besides the
 * segment. Every wait has a deadline.
 */
#include "ribcage_fib.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_SAMPLES = 100000, MOST_BLOCKS = 400, PATIENCE_S = 20, READER_CHUNK = 16384 };

/* Each word has one writer: the parent's are stored with release after the rest. */
struct shared_page {
    uint32_t asked;  /* parent: number of the sample, or of the block; UINT32_MAX: end */
    uint32_t armed;  /* reader: has looked up for that sample */
    uint32_t seen;   /* reader: that sample was seen at seen_ns */
    uint32_t awaited;
    uint64_t seen_ns;
    uint8_t address[16];
    uint64_t retries;
    uint64_t lookups[MOST_BLOCKS];
    uint64_t ns[MOST_BLOCKS]; /* on a CPU; under a strategy that waits, by the wall clock */
};
#define THE_END UINT32_MAX

static uint64_t number(const char *text)
{
    return strtoull(text, NULL, 10);
}

static struct shared_page *share(void)
{
    void *page = mmap(NULL, sizeof(struct shared_page), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return page == MAP_FAILED ? NULL : page;
}

/* A child on `cpu` that ends with this process. Its pid; 0 in the child. */
static pid_t fork_on(uint32_t cpu)
{
    pid_t parent = getpid(), child = fork();
    cpu_set_t set;
    if (child != 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (getppid() != parent || sched_setaffinity(0, sizeof set, &set) != 0)
        _exit(1);
    return 0;
}

static int attach_again(struct fib_reader *reader)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", ours.fd);
    return ours_attach(reader, path, NULL);
}

/* 0 when *word became `value` in time. */
static int await(const uint32_t *word, uint32_t value)
{
    uint64_t deadline = monotonic_ns() + (uint64_t)PATIENCE_S * NS_PER_S;
    for (uint32_t turn = 1; load_acquire32(word) != value; turn++)
        if (turn % 1024 == 0 && monotonic_ns() > deadline)
            return -ETIMEDOUT;
    return 0;
}

static void end_child(struct shared_page *page, pid_t child)
{
    if (child <= 0) /* fork failed: -1 would mean everybody */
        return;
    store_release32(&page->asked, THE_END);
    if (await(&page->armed, THE_END) != 0)
        kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void print_list(const char *name, const uint64_t *values, uint64_t n, const char *after)
{
    printf("\"%s\":[", name);
    for (uint64_t i = 0; i < n; i++)
        printf("%s%llu", i == 0 ? "" : ",", (unsigned long long)values[i]);
    printf("]%s", after);
}

/* ---- visible ---- */

/* Host order for IPv4, network order for IPv6: what ours_groups takes. */
static void key_of(const uint8_t *prefix, uint8_t *key)
{
    uint32_t host = bench_address4(prefix);
    memcpy(key, prefix, 16);
    if (ours.family == 4)
        memcpy(key, &host, sizeof host);
}

static void watch(struct fib_reader *reader, struct shared_page *page)
{
    for (uint32_t sample = 1;; sample++) {
        uint8_t key[16];
        uint32_t group = 0, asked;
        while ((asked = load_acquire32(&page->asked)) != sample)
            if (asked == THE_END)
                goto end;
        key_of(page->address, key);
        ours_groups(reader, key, &group, 1);
        store_release32(&page->armed, sample);
        for (uint32_t turn = 1; group != page->awaited; turn++) {
            ours_groups(reader, key, &group, 1);
            if (turn % 1024 == 0 && load_acquire32(&page->asked) == THE_END)
                goto end;
        }
        page->seen_ns = monotonic_ns();
        store_release32(&page->seen, sample);
    }
end:
    store_release32(&page->armed, THE_END);
    _exit(0);
}

/* A random row whose own first address it answers for, so that changing it is seen there. */
static struct route_row visible_row(const struct bench *bench)
{
    for (;;) {
        struct route_row row = bench->rows[bench_random() % bench->n_rows], match;
        struct fib_key key = {.family = row.family};
        memcpy(key.address, row.prefix, 16);
        if (fib_lookup_match(&ours.reader, &key, &match) == 0 && match.length == row.length)
            return row;
    }
}

static int see_one(struct shared_page *page, const struct route_row *row, uint32_t sample,
                   uint64_t *seen_ns, uint64_t *call_ns)
{
    memcpy(page->address, row->prefix, 16);
    page->awaited = row->nexthop;
    store_release32(&page->asked, sample);
    if (await(&page->armed, sample) != 0)
        return -ETIMEDOUT;
    for (uint64_t until = monotonic_ns() + bench_random() % 2048; monotonic_ns() < until;)
        ; /* so that the reader's turn is not in step with the call */
    uint64_t began = monotonic_ns();
    int result = ours_apply(row);
    ours_publish();
    *call_ns = monotonic_ns() - began;
    if (result != 0 || (result = await(&page->seen, sample)) != 0)
        return result;
    *seen_ns = page->seen_ns > began ? page->seen_ns - began : 0;
    return 0;
}

static int visible_samples(const struct bench *bench, struct shared_page *page, uint32_t count,
                           uint64_t *seen, uint64_t *call)
{
    for (uint32_t i = 0; i < count; i += 2) { /* another group, and back */
        struct route_row row = visible_row(bench);
        uint32_t loaded = row.nexthop;
        row.nexthop = loaded == 1 ? bench->max_nexthop : 1;
        int result = see_one(page, &row, i + 1, &seen[i], &call[i]);
        row.nexthop = loaded;
        if (result == 0)
            result = see_one(page, &row, i + 2, &seen[i + 1], &call[i + 1]);
        if (result != 0)
            return result;
    }
    return 0;
}

static int run_visible(const struct bench *bench, char *const *argument)
{
    static uint64_t seen[MOST_SAMPLES], call[MOST_SAMPLES];
    uint32_t cpu = (uint32_t)number(argument[0]), count = (uint32_t)number(argument[1]) & ~1u;
    struct shared_page *page = share();
    if (page == NULL || count > MOST_SAMPLES || bench->max_nexthop < 2)
        return bench_fail("visible: needs memory, two next hops, at most %d samples", MOST_SAMPLES);
    pid_t child = fork_on(cpu);
    if (child == 0) {
        struct fib_reader reader;
        if (attach_again(&reader) != 0)
            _exit(1);
        watch(&reader, page);
    }
    int result = child < 0 ? -errno : visible_samples(bench, page, count, seen, call);
    end_child(page, child);
    munmap(page, sizeof *page);
    if (result != 0)
        return bench_fail("visible: an update was not seen: %s", strerror(-result));
    printf("{");
    print_list("seen_ns", seen, count, ",");
    print_list("call_ns", call, count, "}");
    bench_say("%s", "");
    return 0;
}

/* ---- slowdown ---- */

static void look_up_for_ever(struct fib_reader *reader, const struct bench *bench,
                             struct shared_page *page)
{
    uint32_t groups[BENCH_BATCH], block;
    const uint8_t *addresses = bench->stream[1].bytes;
    uint64_t width = ours.family == 4 ? 4 : 16, n = bench->stream[1].size / width, at = 0;
    int waits = locks_waited_for(ours.base);
    uint64_t (*const time_now)(void) = waits ? monotonic_ns : bench_cpu_ns;
    while ((block = load_acquire32(&page->asked)) != THE_END) {
        uint64_t began = time_now(), answered = 0;
        /* A reader that waits for a lock may be at one batch for a whole block. */
        for (uint32_t i = 0; i < READER_CHUNK; i += BENCH_BATCH) {
            if (waits && load_acquire32(&page->asked) != block)
                break;
            if (ours_groups(reader, addresses + at * width, groups, BENCH_BATCH) == 0)
                answered += BENCH_BATCH;
            at = at + BENCH_BATCH < n ? at + BENCH_BATCH : 0;
        }
        uint64_t took = time_now() - began;
        /* Without waiting a chunk across two blocks counts for none. */
        if (block < MOST_BLOCKS && (waits || load_acquire32(&page->asked) == block)) {
            page->lookups[block] += answered;
            page->ns[block] += took;
        }
        store_relaxed64(&page->retries, reader->retries);
        store_release32(&page->armed, block);
    }
    store_release32(&page->armed, THE_END);
    _exit(0);
}

/* What block i needs of the reader before it may end: a chunk of lookups that began and ended in
 * it, or the block says nothing (after a stall of the reader's CPU). Not so while changes go on and
 * readers wait for a lock: then no answer is an answer. */
static int has_lookups(struct shared_page *page, uint32_t i, uint64_t gap)
{
    return load_acquire32(&page->armed) == i || (gap != 0 && locks_waited_for(ours.base));
}

/* Block i: `gap` ns between two changes, 0: none at all, in the same loop, for `ns` at least. */
static int pace(const struct bench *bench, struct shared_page *page, uint32_t i, uint64_t ns,
                uint64_t gap, uint64_t *changes)
{
    static uint64_t pair;
    uint64_t began = monotonic_ns(), due = began + gap, now;
    struct route_row row = {0};
    uint32_t nexthop = 0;
    int result = 0;
    while ((now = monotonic_ns()) < began + ns || nexthop != 0 || !has_lookups(page, i, gap)) {
        if (now > began + (uint64_t)PATIENCE_S * NS_PER_S && nexthop == 0)
            return -ETIMEDOUT;
        if (gap == 0 || now < due)
            continue;
        due += gap;
        if (nexthop == 0) {
            row = bench->rows[bench->pairs[pair++ % bench->n_pairs]];
            nexthop = row.nexthop;
            row.nexthop = 0;
        } else {
            row.nexthop = nexthop;
            nexthop = 0;
        }
        if ((result = ours_apply(&row)) != 0)
            return result;
        ours_publish();
        (*changes)++;
    }
    return 0;
}

/* Block 0 warms up; then idle, busy, busy, idle and again: a drift of the machine cancels out. */
static int is_busy(uint32_t block)
{
    return block % 4 == 2 || block % 4 == 3;
}

static int slowdown_blocks(const struct bench *bench, struct shared_page *page, uint32_t blocks,
                           uint64_t ns, uint64_t gap, uint64_t *changes, uint64_t *busy_ns)
{
    for (uint32_t i = 0; i < blocks; i++) {
        uint64_t began = monotonic_ns();
        store_release32(&page->asked, i);
        int result = pace(bench, page, i, ns, is_busy(i) ? gap : 0, changes);
        if (result != 0)
            return result;
        *busy_ns += is_busy(i) ? monotonic_ns() - began : 0;
    }
    return await(&page->armed, blocks - 1);
}

static void say_slowdown(const struct shared_page *page, uint32_t blocks, uint64_t changes,
                         uint64_t busy_ns)
{
    static uint64_t rate[2][MOST_BLOCKS];
    uint32_t n[2] = {0, 0};
    for (uint32_t i = 1; i < blocks; i++) {
        int busy = is_busy(i);
        rate[busy][n[busy]++] = page->ns[i] == 0 ? 0 : page->lookups[i] * NS_PER_S / page->ns[i];
    }
    printf("{");
    print_list("idle", rate[0], n[0], ",");
    print_list("busy", rate[1], n[1], ",");
    bench_say("\"updates\":%llu,\"busy_ns\":%llu,\"retries\":%llu,\"wall\":%d}",
              (unsigned long long)changes, (unsigned long long)busy_ns,
              (unsigned long long)page->retries, locks_waited_for(ours.base));
}

static int run_slowdown(const struct bench *bench, char *const *argument)
{
    uint32_t cpu = (uint32_t)number(argument[0]), blocks = (uint32_t)number(argument[1]);
    uint64_t ns = number(argument[2]) * NS_PER_MS, rate = number(argument[3]);
    uint64_t changes = 0, busy_ns = 0;
    struct shared_page *page = share();
    blocks = (blocks / 4) * 4 + 1;
    if (page == NULL || blocks > MOST_BLOCKS || rate == 0 || bench->n_pairs == 0)
        return bench_fail("slowdown: needs memory, a rate, at most %d blocks", MOST_BLOCKS - 1);
    pid_t child = fork_on(cpu);
    if (child == 0) {
        struct fib_reader reader;
        if (attach_again(&reader) != 0)
            _exit(1);
        look_up_for_ever(&reader, bench, page);
    }
    int result = child < 0 ? -errno
                           : slowdown_blocks(bench, page, blocks, ns, NS_PER_S / rate, &changes,
                                             &busy_ns);
    end_child(page, child);
    if (result == 0)
        say_slowdown(page, blocks, changes, busy_ns);
    munmap(page, sizeof *page);
    return result == 0 ? 0 : bench_fail("slowdown: %s", strerror(-result));
}

/* ---- takeover ---- */

/* A writer of its own, killed in the middle of its updates. 0 when it was at work. */
static int live_and_die(const struct bench *bench, struct shared_page *page)
{
    store_release32(&page->armed, 0);
    pid_t child = fork_on(bench->cpu);
    if (child == 0) {
        if (ours_open_writer(NULL) != 0)
            _exit(1);
        store_release32(&page->armed, 1);
        for (uint64_t from = bench_random();; from++)
            if (bench_pairs(bench, from % bench->n_pairs, 1, 1) != 0)
                _exit(1);
    }
    int status, result = 0;
    if (child < 0) /* to kill -1 would be to kill everybody */
        return -errno;
    while (load_acquire32(&page->armed) != 1) {
        if (waitpid(child, &status, WNOHANG) == child)
            return -EBADMSG;
        sched_yield(); /* it may share our CPU */
    }
    usleep((useconds_t)(2000 + bench_random() % 10000));
    kill(child, SIGKILL);
    if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status) ||
        WTERMSIG(status) != SIGKILL)
        result = -EBADMSG;
    return result;
}

static int run_takeover(const struct bench *bench, char *const *argument)
{
    static uint64_t took[100];
    uint64_t count = number(argument[0]), applied, changed, redone = 0;
    struct shared_page *page = share();
    if (page == NULL || count > 100 || bench->n_pairs == 0)
        return bench_fail("takeover: needs memory, at most 100 of them");
    for (uint64_t i = 0; i < count; i++) {
        struct fib_recovery recovery;
        fib_writer_close(ours.writer);
        int result = live_and_die(bench, page);
        uint64_t began = bench_cpu_ns();
        if (result != 0 || (result = ours_open_writer(&recovery)) != 0)
            return bench_fail("takeover: %s", strerror(-result));
        took[i] = bench_cpu_ns() - began;
        redone += recovery.redone;
        /* At most one route is under way, and everything else as it was. */
        if (fib_check(ours.writer) != 0 || recovery.routes + 1 < bench->n_rows)
            return bench_fail("takeover: the successor found %llu of %llu routes",
                              (unsigned long long)recovery.routes,
                              (unsigned long long)bench->n_rows);
        result = fib_apply(ours.writer, bench->rows, bench->n_rows, &applied, &changed);
        ours_publish();
        if (result != 0 || changed > 1)
            return bench_fail("takeover: %llu routes were not as acknowledged",
                              (unsigned long long)changed);
    }
    munmap(page, sizeof *page);
    printf("{");
    print_list("ns", took, count, ",");
    bench_say("\"redone\":%llu}", (unsigned long long)redone);
    return 0;
}

/* ---- a reader of somebody else's segment ---- */

static struct fib_reader other;

static int run_attach(const struct bench *bench, char *const *argument)
{
    ours.family = bench->family;
    int result = locks_open(argument[1], bench->semaphore);
    if (result == 0)
        result = ours_attach(&other, argument[0], NULL);
    if (result != 0)
        return bench_fail("cannot attach to %s: %s", argument[0], strerror(-result));
    bench_say("{}");
    return 0;
}

/* ADDRESS: 32 hexadecimal digits, as in a row's prefix. */
static int run_expect(const struct bench *bench, char *const *argument)
{
    uint8_t prefix[16] = {0}, key[16];
    uint32_t group = 0, awaited = (uint32_t)number(argument[1]);
    (void)bench;
    if (other.base == NULL || strlen(argument[0]) != 32)
        return bench_fail("expect: not attached, or no address");
    for (uint32_t i = 0; i < 16; i++)
        if (sscanf(argument[0] + 2 * i, "%2hhx", &prefix[i]) != 1)
            return bench_fail("expect: not hexadecimal");
    key_of(prefix, key);
    ours_groups(&other, key, &group, 1);
    bench_say("{\"armed\":1}");
    uint64_t deadline = monotonic_ns() + (uint64_t)PATIENCE_S * NS_PER_S;
    for (uint32_t turn = 1; group != awaited; turn++) {
        ours_groups(&other, key, &group, 1);
        if (turn % 1024 == 0 && monotonic_ns() > deadline)
            return bench_fail("expect: the update was not seen in %d s", PATIENCE_S);
    }
    uint64_t seen = monotonic_ns();
    bench_say("{\"seen_ns\":%llu}", (unsigned long long)seen);
    return 0;
}

const struct bench_command ribcage_others[] = {
    {"visible", 2, run_visible}, {"slowdown", 4, run_slowdown}, {"takeover", 1, run_takeover},
    {"attach", 2, run_attach},   {"expect", 2, run_expect},     {"vector", 1, ours_vector},
    {NULL, 0, NULL},
};
