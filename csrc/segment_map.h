/* Shared objects mapped so that the processor can use 2 MiB pages for them.
 *
 * A lookup in a table of some MiB misses the TLB more often than the cache: 4 KiB pages cost the
 * flat engine a third of its speed. Shared memory gets huge pages in one way only: a page of a
 * unit is there, MADV_COLLAPSE is asked for the rest of it (Linux 6.1; any user, whatever
 * transparent_hugepage/shmem_enabled says but `deny`), and each process maps the object at an address
 * that begins a unit. Where the kernel refuses, everything works with small pages.
 *
 * Use: any process. segment_map() for whoever maps; segment_back() for whoever made the object,
 * before anybody else has it. Nothing here looks into the object.
 */
#ifndef RC_SEGMENT_MAP_H
#define RC_SEGMENT_MAP_H
#include "base.h"

enum {
    SEGMENT_UNIT = 2 << 20,       /* a huge page of x86-64 and arm64 with 4 KiB pages */
    SEGMENT_HUGE_MOST = 64 << 20, /* of the front; a full table ends long before, and 0.4 ms a
                                     unit are spent at the router's start */
};

/* Maps `bytes` of the object, shared; NULL and -errno in *error. */
void *segment_map(int fd, uint64_t bytes, int writable, int32_t *error);
/* `base` as segment_map() returned it, or NULL. */
void segment_unmap(void *base, uint64_t bytes);
/* Puts memory behind all `bytes` of a new object mapped at `base` (so that nobody meets SIGBUS
 * later): huge pages for the whole units of the front, as far as the kernel gives them, small
 * ones for the rest. 0, or -errno when there is too little. */
int segment_back(int fd, void *base, uint64_t bytes);

#endif
