/* A FIB writer that kills itself at the N-th fault point it passes.
 *
 *   victim SEGMENT SCRIPT KILL_AT GENERATIONS SECONDS
 *
 * Makes the segment when it is not ready, becomes its writer (the heir of whoever was), and runs
 * steps from the header's generation up to GENERATIONS, the script over and over. KILL_AT 0 lives: then
 * it prints how many points it passed, and each name the first time, so that a test knows that
 * all were reached. Built with -DRC_FAULT_POINTS.
 */
#include <signal.h>

#include "script.h"

static long passed, kill_at;

void fault_point(const char *name)
{
    static const char *seen[64];
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
    seen[n_seen++] = name;
    if (kill_at == 0)
        printf("point %s\n", name);
}

int main(int argc, char **argv)
{
    const struct fib_params params = {
        .max_routes4 = 200, .max_routes6 = 100, .max_groups = 64, .max_adjacencies = 64};
    struct fib_recovery recovery;
    uint64_t size;
    CHECK_EQUAL(6, argc);
    struct script script = read_script(argv[2]);
    kill_at = atol(argv[3]);
    uint64_t target = strtoull(argv[4], NULL, 10);
    double until = seconds_now() + atof(argv[5]);

    void *base = map_file(argv[1], 1, &size);
    if (segment_check(base, size, SEGMENT_FIB) == SEGMENT_INITIALISING) {
        memset(base, 0, size); /* what a creator that was killed left */
        CHECK_EQUAL(0, fib_create(base, size, &params));
    }
    struct fib_writer *writer = fib_writer_open(base, size, &recovery);
    CHECK(writer != NULL);
    const struct fib_header *header = base;
    while (header->published.generation < target && seconds_now() < until)
        run_step(writer, &script.steps[header->published.generation % script.n]);
    CHECK_EQUAL(0, -fib_check(writer));
    fib_writer_close(writer);
    printf("passed %ld\ngeneration %llu\n", passed,
           (unsigned long long)header->published.generation);
    return 0;
}
