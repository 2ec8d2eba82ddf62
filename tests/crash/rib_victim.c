/* A control process in miniature that is killed at a chosen instruction of the RIB's writer.
 *
 *   rib_victim SEGMENT STEPS ACKED FROM STOP
 *
 * Maps the files, opens the RIB, does operations FROM.. of the file and stores in ACKED how many
 * are done: what a client would have been told. At the STOP-th fault point (from 1; 0: never) it
 * kills itself with SIGKILL. Prints how many points it passed. Built with -DRC_FAULT_POINTS.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rib/rib.h"

enum operation { APPLY, PUBLISH, MARK_STALE, SWEEP, SET_DEAD, RESELECT, PUT, DELETE };

struct step { /* 48 bytes; written by test_rib_crash.py */
    uint32_t operation;
    uint32_t argument; /* source or next-hop id */
    uint32_t value;    /* dead or alive; last byte of a gateway */
    uint32_t unused;
    struct route_row row;
};

static uint64_t passed, stop_at;

void fault_point(const char *name)
{
    (void)name;
    if (++passed == stop_at)
        (void)raise(SIGKILL);
}

static void *map(const char *path, uint64_t *size)
{
    struct stat info;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0)
        exit(2);
    *size = (uint64_t)info.st_size;
    void *memory = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        exit(2);
    close(fd);
    return memory;
}

static int perform(struct rib *rib, const struct step *step)
{
    struct route_row changes[64];
    struct rib_applied applied;
    struct rib_nexthops set = {.id = step->argument, .kind = FIB_KIND_FORWARD, .paths = 2};
    uint32_t n, slot = 0;
    struct rib_counts counts;
    int more = 1;
    switch ((enum operation)step->operation) {
    case APPLY:
        return rib_apply(rib, &step->row, 1, changes, 64, &applied);
    case PUBLISH:
        return rib_published(rib, rib_changed(rib));
    case MARK_STALE:
        return rib_mark_stale(rib, step->argument) < 0;
    case SWEEP:
        rib_count(rib, &counts);
        while (more == 1)
            more = rib_sweep(rib, step->argument, counts.generation[step->argument], &slot, 64,
                             changes, 64, &n);
        return more;
    case SET_DEAD:
        return rib_set_dead(rib, step->argument, (int)step->value) < 0;
    case RESELECT:
        while (more == 1)
            more = rib_reselect(rib, 64, changes, 64, &n);
        return more;
    case PUT:
        for (uint32_t i = 0; i < 2; i++) {
            set.path[i] = (struct rib_path){.family = 4, .port = (uint16_t)i, .weight = 1};
            set.path[i].address[3] = (uint8_t)step->value;
        }
        return rib_nexthop_put(rib, &set);
    case DELETE:
        return rib_nexthop_delete(rib, step->argument);
    default:
        return -1;
    }
}

int main(int argc, char **argv)
{
    struct rib_recovery recovery;
    uint64_t size, length, acked_size;
    int error;
    if (argc != 6)
        return 2;
    void *memory = map(argv[1], &size);
    const struct step *steps = map(argv[2], &length);
    uint64_t *acked = map(argv[3], &acked_size);
    stop_at = strtoull(argv[5], NULL, 10);
    struct rib *rib = rib_open(memory, size, &recovery, &error);
    if (rib == NULL)
        return 3;
    for (uint64_t i = strtoull(argv[4], NULL, 10); i < length / sizeof *steps; i++) {
        if (perform(rib, &steps[i]) != 0)
            return 4;
        store_release64(acked, i + 1);
    }
    printf("%llu\n", (unsigned long long)passed);
    return 0;
}
