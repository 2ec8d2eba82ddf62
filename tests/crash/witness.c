/* A reader that checks every answer against the generations that were alive while it asked.
 *
 *   witness SEGMENT TABLE STEPS KEYS GENERATIONS SECONDS
 *
 * TABLE: KEYS records {address 16, family 4} then, for each of STEPS generations (generation g is
 * entry g % STEPS), KEYS records {group, adjacency, mtu} of u32. An answer must be that of a
 * generation between the one read before the batch and the one after it plus one, whose words
 * may be visible before it is published. Maps read-only; ends at GENERATIONS or after SECONDS.
 */
#include "script.h"

struct truth {
    uint32_t group, adjacency, mtu;
};

enum { MOST = 256 };

void fault_point(const char *name) /* only writers pass them */
{
    (void)name;
}

int main(int argc, char **argv)
{
    struct fib_key keys[MOST];
    struct fib_answer answers[MOST];
    struct fib_reader reader;
    uint64_t size, table_size, lookups = 0, busy = 0, wrong = 0, generation, tight = 0;
    CHECK_EQUAL(7, argc);
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
    printf("ready\n");
    fflush(stdout);

    uint64_t before = 0;
    while (before < last && seconds_now() < until) {
        before = fib_generation(&reader);
        /* Batch sizes vary, so that some fit between two publishes and some never do. */
        uint32_t at = (uint32_t)(lookups % n), size_now = 1 + (uint32_t)(lookups / 7 % 64);
        if (size_now > n - at)
            size_now = n - at;
        if (fib_lookup(&reader, keys + at, answers + at, size_now, &generation) != 0) {
            busy++;
            lookups++;
            continue;
        }
        uint64_t after = fib_generation(&reader);
        CHECK(before <= generation && generation <= after);
        tight += after - before < steps / 4;
        for (uint32_t i = at; i < at + size_now; i++) {
            int found = after + 1 - before >= steps;
            for (uint64_t g = before; g <= after + 1 && !found; g++) {
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
    printf("lookups %llu\nbusy %llu\nretries %llu\ntight %llu\nwrong %llu\n",
           (unsigned long long)lookups, (unsigned long long)busy,
           (unsigned long long)reader.retries, (unsigned long long)tight,
           (unsigned long long)wrong);
    return wrong != 0;
}
