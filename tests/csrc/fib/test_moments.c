/* A lookup is stopped in its midst and the table changes twice: is the answer one that was right?
 *
 *   test_moments ENGINE4 ENGINE6 FAMILY PART [no_grace]      built with -DRC_LOAD_POINTS
 *
 * The writer makes its first change before the n-th load of a shared word, the second there, too,
 * or k loads later, for all n and k of the lookup. So every interleaving is tried, and each time
 * alike. Whatever comes out has to be right before the changes, between them or after; an answer
 * mixed of two moments was never right.
 *
 * Changes: every two prefixes of one address, each announced, replaced or withdrawn, in both
 * orders, alone and among others; and the records of the way. Asked: one address, a few at once,
 * enough for AVX-512 (where there is; a gather of sixteen lanes counts as one load),
 * the matched prefix, the whole answer to its adjacency. PART is a share of these questions, so that
 * runs can go side by side: `portable`, `vectors` or `others`.
 *
 * With `no_grace` the writer never waits two epochs (fib_grace_since does nothing): then some
 * answer has to be wrong, or the test sees nothing. Exit 3: there were wrong ones, their number
 * printed.
 */
#include "base/cpu.h"
#include "fresh_fib.h"

enum { LEVELS = 6, BATCH = 4, STAGE = 24, MTU = 1000 };
static uint8_t lengths[2][LEVELS] = {{0, 7, 12, 16, 24, 32}, {0, 12, 32, 50, 64, 128}};
static const uint8_t address[16] = {10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

enum question { ONE, SOME, MANY, MATCH, WHOLE, QUESTIONS };

static struct fib_writer *writer;
static struct fib_reader reader;
static int no_grace, family;
static uint64_t wrong, asked;

void __real_fib_grace_since(struct fib_writer *w, uint64_t epoch);
void __wrap_fib_grace_since(struct fib_writer *w, uint64_t epoch);
void __wrap_fib_grace_since(struct fib_writer *w, uint64_t epoch)
{
    if (!no_grace)
        __real_fib_grace_since(w, epoch);
}

/* ---- what is changed: routes by level, then the records of group 1 and adjacency 1 ---- */

enum { A_GROUP = LEVELS, AN_ADJACENCY = LEVELS + 1, THINGS = LEVELS + 2 };
struct state {
    uint32_t value[THINGS]; /* group of a route, adjacency of group 1, version of adjacency 1 */
};
struct change {
    uint32_t thing, value;
};

static void make(const struct change *change)
{
    if (change->thing == A_GROUP) {
        struct fib_group group = {.id = 1, .kind = FIB_KIND_FORWARD, .paths = 1, .buckets = 1};
        group.bucket[0] = change->value;
        CHECK_EQUAL(0, fib_set_group(writer, &group));
    } else if (change->thing == AN_ADJACENCY) {
        struct fib_adjacency record = {.id = 1, .state = ADJACENCY_RESOLVED};
        record.mtu = (uint16_t)(MTU + 100 * change->value + 1);
        CHECK_EQUAL(0, fib_set_adjacency(writer, &record));
    } else {
        struct route_row row = {.family = family ? 6 : 4, .nexthop = change->value};
        uint32_t bits = row.length = lengths[family][change->thing];
        uint64_t applied, changed;
        memcpy(row.prefix, address, family ? 16 : 4);
        for (uint32_t i = 0; i < 16; i++, bits = bits > 8 ? bits - 8 : 0)
            row.prefix[i] &= bits >= 8 ? 0xff : (uint8_t)(0xff00 >> bits);
        CHECK_EQUAL(0, fib_apply(writer, &row, 1, &applied, &changed));
    }
}

/* The right answer: matched level and group, or the MTU where the way ends. */
static uint32_t truth(const struct state *state, enum question question)
{
    for (uint32_t level = LEVELS; level-- > 0;) {
        uint32_t group = state->value[level];
        if (group == 0)
            continue;
        if (question == MATCH)
            return group << 16 | lengths[family][level];
        if (question != WHOLE)
            return group;
        uint32_t adjacency = group == 1 ? state->value[A_GROUP] : group;
        return MTU + adjacency + (adjacency == 1 ? 100 * state->value[AN_ADJACENCY] : 0);
    }
    return 0;
}

/* ---- the stopped lookup ---- */

static int looking; /* 0: whoever loads now is the writer */
static uint64_t places, first_at, second_at;
static const struct change *pending;

static void at_place(void)
{
    places++;
    if (places != first_at && places != second_at)
        return;
    looking = 0;
    if (places == first_at)
        make(&pending[0]);
    if (places == second_at)
        make(&pending[1]);
    looking = 1;
}

void load_point(void);
void load_point(void)
{
    if (looking)
        at_place();
}

static uint32_t ask(enum question question, uint32_t *answers)
{
    struct fib_key key = {.family = family ? 6 : 4};
    struct fib_answer whole;
    struct route_row row;
    uint64_t generation;
    uint32_t four[STAGE], n = question == MANY ? STAGE : question == SOME ? BATCH : 1;
    uint8_t six[STAGE][16];
    memcpy(key.address, address, family ? 16 : 4);
    for (uint32_t i = 0; i < n; i++) {
        four[i] = 0x0a010203;
        memcpy(six[i], address, 16);
    }
    looking = 1;
    int result = question == MATCH   ? fib_lookup_match(&reader, &key, &row)
                 : question == WHOLE ? fib_lookup(&reader, &key, &whole, 1, &generation)
                 : family            ? fib_lookup6(&reader, six, answers, n)
                                     : fib_lookup4(&reader, four, answers, n);
    looking = 0;
    CHECK_EQUAL(0, result);
    if (question == MATCH)
        answers[0] = row.nexthop == 0 ? 0 : row.nexthop << 16 | row.length;
    if (question == WHOLE)
        answers[0] = whole.group == 0 ? 0 : whole.mtu;
    return n;
}

static void enter(struct state *state, const struct state *wanted)
{
    /* Adjacency, then group, then routes: in the order that asks for the fewest epochs. */
    for (uint32_t thing = THINGS; thing-- > 0;)
        if (state->value[thing] != wanted->value[thing])
            make(&(struct change){thing, wanted->value[thing]});
    *state = *wanted;
    fib_publish(writer, 0, 0, 0);
    fib_publish(writer, 0, 0, 0);
}

/* One lookup with the changes at these places. 0: it ended before the second. */
static int try_one(struct state *state, const struct state *moment, enum question question)
{
    uint32_t answers[STAGE], right[3];
    for (int i = 0; i < 3; i++)
        right[i] = truth(&moment[i], question);
    enter(state, &moment[0]);
    places = 0;
    uint32_t n = ask(question, answers);
    *state = moment[places < first_at ? 0 : places < second_at ? 1 : 2];
    asked++;
    for (uint32_t i = 0; i < n; i++) {
        if (answers[i] == right[0] || answers[i] == right[1] || answers[i] == right[2])
            continue;
        if (wrong++ == 0)
            fprintf(stderr,
                    "IPv%d, question %d: %u=%u at %" PRIu64 ", %u=%u at %" PRIu64
                    ": %x, but right were %x, %x, %x\n",
                    family ? 6 : 4, question, pending[0].thing, pending[0].value, first_at,
                    pending[1].thing, pending[1].value, second_at, answers[i], right[0], right[1],
                    right[2]);
        if (no_grace)
            exit(3);
        break;
    }
    return places >= second_at;
}

/* Two changes at all places of one question. */
static void try_all(struct state *state, const struct state *before, const struct change *two,
                    enum question question)
{
    struct state moment[3] = {*before, *before, *before};
    moment[1].value[two[0].thing] = two[0].value;
    moment[2].value[two[0].thing] = two[0].value;
    moment[2].value[two[1].thing] = two[1].value;
    /* A stage has hundreds of loads: near ones stand for all pairs. */
    uint64_t furthest = question == MANY ? 3 : UINT64_MAX;
    pending = two;
    int reached = 1;
    for (first_at = 1; reached; first_at++) {
        second_at = first_at;
        reached = try_one(state, moment, question);
        for (int more = reached; more && second_at - first_at < furthest;) {
            second_at++;
            more = try_one(state, moment, question);
        }
    }
}

/* ---- what is tried ---- */

static void two_routes(struct state *state, enum question question)
{
    for (uint32_t a = 0; a < LEVELS; a++) {
        for (uint32_t b = 0; b < LEVELS; b++) {
            for (uint32_t kind = 0; kind < 18 && a != b; kind++) {
                struct state before = {{0}};
                uint32_t of_a = kind % 3, of_b = kind / 3 % 3; /* announce, replace, withdraw */
                for (uint32_t level = 0; level < LEVELS; level++)
                    before.value[level] = kind < 9 ? 0 : 10 + level;
                before.value[a] = of_a == 0 ? 0 : 2;
                before.value[b] = of_b == 0 ? 0 : 3;
                before.value[A_GROUP] = before.value[AN_ADJACENCY] = 1;
                const struct change two[2] = {{a, of_a == 2 ? 0 : 4}, {b, of_b == 2 ? 0 : 5}};
                try_all(state, &before, two, question);
            }
        }
    }
}

/* The route turns to group 2 or goes, group 1 to adjacency 2, adjacency 1 changes: any two. */
static void two_records(struct state *state)
{
    for (uint32_t level = 0; level < LEVELS; level++) {
        const struct change all[4] = {{level, 2}, {level, 0}, {A_GROUP, 2}, {AN_ADJACENCY, 2}};
        struct state before = {{0}};
        before.value[level] = before.value[A_GROUP] = before.value[AN_ADJACENCY] = 1;
        for (uint32_t a = 0; a < 4; a++) {
            for (uint32_t b = 0; b < 4; b++) {
                const struct change two[2] = {all[a], all[b]};
                if (two[0].thing != two[1].thing)
                    try_all(state, &before, two, WHOLE);
            }
        }
    }
}

static void create(uint32_t engine4, uint32_t engine6)
{
    const struct fib_params params = {.max_routes4 = 100, .max_routes6 = 100, .max_groups = 64,
                                      .max_adjacencies = 64, .engine4 = engine4,
                                      .engine6 = engine6};
    writer = fresh_fib(&params, &reader);
    for (uint32_t id = 1; id < 40; id++) {
        struct fib_adjacency record = {.id = id, .state = ADJACENCY_RESOLVED};
        struct fib_group group = {.id = id, .kind = FIB_KIND_FORWARD, .paths = 1, .buckets = 1};
        record.mtu = (uint16_t)(MTU + id + (id == 1 ? 100 : 0));
        group.bucket[0] = id;
        CHECK_EQUAL(0, fib_set_adjacency(writer, &record));
        CHECK_EQUAL(0, fib_set_group(writer, &group));
    }
}

int main(int argc, char **argv)
{
    struct state state = {{[A_GROUP] = 1, [AN_ADJACENCY] = 1}};
    CHECK(argc >= 5);
    int flat = atoi(argv[1]) == FIB_ENGINE_FLAT;
    family = atoi(argv[3]) == 6;
    no_grace = argc > 5;
    /* The flat engine paints every /24 of what changes: 131,072 of a /7, 512 of a /15. */
    if (flat)
        memcpy(&lengths[0][1], (const uint8_t[2]){14, 15}, 2);
    create((uint32_t)atoi(argv[1]), (uint32_t)atoi(argv[2]));
    int vectors = flat || atoi(argv[1]) == FIB_ENGINE_COMPACT;
    const char *part = argv[4];
    cpu_force_portable(strcmp(part, "portable") == 0);
    if (strcmp(part, "others") != 0)
        two_routes(&state, SOME);
    if (strcmp(part, "vectors") == 0 && vectors)
        two_routes(&state, MANY);
    if (strcmp(part, "others") == 0) {
        two_routes(&state, ONE);
        two_routes(&state, MATCH);
        two_records(&state);
    }
    CHECK(asked > 0);
    printf("%" PRIu64 " lookups stopped, %" PRIu64 " wrong\n", asked, wrong);
    fib_writer_close(writer);
    free((void *)(uintptr_t)reader.segment);
    return wrong == 0 ? 0 : 3;
}
