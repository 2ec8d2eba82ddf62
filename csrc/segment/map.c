/* Maps shared objects and asks for huge pages. See map.h. */
#include "segment/map.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* since Linux 6.1; Debian 12's headers do not have it */
#endif

enum { PAGE = 4096, BACK_TRIES = 100 };

/* Address space for `bytes` that begins at a unit; what lies before and behind is given back. */
static uint8_t *reserve(uint64_t bytes)
{
    uint64_t room = bytes + SEGMENT_UNIT;
    uint8_t *at = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    uint64_t before = -(uint64_t)(uintptr_t)at % SEGMENT_UNIT;
    uint64_t pages = (bytes + PAGE - 1) / PAGE * PAGE;
    if (before > 0)
        (void)munmap(at, before);
    if (before + pages < room)
        (void)munmap(at + before + pages, room - before - pages);
    return at + before;
}

void *segment_map(int fd, uint64_t bytes, int writable, int32_t *error)
{
    int protection = PROT_READ | (writable ? PROT_WRITE : 0);
    if (bytes == 0 || bytes > (uint64_t)INT64_MAX - SEGMENT_UNIT) {
        *error = -EINVAL;
        return NULL;
    }
    uint8_t *at = reserve(bytes);
    if (at == NULL) {
        *error = -ENOMEM;
        return NULL;
    }
    /* The kernel replaces the reservation in one step: nobody else's mapping can be hit. */
    if (mmap(at, bytes, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
        *error = -errno;
        segment_unmap(at, bytes);
        return NULL;
    }
    (void)madvise(at, bytes, MADV_DONTDUMP); /* a core, where one is wanted, tells of no route */
    *error = 0;
    return at;
}

static int map_over(void *base, int fd, uint64_t bytes, int flags)
{
    void *at = mmap(base, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0);
    return at == MAP_FAILED ? -errno : 0;
}

int segment_replace(void *base, int fd, uint64_t bytes)
{
    return map_over(base, fd, bytes, MAP_SHARED);
}

int segment_blank(void *base, uint64_t bytes)
{
    return map_over(base, -1, bytes, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
}

void segment_unmap(void *base, uint64_t bytes)
{
    if (base != NULL)
        (void)munmap(base, bytes);
}

/* A signal may end it early, with what it has done kept: again, so it comes to an end. */
static int fallocate_whole(int fd, uint64_t from, uint64_t bytes)
{
    int error = EINTR;
    for (uint32_t tries = 0; error == EINTR && tries < BACK_TRIES; tries++)
        error = posix_fallocate(fd, (off_t)from, (off_t)bytes);
    return -error;
}

static int collapse(uint8_t *base, uint64_t units)
{
    return madvise(base, units * SEGMENT_UNIT, MADV_COLLAPSE);
}

int segment_back(int fd, void *base, uint64_t bytes, uint64_t huge, uint32_t *units)
{
    uint64_t wanted = (bytes < huge ? bytes : huge) / SEGMENT_UNIT;
    *units = 0;
    /* A hole is not collapsed, a page with neighbours missing is: one a unit, nothing to copy. */
    for (uint64_t i = 0; i < wanted; i++) {
        int error = fallocate_whole(fd, i * SEGMENT_UNIT, PAGE);
        if (error != 0)
            return error;
    }
    /* All in one call: each begins by emptying the page lists of every processor, which waits for a
     * busy one (5 ms a call). When it does not get all, one by one says how many it gets; those that
     * are collapsed already cost nothing. */
    if (wanted > 0 && collapse(base, wanted) == 0)
        *units = (uint32_t)wanted;
    while (*units < wanted && collapse((uint8_t *)base + *units * SEGMENT_UNIT, 1) == 0)
        ++*units; /* refused, or no huge page is free: the next would fare alike */
    return fallocate_whole(fd, 0, bytes);
}
