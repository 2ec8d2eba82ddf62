/* The segment NAME.sync: its format, and a fresh one with every lock free. See
 * layout/sync_layout.h. */
#include "sync/lock/lock.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

static const struct layout own_layout =
    LAYOUT(SEGMENT_LAYOUT SYNC_LAYOUT
           LAYOUT_NUMBER(sizeof(sem_t)) LAYOUT_NUMBER(sizeof(pthread_mutex_t)));

/* The words are the C library's own, so another C library is another layout. */
static const struct layout *sync_part(uint32_t position)
{
    return position == 0 ? &own_layout : NULL;
}

const struct segment_format sync_format = {
    .magic = 0x434e595345474252u, /* "RBGESYNC", little-endian */
    .kind = SEGMENT_SYNC,
    .header_size = sizeof(struct sync_segment),
    .major = 2,
    .part = sync_part,
};

int sync_create(void *base, uint64_t size, uint64_t instance_id)
{
    struct sync_segment *segment = base;
    if (size < sizeof *segment)
        return -EINVAL;
    for (uint32_t i = 0; i < SYNC_LOCKS; i++) {
        int error = rwlock_format(&segment->lock[i], 1);
        if (error == 0)
            error = mutex_format(&segment->lock[i]);
        if (error != 0)
            return error;
    }
    return segment_identify(base, size, &sync_format, instance_id);
}
