/* A reader that checks every answer against the generations that were alive while it asked.
 *
 *   witness SEGMENT TABLE STEPS KEYS GENERATIONS SECONDS SEMAPHORE EXACT [GOALS]
 *
 * TABLE: KEYS records {address 16, family 4} then, for each of STEPS generations (generation g is
 * entry g % STEPS), KEYS records {group, adjacency, mtu} of u32. An answer must be that of a
 * generation between the one read before the batch and the one after it plus one, whose words
 * may be visible before it is published. EXACT 1: the strategy promises more, all answers of a call
 * are those of the one generation it named (unless it says that it could not, or was halved).
 * Maps read-only; ends at GENERATIONS or by SIGTERM, but not before a thousand checked answers (a
 * lock may let it in late), or after SECONDS. GOALS are five numbers: CHECKED TIGHT RETRIES SHARP
 * WRONG. Once it has counted so many of each, over ten rounds of STEPS, it prints `enough`, and
 * goes on: who ends it at that state and not at a time has the same proof on any machine.
 */
#include <signal.h>

#include "script.h"

struct truth {
    uint32_t group, adjacency, mtu;
};

enum { MOST = 256, LEAST = 1001 };

void fault_point(const char *name) /* only writers pass them */
{
    (void)name;
}

enum { CHECKED, TIGHT, RETRIES, SHARP, WRONG, GOALS };

static volatile sig_atomic_t asked_to_end;

static void end(int number)
{
    (void)number;
    asked_to_end = 1;
}

int main(int argc, char **argv)
{
    struct fib_key keys[MOST];
    struct fib_answer answers[MOST];
    struct fib_reader reader;
    uint64_t size, table_size, lookups = 0, busy = 0, wrong = 0, generation, tight = 0;
    CHECK(argc == 9 || argc == 9 + GOALS);
    int exact = atoi(argv[8]);
    uint64_t sharp = 0, checked = 0;
    const void *base = map_file(argv[1], 0, &size);
    const uint8_t *table = map_file(argv[2], 0, &table_size);
    uint64_t steps = strtoull(argv[3], NULL, 10), last = strtoull(argv[5], NULL, 10);
    uint32_t n = (uint32_t)atoi(argv[4]);
    double until = seconds_now() + atof(argv[6]);
    CHECK(n <= MOST && table_size == n * 20 + steps * n * sizeof(struct truth));
    memset(keys, 0, sizeof keys);
    for (uint32_t i = 0; i < n; i++) {
        memcpy(keys[i].address, table + i * 20, 16);
        keys[i].family = table[i * 20 + 16];
    }
    const struct truth *truth = (const void *)(table + n * 20);
    CHECK_EQUAL(0, -fib_reader_attach(&reader, base, size));
    struct fib_locks locks = open_locks(argv[1], atoi(argv[7]));
    CHECK_EQUAL(0, -fib_reader_locks(&reader, &locks));
    CHECK(signal(SIGTERM, end) != SIG_ERR);
    printf("ready\n");
    fflush(stdout);

    uint64_t before = 0, goals[GOALS], first_seen = fib_generation(&reader);
    for (int i = 0; i < GOALS; i++)
        goals[i] = argc > 9 ? strtoull(argv[9 + i], NULL, 10) : 0;
    int told = argc == 9;
    while ((checked < LEAST || (before < last && !asked_to_end)) && seconds_now() < until) {
        before = fib_generation(&reader);
        if (!told && checked >= goals[CHECKED] && tight >= goals[TIGHT] &&
            reader.retries >= goals[RETRIES] && sharp >= goals[SHARP] && wrong >= goals[WRONG] &&
            before > first_seen + 10 * steps) {
            told = 1;
            printf("enough\n");
            fflush(stdout);
        }
        /* Batch sizes vary, so that some fit between two publishes and some never do. */
        uint32_t at = (uint32_t)(lookups % n), size_now = 1 + (uint32_t)(lookups / 7 % 64);
        if (size_now > n - at)
            size_now = n - at;
        uint64_t mixed = reader.mixed, retries = reader.retries;
        if (fib_lookup(&reader, keys + at, answers + at, size_now, &generation) != 0) {
            busy++;
            lookups++;
            continue;
        }
        uint64_t after = fib_generation(&reader);
        int whole = exact && mixed == reader.mixed &&
                    reader.retries - retries < FIB_RETRIES_BEFORE_HALVING;
        sharp += (uint64_t)whole;
        if (mixed != reader.mixed && before > generation)
            before = generation; /* it said so */
        CHECK(before <= generation && generation <= after);
        tight += after - before < steps / 4;
        int any = !whole && after + 1 - before >= steps; /* too many generations to say */
        checked += any ? 0 : size_now;
        for (uint32_t i = at; i < at + size_now; i++) {
            int found = any;
            uint64_t first = whole ? generation : before, most = whole ? generation : after + 1;
            for (uint64_t g = first; g <= most && !found; g++) {
                const struct truth *right = &truth[g % steps * n + i];
                found = answers[i].group == right->group && answers[i].mtu == right->mtu &&
                        answers[i].adjacency == right->adjacency;
            }
            if (!found && wrong++ < 5)
                printf("key %u: group %u adjacency %u mtu %u between generations %llu and %llu\n",
                       i, answers[i].group, answers[i].adjacency, answers[i].mtu,
                       (unsigned long long)before, (unsigned long long)after);
        }
        lookups += size_now;
    }
    printf("lookups %llu\nbusy %llu\nretries %llu\ntight %llu\nwrong %llu\nsharp %llu\nchecked %llu\n",
           (unsigned long long)lookups, (unsigned long long)busy,
           (unsigned long long)reader.retries, (unsigned long long)tight,
           (unsigned long long)wrong, (unsigned long long)sharp, (unsigned long long)checked);
    return wrong != 0;
}
