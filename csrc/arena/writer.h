/* A table of the FIB as its writer has it: the private half, and the ways to change a word.
 *
 * A change is always the same five steps: take blocks, build in them, publish ONE word
 * (fib_store32/64: intent, word, intent done), retire what the word named before, account. Up to
 * the third nothing can be reached and everything can be given back.
 *
 * Engines and bank/ change a table through this. Control alone (and, for its own replica, a reader
 * of `message`); nothing here is shared memory.
 */
#ifndef RC_WRITER_H
#define RC_WRITER_H
#include <string.h>

#include "arena/arena.h"
#include "arena/reader.h"
#include "layout/row_layout.h"

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
    void *engine_state[2];              /* what an engine keeps between changes: its own business */
    /* NULL, or the engine's: puts right what is derived from its words, see engines/engine.h. */
    void (*derive[2])(struct fib_writer *writer, const struct route_row *rows, uint32_t n);
    uint64_t epoch;                     /* = header->published.epoch */
    uint64_t digest;                    /* these four: of the words in force, published or not */
    uint32_t routes[2];
    uint32_t groups;
    uint32_t adjacencies;
    uint32_t changes;          /* words changed since the last publish */
    uint32_t seen;             /* 1: a lookup may tell that there were any */
    uint64_t routes_turned_at; /* epoch of the last route word, and of the last group word: */
    uint64_t groups_turned_at; /* what they led to before is left alone for two epochs */
    struct fib_references group_use;
    struct fib_references adjacency_use;
    struct fib_arena arena;
    /* The strategy's, in the writer of the first bank; the others have `segment` alone. */
    uint8_t *segment;
    const struct fib_sync *sync;
    void *sync_state;        /* what a strategy keeps between batches: its own business */
    uint32_t reuse_at_once;  /* a strategy for teaching wants blocks back at every bump */
    uint32_t open;           /* a batch is: the lock is held, where there is one */
    uint32_t unfinished;     /* taken over: words are in force that no publish has named */
    struct fib_writer *twin; /* the second bank's writer */
    struct fib_locks locks;
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

/* 1: `bytes` from this block on lie in the arena, as far as the writer's own memory knows it. For
 * numbers that are only read out of the segment: whoever wrote into it may have changed them. */
static inline int fib_inside(const struct fib_writer *writer, uint64_t block, uint64_t bytes)
{
    return block >= writer->arena.first && bytes <= writer->size &&
           block * FIB_BLOCK <= writer->size - bytes;
}

static inline uint32_t blocks_of(uint64_t bytes)
{
    return (uint32_t)((bytes + FIB_BLOCK - 1) / FIB_BLOCK);
}

/* Stores `bytes` (a multiple of 8) as relaxed 64-bit words: a stale reader may be looking. */
void fib_fill(void *target, const void *source, uint64_t bytes);

/* ---- intent.c ---- */

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
/* Several words of one array, in order; `list` lies in the arena (the successor reads it) and may
 * be given back afterwards. Readers see them come one by one, the successor finishes them all. */
void fib_store_list(struct fib_writer *writer, const struct fib_change *change, uint32_t *base,
                    const struct fib_word *list, uint32_t n);
/* 1: an open intent was done again; 0: none was open; -EBADMSG: it makes no sense. */
int fib_redo(struct fib_writer *writer);

/* ---- space.c ---- */

void fib_bump(struct fib_writer *writer);
/* Before each change: spends an epoch when enough is retired to be worth it. */
void fib_make_room(struct fib_writer *writer);
/* arena_take, and when it says 0, once more with everything retired back. */
uint32_t fib_take(struct fib_writer *writer, uint32_t size);
void fib_retire(struct fib_writer *writer, uint32_t block, uint32_t size);
/* Bumps until two epochs have passed since `epoch`: no walk begun then is still valid. */
void fib_grace_since(struct fib_writer *writer, uint64_t epoch);


#endif
