/* Our own FIB under the harness: one engine, one strategy, as PARAMS (a struct fib_params) says.
 *
 * The segment is shared memory mapped as the router's (segment/map.h); lookups go through a read-only
 * mapping and with the epoch check, as a worker's, from bare addresses to group ids.
 */
#include "base/cpu.h"
#include "ribcage_fib.h"
#include "segment/map.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct ours ours = {.fd = -1};

/* ---- segment ---- */

int ours_attach(struct fib_reader *reader, const char *path, void **view)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0)
        return -errno;
    int32_t error;
    void *at = segment_map(fd, (uint64_t)status.st_size, 0, &error);
    close(fd);
    if (at == NULL)
        return error;
    int result = fib_reader_attach(reader, at, (uint64_t)status.st_size);
    if (result == 0)
        result = locks_give(reader);
    if (result != 0)
        munmap(at, (size_t)status.st_size);
    else if (view != NULL)
        *view = at;
    return result;
}

int ours_open_writer(struct fib_recovery *recovery)
{
    struct mallinfo2 before = mallinfo2();
    ours.writer = locks_open_writer(ours.base, ours.size, recovery);
    struct mallinfo2 after = mallinfo2();
    ours.heap = after.uordblks + after.hblkhd - before.uordblks - before.hblkhd;
    return ours.writer == NULL ? -EBADMSG : 0;
}

static int make_segment(const struct fib_params *params, int semaphore)
{
    if (locks_make(semaphore) != 0)
        return bench_fail("no memory for the locks");
    ours.size = fib_segment_size(params);
    if (ours.size == 0)
        return bench_fail("these parameters give no segment");
    ours.fd = memfd_create("ribcage-bench", MFD_CLOEXEC);
    if (ours.fd < 0 || ftruncate(ours.fd, (off_t)ours.size) != 0)
        return bench_fail("no memory for the segment: %s", strerror(errno));
    int32_t error;
    ours.base = segment_map(ours.fd, ours.size, 1, &error);
    if (ours.base == NULL)
        return bench_fail("cannot map the segment: %s", strerror(-error));
    if ((error = segment_back(ours.fd, ours.base, ours.size, SEGMENT_HUGE_MOST,
                              &ours.huge_units)) != 0)
        return bench_fail("no memory for the segment: %s", strerror(-error));
    return 0;
}

static int fill_groups(uint32_t most)
{
    struct fib_group group = {.kind = FIB_KIND_BLACKHOLE};
    for (group.id = 1; group.id <= most; group.id++) {
        int result = fib_set_group(ours.writer, &group);
        if (result != 0)
            return bench_fail("group %u: %s", group.id, strerror(-result));
    }
    return 0;
}

static int load(const struct bench *bench, double *seconds)
{
    const struct fib_params *params = bench->params.bytes;
    char path[64];
    uint64_t applied, changed;
    int result;
    if (bench->params.size != sizeof *params)
        return bench_fail("PARAMS is not a struct fib_params of this build");
    ours.family = bench->family;
    if (ours.base == NULL) {
        if ((result = make_segment(params, bench->semaphore)) != 0)
            return result;
    } else {
        fib_writer_close(ours.writer);
        locks_detach(&ours.reader);
        munmap(ours.view, ours.size);
    }
    memset(ours.base, 0, ours.size); /* a later load finds its pages there: warm */
    if ((result = fib_create(ours.base, ours.size, params)) != 0 ||
        (result = ours_open_writer(NULL)) != 0)
        return bench_fail("cannot make a FIB: %s", strerror(-result));
    if ((result = fill_groups(bench->max_nexthop)) != 0)
        return result;
    uint64_t began = bench_cpu_ns();
    result = fib_apply(ours.writer, bench->rows, bench->n_rows, &applied, &changed);
    fib_publish(ours.writer, 0, 0, 0);
    *seconds = bench_seconds(began);
    if (result != 0 || changed != bench->n_rows)
        return bench_fail("row %llu was refused: %s", (unsigned long long)applied + 1,
                          strerror(-result));
    snprintf(path, sizeof path, "/proc/self/fd/%d", ours.fd);
    if ((result = ours_attach(&ours.reader, path, &ours.view)) != 0)
        return bench_fail("cannot attach: %s", strerror(-result));
    return 0;
}

/* ---- lookups ---- */

int ours_groups(struct fib_reader *reader, const void *addresses, uint32_t *groups, uint32_t n)
{
    return ours.family == 4 ? fib_lookup4(reader, addresses, groups, n)
                            : fib_lookup6(reader, addresses, groups, n);
}

static uint64_t lookup(const void *addresses, uint64_t n, uint32_t batch)
{
    uint32_t groups[BENCH_BATCH] __attribute__((aligned(64)));
    uint64_t sum = 0, width = ours.family == 4 ? 4 : 16;
    for (uint64_t at = 0; at < n; at += batch) {
        ours_groups(&ours.reader, (const uint8_t *)addresses + at * width, groups, batch);
        sum += groups[batch / 2];
    }
    return sum;
}

static void nexthops(const void *addresses, uint32_t n, uint64_t *nexthop)
{
    uint32_t groups[BENCH_BATCH];
    int result = ours_groups(&ours.reader, addresses, groups, n);
    for (uint32_t i = 0; i < n; i++)
        nexthop[i] = result == 0 ? groups[i] : UINT64_MAX; /* no answer agrees with nothing */
}

/* ---- updates ---- */

int ours_apply(const struct route_row *row)
{
    uint64_t applied, changed;
    return fib_apply(ours.writer, row, 1, &applied, &changed);
}

void ours_publish(void)
{
    fib_publish(ours.writer, 0, 0, 0);
}

/* Used: all that was ever touched. The segment is reserved for max_routes at creation, but a
 * block above the high-water mark was never opened to the allocator. */
static int memory(const struct bench *bench)
{
    uint32_t banks;
    uint64_t more;
    const struct fib_header *header = locks_header(ours.base, &banks, &more);
    const struct fib_published *published = &header->published;
    uint64_t fixed = (uint64_t)header->geometry.arena_at * FIB_BLOCK;
    uint64_t top = published->high_water == 0 ? fixed
                                              : ((uint64_t)published->high_water + 1) * FIB_BLOCK;
    uint32_t flags = fib_strategy_flags(header->geometry.strategy);
    uint64_t replica = (flags & SYNC_REPLICA) != 0 ? top : 0;
    top = top * banks + more;
    (void)bench;
    bench_say("{\"used\":%llu,\"segment\":%llu,\"fixed\":%llu,\"live\":%llu,\"retired\":%llu,"
              "\"private\":%llu,\"each_reader\":%llu,\"huge_pages\":%llu}",
              (unsigned long long)(top + ours.heap), (unsigned long long)ours.size,
              (unsigned long long)fixed, (unsigned long long)published->live_blocks * FIB_BLOCK,
              (unsigned long long)published->retired_blocks * FIB_BLOCK,
              (unsigned long long)ours.heap, (unsigned long long)replica,
              (unsigned long long)ours.huge_units * SEGMENT_UNIT);
    return 0;
}

int ours_vector(const struct bench *bench, char *const *argument)
{
    int wanted = argument[0][0] == '1';
    (void)bench;
    cpu_force_portable(!wanted);
    bench_say("{\"vector\":%d}", wanted);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct bench_contestant ribcage = {
        .name = "ribcage",
        .load = load,
        .lookup = lookup,
        .nexthops = nexthops,
        .apply = ours_apply,
        .publish = ours_publish,
        .memory = memory,
        .more = ribcage_others,
    };
    return bench_main(argc, argv, &ribcage);
}
