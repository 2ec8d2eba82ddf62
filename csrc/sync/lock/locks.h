/* What the strategies with a lock need beside the FIB, made and removed. Control and the
 * supervisor. */
#ifndef RC_LOCKS_H
#define RC_LOCKS_H
#include "layout/sync_layout.h"
#include "segment/segment.h"

extern const struct segment_format sync_format;

/* Formats fresh zeroed memory: every lock free; identity line last. 0 or -EINVAL. */
int sync_create(void *base, uint64_t size, uint64_t instance_id);

/* A SysV set instead of the segment. Its id, or -errno (-EEXIST: the key is taken, try another).
 * group: who else may use it, -1 = nobody. */
int sync_semaphore_create(int32_t key, uint32_t mode, int32_t group);
int sync_semaphore_open(int32_t key);
int sync_semaphore_remove(int32_t set);

#endif
