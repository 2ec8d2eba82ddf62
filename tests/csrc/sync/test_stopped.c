/* Reader and writer in turns, each stopped where the other could be hurt: is what a reader says
 * true of the generation it names, and does that number never go back?
 *
 *   test_stopped ENGINE4 STRATEGY        built with -DRC_LOAD_POINTS -DRC_FAULT_POINTS
 *
 *     reader   asks for the generation, looks three addresses up, asks for the generation
 *     writer   a coroutine: publishes without end, stopped at every fault point
 *
 * The writer stands at one of its points when the reader begins, goes on by so many points before
 * the reader's n-th load, and stands again: all points x all loads x all distances. In a race of two
 * processes such a meeting takes a preemption at the one instruction, once in many hours.
 * ../fib/test_moments.c stops readers alike, but lets the writer finish what it began.
 */
#include "fresh_fib.h"

#include <ucontext.h>

enum { GROUPS = 7, ROUTES = 3, MOST_POINTS = 4096 };

static struct fib_writer *writer;
static struct fib_reader reader;
static ucontext_t reading, writing;
static uint8_t stack[1 << 18];
static int in_writer;
static uint64_t points, published, done;

/* ---- the writer ---- */

void fault_point(const char *name);
void fault_point(const char *name)
{
    (void)name;
    points++;
    if (in_writer)
        swapcontext(&writing, &reading);
}

/* Group of route r in generation g: all three change, each in its own way. */
static uint32_t truth(uint64_t generation, uint32_t route)
{
    return 1 + (uint32_t)((generation * (route + 1) + route) % GROUPS);
}

static void write_on(void)
{
    for (;;) {
        struct route_row rows[ROUTES];
        uint64_t applied, changed;
        memset(rows, 0, sizeof rows);
        for (uint32_t i = 0; i < ROUTES; i++) {
            rows[i].family = 4;
            rows[i].length = (uint8_t)(16 + 8 * i);
            rows[i].prefix[0] = (uint8_t)(10 + i);
            rows[i].nexthop = truth(published + 1, i);
        }
        CHECK_EQUAL(0, fib_apply(writer, rows, ROUTES, &applied, &changed));
        /* As control does whose guards end between the words and their publish. */
        fib_batch_end(writer);
        uint64_t generation = fib_publish(writer, 0, 0, 0);
        CHECK_EQUAL(published + 1, generation);
        published = generation;
        done++;
    }
}

static void advance(uint64_t steps)
{
    for (uint64_t i = 0; i < steps; i++) {
        in_writer = 1;
        swapcontext(&reading, &writing);
        in_writer = 0;
    }
}

/* ---- the reader ---- */

static uint64_t loads, stop_at, distance;
static int looking;

void load_point(void);
void load_point(void)
{
    if (!looking || in_writer || ++loads != stop_at)
        return;
    looking = 0;
    advance(distance);
    looking = 1;
}

/* 0: it was over before it came to the load to stop at. */
static int try_one(uint64_t newest_at_rest, int whole)
{
    struct fib_key keys[ROUTES];
    struct fib_answer answers[ROUTES];
    uint64_t named, mixed = reader.mixed, retries = reader.retries;
    memset(keys, 0, sizeof keys);
    for (uint32_t i = 0; i < ROUTES; i++) {
        keys[i].family = 4;
        keys[i].address[0] = (uint8_t)(10 + i);
    }
    loads = 0;
    looking = 1;
    uint64_t before = fib_generation(&reader);
    int result = fib_lookup(&reader, keys, answers, ROUTES, &named);
    uint64_t after = fib_generation(&reader);
    looking = 0;
    CHECK_EQUAL(0, result);
    CHECK(newest_at_rest <= before); /* what was acknowledged is in force */
    /* `mixed` says that less was promised: message, overrun, answers from an older table. */
    CHECK((before <= named || mixed != reader.mixed) && named <= after);
    CHECK(after <= published + 1);
    int exact = whole && mixed == reader.mixed && reader.retries - retries < 3;
    for (uint32_t i = 0; i < ROUTES; i++) {
        int right = 0;
        uint64_t last = exact ? named : after + 1;
        for (uint64_t g = exact ? named : before; g <= last; g++)
            right |= answers[i].group == truth(g, i);
        CHECK(right);
    }
    return loads >= stop_at;
}

int main(int argc, char **argv)
{
    CHECK_EQUAL(3, argc);
    const struct fib_params params = {.max_routes4 = 100, .max_routes6 = 100, .max_groups = 64,
                                      .max_adjacencies = 64, .engine4 = (uint32_t)atoi(argv[1]),
                                      .strategy = (uint32_t)atoi(argv[2])};
    int whole = params.strategy != FIB_STRATEGY_EPOCH;
    writer = fresh_fib(&params, &reader);
    for (uint32_t id = 1; id <= GROUPS; id++) {
        struct fib_adjacency record = {.id = id, .state = ADJACENCY_RESOLVED};
        struct fib_group group = {.id = id, .kind = FIB_KIND_FORWARD, .paths = 1, .buckets = 1};
        group.bucket[0] = id;
        CHECK_EQUAL(0, fib_set_adjacency(writer, &record));
        CHECK_EQUAL(0, fib_set_group(writer, &group));
    }
    published = fib_publish(writer, 0, 0, 0);
    CHECK(getcontext(&writing) == 0);
    writing.uc_stack.ss_sp = stack;
    writing.uc_stack.ss_size = sizeof stack;
    writing.uc_link = NULL;
    makecontext(&writing, write_on, 0);

    /* How many points a publish has, once the first few are over. */
    while (done < 4)
        advance(1);
    uint64_t from = points;
    while (done < 5)
        advance(1);
    uint64_t each = points - from, tried = 0;
    CHECK(each > 0 && each < MOST_POINTS);
    /* Less than a publish, in every length; then two of them, for those who have two tables. */
    for (uint64_t length = 1; length <= each + 2; length++) {
        distance = length <= each + 1 ? length : 2 * each + 1;
        int reached = 1;
        for (stop_at = 1; reached; stop_at++) {
            reached = 0;
            for (uint64_t start = 0; start < each; start++) {
                reached |= try_one(published, whole);
                tried++;
                advance(1);
            }
        }
    }
    printf("%" PRIu64 " points a publish, %" PRIu64 " lookups stopped\n", each, tried);
    fib_reader_detach(&reader);
    fib_writer_close(writer);
    free((void *)(uintptr_t)reader.segment);
    return 0;
}
