/* The writer's private half, shared by the fib_*.c files that change the segment.
 *
 * A change is always the same five steps: take blocks, build in them, publish ONE word
 * (fib_store32/64: intent, word, intent done), retire what the word named before, account. Up to
 * the third nothing can be reached and everything can be given back.
 *
 * Control alone; nothing here is shared memory. See fib.h for the public functions.
 */
#ifndef RC_FIB_WRITER_H
#define RC_FIB_WRITER_H
#include "fib.h"
#include "fib_arena.h"
#include "fib_lpm.h"

/* Who names an id: what is named cannot be cleared. */
struct fib_references {
    uint32_t *count; /* [max] routes of a group, buckets of an adjacency */
    uint32_t max;
};

struct fib_writer {
    uint8_t *base;
    uint64_t size;
    struct fib_header *header;
    const struct lpm_engine *engine[2]; /* IPv4, IPv6 */
    uint64_t epoch;                     /* = header->published.epoch */
    uint64_t digest;                    /* these four: of the words in force, published or not */
    uint32_t routes[2];
    uint32_t groups;
    uint32_t adjacencies;
    uint32_t changes;          /* words changed since the last publish */
    uint64_t routes_turned_at; /* epoch of the last route word, and of the last group word: */
    uint64_t groups_turned_at; /* what they led to before is left alone for two epochs */
    struct fib_references group_use;
    struct fib_references adjacency_use;
    struct fib_arena arena;
};

static inline uint32_t family_index(uint8_t family)
{
    return family == 4 ? 0 : 1;
}

static inline uint32_t *fib_root_word(struct fib_header *header, uint8_t family)
{
    return family == 4 ? &header->roots.root4 : &header->roots.root6;
}

/* A block as memory. The caller got the number from this writer or checked it. */
static inline void *fib_block(const struct fib_writer *writer, uint32_t block)
{
    return writer->base + (uint64_t)block * FIB_BLOCK;
}

static inline uint32_t blocks_of(uint64_t bytes)
{
    return (uint32_t)((bytes + FIB_BLOCK - 1) / FIB_BLOCK);
}

/* The number a route adds to the digest; the sum does not depend on the order. */
uint64_t fib_route_digest(const struct route_row *row, uint32_t group);
uint64_t fib_now(void);

/* Stores `bytes` (a multiple of 8) as relaxed 64-bit words: a stale reader may be looking. */
void fib_fill(void *target, const void *source, uint64_t bytes);

/* ---- fib_intent.c ---- */

/* What a word means, for the intent record. */
struct fib_change {
    uint32_t operation;
    uint32_t id;
    const struct route_row *row; /* NULL but for FIB_OP_ROUTE */
    uint16_t rows;
};
void fib_store32(struct fib_writer *writer, const struct fib_change *change, uint32_t *word,
                 uint32_t value);
void fib_store64(struct fib_writer *writer, const struct fib_change *change, uint64_t *word,
                 uint64_t value);
/* 1: an open intent was done again; 0: none was open; -EBADMSG: it makes no sense. */
int fib_redo(struct fib_writer *writer);

/* ---- fib_space.c ---- */

void fib_bump(struct fib_writer *writer);
/* Before each change: spends an epoch when enough is retired to be worth it. */
void fib_make_room(struct fib_writer *writer);
/* arena_take, and when it says 0, once more with everything retired back. */
uint32_t fib_take(struct fib_writer *writer, uint32_t size);
void fib_retire(struct fib_writer *writer, uint32_t block, uint32_t size);
/* Bumps until two epochs have passed since `epoch`: no walk begun then is still valid. */
void fib_settle(struct fib_writer *writer, uint64_t epoch);

int references_open(struct fib_references *use, uint32_t max);
void references_close(struct fib_references *use);

/* ---- fib_directory.c ---- */

uint32_t *fib_directory(const struct fib_writer *writer, uint32_t operation);
uint32_t fib_record_blocks(const struct fib_writer *writer, uint32_t operation, uint32_t block);

/* ---- fib_recover.c ---- */

/* (fib_write.c) Stores counts, digest and arena figures into the header. */
void fib_account(struct fib_writer *writer);
/* Marks, counts and rebuilds from what is reachable. 0 or -EBADMSG. */
int fib_sweep(struct fib_writer *writer);

#endif
