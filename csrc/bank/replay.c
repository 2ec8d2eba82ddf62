/* A change that was made elsewhere, from its record. What a replica's record says comes out of
 * shared memory, so its size is checked before anything is done. */
#include <errno.h>

#include "bank/bank.h"

/* 1: as much data as the entry says it has. A replica's come out of shared memory. */
static int entry_sound(const struct fib_entry *entry, const void *data)
{
    const struct fib_group *group = data;
    switch (entry->kind) {
    case ENTRY_ROWS:
        return entry->bytes == entry->id * sizeof(struct route_row);
    case ENTRY_GROUP:
        return entry->bytes >= offsetof(struct fib_group, bucket) &&
               group->buckets <= FIB_MAX_BUCKETS &&
               entry->bytes ==
                   offsetof(struct fib_group, bucket) + group->buckets * sizeof(uint32_t);
    case ENTRY_ADJACENCY:
        return entry->bytes == sizeof(struct fib_adjacency);
    case ENTRY_PORT:
        return entry->bytes == sizeof(struct fib_port);
    case ENTRY_PUBLISH:
        return entry->bytes == sizeof(struct fib_stamp);
    default:
        return entry->bytes == 0;
    }
}

int bank_replay(struct fib_writer *bank, const struct fib_entry *entry, const void *data)
{
    uint64_t applied, changes;
    if (!entry_sound(entry, data))
        return -EINVAL;
    switch (entry->kind) {
    case ENTRY_ROWS:
        return bank_apply(bank, data, entry->id, &applied, &changes);
    case ENTRY_GROUP:
        return bank_set_group(bank, data);
    case ENTRY_ADJACENCY:
        return bank_set_adjacency(bank, data);
    case ENTRY_PORT:
        return bank_set_port(bank, data);
    case ENTRY_CLEAR_GROUP:
        return bank_clear_group(bank, entry->id);
    case ENTRY_CLEAR_ADJACENCY:
        return bank_clear_adjacency(bank, entry->id);
    case ENTRY_CLEAR_PORT:
        return bank_clear_port(bank, entry->id);
    case ENTRY_PUBLISH:
        bank_republish(bank, data);
        return 0;
    default:
        return -EINVAL;
    }
}
