/* A script of FIB changes, read from text and run step by step; what the crash tests share.
 *
 *   step                       begins a step; its end is a publish, so step i makes generation i+1
 *   rows N                     one fib_apply of the N lines that follow:
 *   r FAMILY HEX32 LENGTH GROUP
 *   group ID KIND N A B ..     adjacency ID PORT MTU     port INDEX MTU
 *   nogroup ID                 noadjacency ID            noport INDEX
 *
 * The generation in the header says how far a writer got, so the next one goes on from there.
 */
#ifndef RC_TEST_SCRIPT_H
#define RC_TEST_SCRIPT_H
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "fib/fib.h"

struct operation {
    char kind; /* r, g, G, a, A, p, P: capitals clear */
    uint32_t id, port, mtu, n;
    struct route_row *rows;
    struct fib_group *group;
};
struct step {
    struct operation *operations;
    uint32_t n;
};
struct script {
    struct step *steps;
    uint32_t n;
};

static inline void *grow(void *array, uint32_t n, size_t size)
{
    array = realloc(array, (n + 1) * size);
    CHECK(array != NULL);
    memset((char *)array + n * size, 0, size);
    return array;
}

static inline void read_row(FILE *file, struct route_row *row)
{
    unsigned family, length, group;
    char hex[40];
    CHECK_EQUAL(4, fscanf(file, " r %u %32s %u %u", &family, hex, &length, &group));
    for (int i = 0; i < 16; i++) {
        char byte[3] = {hex[2 * i], hex[2 * i + 1], 0};
        row->prefix[i] = (uint8_t)strtoul(byte, NULL, 16);
    }
    row->family = (uint8_t)family;
    row->length = (uint8_t)length;
    row->nexthop = group;
}

static inline void read_operation(FILE *file, const char *word, struct operation *op)
{
    unsigned kind;
    if (strcmp(word, "rows") == 0) {
        op->kind = 'r';
        CHECK_EQUAL(1, fscanf(file, "%u", &op->n));
        op->rows = calloc(op->n + 1, sizeof *op->rows);
        for (uint32_t i = 0; i < op->n; i++)
            read_row(file, &op->rows[i]);
    } else if (strcmp(word, "group") == 0) {
        op->kind = 'g';
        op->group = calloc(1, fib_group_room());
        CHECK_EQUAL(3, fscanf(file, "%u %u %u", &op->id, &kind, &op->n));
        op->group->id = op->id;
        op->group->kind = (uint8_t)kind;
        op->group->buckets = op->n;
        for (uint32_t i = 0; i < op->n; i++)
            CHECK_EQUAL(1, fscanf(file, "%u", &op->group->bucket[i]));
    } else if (strcmp(word, "adjacency") == 0 || strcmp(word, "port") == 0) {
        op->kind = word[0];
        CHECK_EQUAL(1, fscanf(file, "%u", &op->id));
        if (op->kind == 'a')
            CHECK_EQUAL(1, fscanf(file, "%u", &op->port));
        CHECK_EQUAL(1, fscanf(file, "%u", &op->mtu));
    } else {
        CHECK(strncmp(word, "no", 2) == 0);
        op->kind = (char)(word[2] - 'a' + 'A');
        CHECK_EQUAL(1, fscanf(file, "%u", &op->id));
    }
}

static inline struct script read_script(const char *path)
{
    struct script script = {0};
    char word[32];
    FILE *file = fopen(path, "re");
    CHECK(file != NULL);
    while (fscanf(file, "%31s", word) == 1) {
        if (strcmp(word, "step") == 0) {
            script.steps = grow(script.steps, script.n++, sizeof *script.steps);
            continue;
        }
        struct step *step = &script.steps[script.n - 1];
        step->operations = grow(step->operations, step->n, sizeof *step->operations);
        read_operation(file, word, &step->operations[step->n++]);
    }
    fclose(file);
    return script;
}

/* Every operation may be done twice: a clear that finds nothing is fine. */
static inline int run_operation(struct fib_writer *writer, const struct operation *op)
{
    struct fib_adjacency adjacency = {
        .id = op->id, .port = (uint16_t)op->port, .mtu = (uint16_t)op->mtu, .state = 1};
    struct fib_port port = {.index = (uint16_t)op->id, .mtu = (uint16_t)op->mtu};
    uint64_t applied, changed;
    switch (op->kind) {
    case 'r':
        return fib_apply(writer, op->rows, op->n, &applied, &changed);
    case 'g':
        return fib_set_group(writer, op->group);
    case 'a':
        return fib_set_adjacency(writer, &adjacency);
    case 'p':
        return fib_set_port(writer, &port);
    case 'G':
        return fib_clear_group(writer, op->id);
    case 'A':
        return fib_clear_adjacency(writer, op->id);
    default:
        return fib_clear_port(writer, op->id);
    }
}

static inline void run_step(struct fib_writer *writer, const struct step *step)
{
    for (uint32_t i = 0; i < step->n; i++) {
        int result = run_operation(writer, &step->operations[i]);
        if (result == -ENOENT)
            result = 0;
        CHECK_EQUAL(0, -result);
    }
    fib_publish(writer, 0, 0, 0);
}

static inline void *map_file(const char *path, int write, uint64_t *size)
{
    struct stat info;
    int fd = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    CHECK(fd >= 0 && fstat(fd, &info) == 0);
    *size = (uint64_t)info.st_size;
    void *base = mmap(NULL, *size, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
    CHECK(base != MAP_FAILED);
    close(fd);
    return base;
}

/* What the strategy needs: the file PATH.sync, or the semaphore set whose id was given. */
static inline struct fib_locks open_locks(const char *path, int semaphore)
{
    char name[4096];
    struct fib_locks locks = {.semaphore = semaphore};
    CHECK((size_t)snprintf(name, sizeof name, "%s.sync", path) < sizeof name);
    if (access(name, F_OK) == 0)
        locks.memory = map_file(name, 1, &locks.size);
    return locks;
}

static inline double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

#endif
