/* A FIB writer that kills itself at the N-th fault point it passes.
 *
 *   victim SEGMENT SCRIPT KILL_AT GENERATIONS SECONDS ENGINE4 ENGINE6 STRATEGY SEMAPHORE
 *
 * Makes the segment when it is not ready, becomes its writer (the successor of whoever was), and
 * runs steps from the header's generation up to GENERATIONS, the script over and over, or until
 * SECONDS have passed or SIGTERM comes. KILL_AT 0 lives: then
 * it prints how many points it passed, and each name the first time, so that a test knows that
 * all were reached. Built with -DRC_FAULT_POINTS.
 */
#include <signal.h>

#include "script.h"

static long passed, kill_at;
static volatile sig_atomic_t asked_to_end;

static void end(int number)
{
    (void)number;
    asked_to_end = 1;
}

void fault_point(const char *name)
{
    static const char *seen[256];
    static int n_seen;
    passed++;
    if (passed == kill_at) {
        printf("killed %s\n", name);
        fflush(stdout);
        kill(getpid(), SIGKILL);
    }
    for (int i = 0; i < n_seen; i++)
        if (seen[i] == name)
            return;
    CHECK(n_seen < 256);
    seen[n_seen++] = name;
    if (kill_at == 0)
        printf("point %s\n", name);
}

/* The newest published: under `message` the bank in force is a snapshot, which may be older. */
static uint64_t generation_of(const struct fib_header *header)
{
    uint64_t generation = fib_header_now(header)->published.generation;
    return header->sync.generation > generation ? header->sync.generation : generation;
}

int main(int argc, char **argv)
{
    struct fib_recovery recovery;
    uint64_t size;
    CHECK_EQUAL(10, argc);
    const struct fib_params params = {.max_routes4 = 200,
                                      .max_routes6 = 100,
                                      .max_groups = 64,
                                      .max_adjacencies = 64,
                                      .engine4 = (uint32_t)atoi(argv[6]),
                                      .engine6 = (uint32_t)atoi(argv[7]),
                                      .strategy = (uint32_t)atoi(argv[8])};
    struct fib_locks locks = open_locks(argv[1], atoi(argv[9]));
    struct script script = read_script(argv[2]);
    kill_at = atol(argv[3]);
    uint64_t target = strtoull(argv[4], NULL, 10);
    double until = seconds_now() + atof(argv[5]);

    void *base = map_file(argv[1], 1, &size);
    if (segment_check(base, size, &fib_format) == SEGMENT_INITIALISING) {
        /* What a creator that was killed left goes; no page is touched for it. */
        if (madvise(base, size, MADV_REMOVE) != 0)
            memset(base, 0, size);
        CHECK_EQUAL(0, fib_create(base, size, &params));
    }
    struct fib_writer *writer = fib_writer_open_locked(base, size, &locks, &recovery);
    CHECK(writer != NULL);
    uint64_t generation = generation_of(base);
    CHECK(signal(SIGTERM, end) != SIG_ERR);
    if (kill_at == 0) { /* a test may kill us at any instant from here on */
        printf("writing\n");
        fflush(stdout);
    }
    while (generation < target && !asked_to_end && seconds_now() < until) {
        run_step(writer, &script.steps[generation % script.n]);
        generation = generation_of(base);
    }
    CHECK_EQUAL(0, -fib_check(writer));
    fib_writer_close(writer);
    printf("passed %ld\ngeneration %llu\n", passed, (unsigned long long)generation);
    return 0;
}
