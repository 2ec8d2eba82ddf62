/* Changes noted in the writer's private memory, to be made once more in the other bank.
 *
 *     bytes   | entry, data padded to 16 | entry, data .. |      used <= LOG_MOST
 *
 * Bounded: beyond LOG_MOST, or without memory, `lost` is set, and the bank is copied instead.
 */
#ifndef RC_FIB_SYNC_LOG_H
#define RC_FIB_SYNC_LOG_H
#include "bank/bank.h"

enum { LOG_FIRST = 1 << 16, LOG_MOST = 1 << 22 };

struct fib_log {
    uint8_t *bytes;
    uint64_t used;
    uint64_t room;
    uint32_t lost;   /* not all is here */
    uint32_t behind; /* the other bank still wants it */
};

struct fib_log *fib_log_new(void); /* NULL: no memory */
void fib_log_free(struct fib_log *log);
void fib_log_put(struct fib_log *log, const struct fib_entry *entry, const void *data);

#endif
