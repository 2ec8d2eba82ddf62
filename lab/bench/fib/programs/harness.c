/* The command loop of a benchmark program and the measurements that are the same for all of
 * them. See harness.h. One thread, private memory. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct bench_contestant *who;

void bench_say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

int bench_fail(const char *format, ...)
{
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    bench_say("{\"error\":\"%s: %s\"}", who->name, text); /* our own words: nothing to escape */
    return -EINVAL;
}

struct bench_file bench_map(const char *folder, const char *name)
{
    struct bench_file file = {NULL, 0};
    struct stat status;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return file;
    if (fstat(fd, &status) == 0 && status.st_size > 0) {
        void *at = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
        if (at != MAP_FAILED)
            file = (struct bench_file){at, (uint64_t)status.st_size};
    }
    close(fd);
    return file;
}

/* xorshift64*: Vigna, ACM TOMS 42 (2016). Only for choices that need not be the same for all. */
uint64_t bench_random(void)
{
    static uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * UINT64_C(0x2545f4914f6cdd1d);
}

static int compare_rows(const struct route_row *a, const struct route_row *b)
{
    int order = memcmp(a->prefix, b->prefix, sizeof a->prefix);
    return order != 0 ? order : (int)a->length - (int)b->length;
}

const struct route_row *bench_find(const struct bench *bench, const struct route_row *like)
{
    uint64_t low = 0, high = bench->n_rows;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int order = compare_rows(&bench->rows[middle], like);
        if (order == 0)
            return &bench->rows[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static uint64_t number(const char *text)
{
    return strtoull(text, NULL, 10);
}

/* ---- commands ---- */

static int run_load(const struct bench *bench, char *const *argument)
{
    double seconds = 0;
    (void)argument;
    int result = who->load(bench, &seconds);
    if (result == 0)
        bench_say("{\"seconds\":%.9f}", seconds);
    return result;
}

static const struct bench_file *stream_of(const struct bench *bench, const char *text, uint64_t *n)
{
    uint64_t s = number(text);
    if (s >= BENCH_STREAMS || bench->stream[s].size == 0)
        return NULL;
    *n = bench->stream[s].size / (bench->family == 4 ? 4 : 16);
    return &bench->stream[s];
}

/* `count` addresses from `from` on, round the stream. */
static uint64_t look_round(const struct bench *bench, const struct bench_file *stream, uint64_t n,
                           uint32_t batch, uint64_t from, uint64_t count)
{
    uint64_t sum = 0, width = bench->family == 4 ? 4 : 16;
    for (from %= n; count > 0; from = 0) {
        uint64_t size = count < n - from ? count : n - from;
        sum += who->lookup((const uint8_t *)stream->bytes + from * width, size, batch);
        count -= size;
    }
    return sum;
}

static int run_lookup(const struct bench *bench, char *const *argument)
{
    volatile uint64_t sink = 0;
    uint64_t n, from = number(argument[2]), count = number(argument[3]);
    const struct bench_file *stream = stream_of(bench, argument[0], &n);
    uint32_t batch = (uint32_t)number(argument[1]);
    if (stream == NULL || batch < 1 || batch > BENCH_BATCH || BENCH_BATCH % batch != 0 ||
        (n | from | count) % BENCH_BATCH != 0)
        return bench_fail("lookup: no such stream, or not in whole batches");
    /* Its own tables back into the caches: with other addresses than those that are timed. */
    uint64_t warm = count < n ? count : n;
    sink += look_round(bench, stream, n, batch, from + n - warm, warm);
    uint64_t began = bench_cpu_ns();
    sink += look_round(bench, stream, n, batch, from, count);
    bench_say("{\"seconds\":%.9f,\"lookups\":%llu}", bench_seconds(began),
              (unsigned long long)count);
    return 0;
}

/* Every next hop weighted by its place, so that two swapped answers do not cancel out. */
static int run_check(const struct bench *bench, char *const *argument)
{
    uint64_t n, sum = 0, nexthop[BENCH_BATCH], wanted = number(argument[1]);
    const struct bench_file *stream = stream_of(bench, argument[0], &n);
    uint64_t width = bench->family == 4 ? 4 : 16;
    if (stream == NULL)
        return bench_fail("no such stream");
    if (wanted < n)
        n = wanted;
    for (uint64_t at = 0; at < n; at += BENCH_BATCH) {
        uint32_t size = n - at < BENCH_BATCH ? (uint32_t)(n - at) : BENCH_BATCH;
        who->nexthops((const uint8_t *)stream->bytes + at * width, size, nexthop);
        for (uint32_t i = 0; i < size; i++)
            sum += nexthop[i] * (2 * (at + i) + 1);
    }
    bench_say("{\"sum\":%llu}", (unsigned long long)sum);
    return 0;
}

static uint64_t since_publish;

static int change(const struct route_row *row, uint64_t every)
{
    int result = who->apply(row);
    if (every != 0 && ++since_publish >= every && who->publish != NULL) {
        who->publish();
        since_publish = 0;
    }
    return result;
}

static void publish_rest(void)
{
    if (who->publish != NULL)
        who->publish();
    since_publish = 0;
}

int bench_pairs(const struct bench *bench, uint64_t from, uint64_t count, uint64_t every)
{
    for (uint64_t i = 0; i < count; i++) {
        struct route_row row = bench->rows[bench->pairs[(from + i) % bench->n_pairs]];
        uint32_t nexthop = row.nexthop;
        int result;
        row.nexthop = 0;
        if ((result = change(&row, every)) != 0)
            return result;
        row.nexthop = nexthop;
        if ((result = change(&row, every)) != 0)
            return result;
    }
    publish_rest();
    return 0;
}

static int run_pairs(const struct bench *bench, char *const *argument)
{
    uint64_t count = number(argument[1]);
    if (bench->n_pairs == 0)
        return bench_fail("no pairs.bin");
    uint64_t began = bench_cpu_ns();
    int result = bench_pairs(bench, number(argument[0]), count, number(argument[2]));
    double seconds = bench_seconds(began);
    if (result != 0)
        return bench_fail("a pair was refused: %s", strerror(-result));
    bench_say("{\"seconds\":%.9f,\"updates\":%llu}", seconds, (unsigned long long)count);
    return 0;
}

static int run_stream(const struct bench *bench, char *const *argument)
{
    uint64_t every = number(argument[0]);
    uint64_t began = bench_cpu_ns();
    for (uint64_t i = 0; i < bench->n_updates; i++) {
        int result = change(&bench->updates[i], every);
        if (result != 0)
            return bench_fail("update %llu was refused: %s", (unsigned long long)i + 1,
                              strerror(-result));
    }
    publish_rest();
    bench_say("{\"seconds\":%.9f,\"updates\":%llu}", bench_seconds(began),
              (unsigned long long)bench->n_updates);
    return 0;
}

static int run_restore(const struct bench *bench, char *const *argument)
{
    (void)argument;
    for (uint64_t i = 0; i < bench->n_updates; i++) {
        struct route_row row = bench->updates[i];
        const struct route_row *loaded = bench_find(bench, &row);
        row.nexthop = loaded == NULL ? 0 : loaded->nexthop;
        int result = change(&row, 64);
        if (result != 0)
            return bench_fail("restoring was refused: %s", strerror(-result));
    }
    publish_rest();
    bench_say("{}");
    return 0;
}

static int run_memory(const struct bench *bench, char *const *argument)
{
    (void)argument;
    return who->memory(bench);
}

static const struct bench_command common[] = {
    {"load", 0, run_load},     {"lookup", 4, run_lookup}, {"check", 2, run_check},
    {"pairs", 3, run_pairs},   {"stream", 1, run_stream}, {"restore", 0, run_restore},
    {"memory", 0, run_memory}, {NULL, 0, NULL},
};

/* ---- the loop ---- */

static const struct bench_command *find(const struct bench_command *commands, const char *verb)
{
    for (; commands != NULL && commands->verb != NULL; commands++)
        if (strcmp(commands->verb, verb) == 0)
            return commands;
    return NULL;
}

static void obey(const struct bench *bench, char *line)
{
    char *argument[BENCH_ARGUMENTS] = {NULL}, *rest = NULL;
    uint32_t n = 0;
    const char *verb = strtok_r(line, " \n", &rest);
    while (n < BENCH_ARGUMENTS && (argument[n] = strtok_r(NULL, " \n", &rest)) != NULL)
        n++;
    const struct bench_command *command = verb == NULL ? NULL : find(common, verb);
    if (command == NULL && verb != NULL)
        command = find(who->more, verb);
    if (command == NULL || n != command->arguments)
        bench_fail("unknown command, or not its number of arguments");
    else
        command->run(bench, argument);
}

static void open_folder(struct bench *bench, const char *folder, const char *params)
{
    static const char *const name[BENCH_STREAMS] = {"stream-0.bin", "stream-1.bin", "stream-2.bin"};
    struct bench_file rows = bench_map(folder, "rows.bin");
    struct bench_file updates = bench_map(folder, "updates.bin");
    struct bench_file pairs = bench_map(folder, "pairs.bin");
    bench->rows = rows.bytes;
    bench->n_rows = rows.size / sizeof *bench->rows;
    bench->updates = updates.bytes;
    bench->n_updates = updates.size / sizeof *bench->updates;
    bench->pairs = pairs.bytes;
    bench->n_pairs = pairs.size / sizeof *bench->pairs;
    for (uint32_t s = 0; s < BENCH_STREAMS; s++)
        bench->stream[s] = bench_map(folder, name[s]);
    if (params != NULL)
        bench->params = bench_map(folder, params);
    for (uint64_t i = 0; i < bench->n_rows; i++)
        if (bench->rows[i].nexthop > bench->max_nexthop)
            bench->max_nexthop = bench->rows[i].nexthop;
    for (uint64_t i = 0; i < bench->n_updates; i++)
        if (bench->updates[i].nexthop > bench->max_nexthop)
            bench->max_nexthop = bench->updates[i].nexthop;
}

int bench_main(int argc, char **argv, const struct bench_contestant *contestant)
{
    struct bench bench = {0};
    char line[512];
    who = contestant;
    if (argc < 3) {
        fprintf(stderr, "use: %s FAMILY FOLDER [PARAMS [CPU [SEMAPHORE]]]\n", argv[0]);
        return 2;
    }
    bench.family = (uint32_t)number(argv[1]);
    bench.cpu = argc > 4 ? (uint32_t)number(argv[4]) : 0;
    bench.semaphore = argc > 5 ? (int32_t)strtol(argv[5], NULL, 10) : -1;
    open_folder(&bench, argv[2], argc > 3 ? argv[3] : NULL);
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (strcmp(line, "quit\n") == 0)
            return 0;
        obey(&bench, line);
    }
    return 0;
}
