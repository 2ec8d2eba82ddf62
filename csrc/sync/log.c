/* The log of `double`; see log.h. Control alone. */
#include "sync/log.h"

#include <stdlib.h>
#include <string.h>

struct fib_log *fib_log_new(void)
{
    return calloc(1, sizeof(struct fib_log));
}

void fib_log_free(struct fib_log *log)
{
    if (log != NULL)
        free(log->bytes);
    free(log);
}

static int grow(struct fib_log *log, uint64_t wanted)
{
    uint64_t room = log->room == 0 ? LOG_FIRST : log->room;
    while (room < wanted)
        room *= 2;
    if (room > LOG_MOST)
        return 0;
    uint8_t *bytes = realloc(log->bytes, room);
    if (bytes == NULL)
        return 0;
    log->bytes = bytes;
    log->room = room;
    return 1;
}

void fib_log_put(struct fib_log *log, const struct fib_entry *entry, const void *data)
{
    uint64_t wanted = log->used + fib_entry_room(entry);
    if (log->lost)
        return;
    if (wanted > log->room && !grow(log, wanted)) {
        log->lost = 1;
        return;
    }
    memcpy(log->bytes + log->used, entry, sizeof *entry);
    if (entry->bytes > 0)
        memcpy(log->bytes + log->used + sizeof *entry, data, entry->bytes);
    log->used = wanted;
}
