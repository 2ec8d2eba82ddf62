/* Shared objects mapped so that the processor can use 2 MiB pages for them.
 *
 * A lookup in a table of some MiB that misses the cache misses the TLB, too: 4 KiB pages cost the
 * IPv6 engine about a tenth of its speed. Shared memory gets huge pages in one way only: a page of
 * a unit is there, MADV_COLLAPSE is asked for the rest of it (Linux 6.1; any user, whatever
 * transparent_hugepage/shmem_enabled says but `deny`), and each process maps the object at an address
 * that begins a unit. Where the kernel refuses, everything works with small pages.
 *
 * Use: any process. segment_map() for whoever maps; segment_back() for whoever made the object,
 * before anybody else has it. Nothing here looks into the object.
 */
#ifndef RC_SEGMENT_MAP_H
#define RC_SEGMENT_MAP_H
#include "base/base.h"

enum {
    SEGMENT_UNIT = 2 << 20,       /* a huge page of x86-64 and arm64 with 4 KiB pages */
    SEGMENT_HUGE_MOST = 64 << 20, /* worth having: a full table ends long before. 64 MiB take
                                     9 ms in all, small pages 9, too; 200 ms when the kernel has
                                     to move others together first */
};

/* Maps `bytes` of the object, shared; NULL and -errno in *error. */
void *segment_map(int fd, uint64_t bytes, int writable, int32_t *error);
/* `base` as segment_map() returned it, or NULL. */
void segment_unmap(void *base, uint64_t bytes);
/* Another object of the same size takes the place of what is mapped at `base`, in one step: pointers
 * into it stay good. 0 or -errno: then what was mapped still is. */
int segment_replace(void *base, int fd, uint64_t bytes);
/* Zeros of this process alone take its place: nobody here meets SIGBUS for an object that somebody
 * has cut short. 0 or -errno. */
int segment_blank(void *base, uint64_t bytes);
/* Puts memory behind all `bytes` of a new object mapped at `base` (so that nobody meets SIGBUS
 * later): huge pages for the units that `huge` bytes of the front fill, as far as the kernel gives
 * them, small ones for the rest. *units receives how many it gave. 0, or -errno: too little. */
int segment_back(int fd, void *base, uint64_t bytes, uint64_t huge, uint32_t *units);

#endif
