/* A table of the FIB as a reader has it: where it is mapped, and offsets that stay inside.
 *
 * fib_reader_attach() (fib/fib.h) fills it in and looks batches up through it; the engines and the
 * strategies see it from here. Any process; one fib_reader belongs to one thread. Nothing here
 * writes shared memory.
 */
#ifndef RC_READER_H
#define RC_READER_H
#include "layout/fib_layout.h"

struct fib_sync;   /* a strategy, see sync/strategy.h */
struct lpm_engine; /* a lookup engine, see engines/engine.h */

enum { FIB_RETRIES = 1000 }; /* times a single thing is read again before it is given up */

/* What the strategies with a lock need beside the FIB; zeros where there is none. */
struct fib_locks {
    void *memory;      /* the segment NAME.sync, mapped writable */
    uint64_t size;
    int32_t semaphore; /* id of a SysV set, -1 = none */
    uint32_t unused;
};

struct fib_reader {
    const uint8_t *base;       /* of the table to walk: the segment, or one bank of it */
    uint64_t size;             /* of that table */
    uint32_t block_mask_limit; /* its blocks; an offset at or above it means "none" */
    uint32_t lags; /* 1: answers may be from an older publish than fib_generation() says */
    uint64_t retries;          /* batches looked up again since attach */
    uint64_t mixed;            /* batches answered with less than was promised: seqlock, across
                                  two generations; message, from an older table */
    uint64_t unavailable;      /* locks: batches given up because the lock was not to be had */
    const uint8_t *segment;
    const struct fib_sync *sync; /* NULL: epoch, which is built into the reader's loop */
    struct fib_locks locks;
    void *sync_state;            /* what the strategy keeps for this reader: its own business */
    uint64_t sync_mark;
    /* Where the strategy is built in: the engine's batch over bare addresses, if it has one. */
    void (*lean4)(const struct fib_reader *reader, uint32_t root, const uint32_t *addresses,
                  uint32_t *groups, uint32_t n);
    void (*lean6)(const struct fib_reader *reader, uint32_t root, const uint8_t (*addresses)[16],
                  uint32_t *groups, uint32_t n);
    const struct lpm_engine *engine[2]; /* IPv4, IPv6; kept: the segment is not asked again */
};

struct fib_key {
    uint8_t address[16]; /* network order; IPv4 in the first four bytes */
    uint32_t hash;       /* flow hash: picks the bucket */
    uint8_t family;      /* 4 or 6 */
    uint8_t unused[3];
};

#if RC_INLINE_SECTION

/* `bytes` at a block, or NULL when the number points outside the segment (or is 0). */
static inline const uint8_t *fib_at(const struct fib_reader *reader, uint32_t block, uint64_t bytes)
{
    uint64_t offset = (uint64_t)block * FIB_BLOCK;
    if (unlikely(block == 0 || block >= reader->block_mask_limit || offset + bytes > reader->size))
        return NULL;
    return reader->base + offset;
}

static inline const struct fib_header *fib_header_of(const struct fib_reader *reader)
{
    return (const struct fib_header *)(const void *)reader->base;
}

#endif
#endif
