/* Between the two sides of `message`. See message.c. */
#ifndef RC_MESSAGE_H
#define RC_MESSAGE_H
#include "layout/entry_layout.h"
#include "layout/row_layout.h"
#include "sync/strategy.h"

enum { RING = MESSAGE_RING_BLOCKS * FIB_BLOCK }; /* bytes; behind the banks of the segment */

/* replica.c: any process. */
int message_read_begin(struct fib_reader *reader, struct fib_ticket *ticket);
int message_read_end(struct fib_reader *reader, struct fib_ticket *ticket);
uint64_t message_generation(const struct fib_reader *reader);
void message_detach(struct fib_reader *reader);

#endif
