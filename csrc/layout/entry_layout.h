/* A change of the FIB as a record, to be made once more somewhere else.
 *
 *   0        4        8                16
 *   +--------+--------+----------------+--------------------------------------+
 *   | kind   | id     | bytes          | data: rows, a record, a stamp        |  padded to 16
 *   +--------+--------+----------------+--------------------------------------+
 *
 * `message` writes them into the ring of the segment, where every reader finds them; `double` keeps
 * them in private memory. In the ring they are stored and loaded as relaxed words, and count when
 * they have not been overwritten meanwhile (sync/message/message.c).
 */
#ifndef RC_ENTRY_LAYOUT_H
#define RC_ENTRY_LAYOUT_H
#include "base/base.h"

struct fib_entry {
    uint32_t kind;  /* enum fib_entry_kind */
    uint32_t id;    /* rows: how many; clears: what */
    uint64_t bytes; /* of the data behind it */
};
RC_STATIC_ASSERT(sizeof(struct fib_entry) == 16, "data begins aligned");

enum { MESSAGE_RING_BLOCKS = 16384 }; /* 1 MiB: some 25,000 updates */

enum fib_entry_kind {
    ENTRY_ROWS = 1,
    ENTRY_GROUP = 2,
    ENTRY_ADJACENCY = 3,
    ENTRY_PORT = 4,
    ENTRY_CLEAR_GROUP = 5,
    ENTRY_CLEAR_ADJACENCY = 6,
    ENTRY_CLEAR_PORT = 7,
    ENTRY_PUBLISH = 8, /* data: its stamp */
    ENTRY_SKIP = 9,    /* message: the ring goes on at its start */
};

/* What the layout identity is made of, see layout/identity.h. */
#define ENTRY_LAYOUT                                                                             \
    LAYOUT_STRUCT(fib_entry, kind, id, bytes)                                                    \
    LAYOUT_NUMBER(MESSAGE_RING_BLOCKS) LAYOUT_NUMBER(ENTRY_SKIP)

#endif
