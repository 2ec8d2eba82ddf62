/* The writer's private half, shared by the files that change the segment.
 *
 * A change is always the same five steps: take blocks, build in them, publish ONE word
 * (fib_store32/64: intent, word, intent done), retire what the word named before, account. Up to
 * the third nothing can be reached and everything can be given back.
 *
 * Control alone; nothing here is shared memory. See fib/fib.h for the public functions.
 */
#ifndef RC_FIB_WRITER_H
#define RC_FIB_WRITER_H
#include "arena/arena.h"
#include "engines/engine.h"
#include "fib/fib.h"

#include <string.h>

struct fib_log;

/* Who names an id: what is named cannot be cleared. */
struct fib_references {
    uint32_t *count; /* [max] routes of a group, buckets of an adjacency */
    uint32_t max;
};

struct interval_job;

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
    uint32_t seen;             /* 1: a lookup may tell that there were any */
    uint64_t routes_turned_at; /* epoch of the last route word, and of the last group word: */
    uint64_t groups_turned_at; /* what they led to before is left alone for two epochs */
    struct fib_references group_use;
    struct fib_references adjacency_use;
    struct fib_arena arena;
    struct interval_job *interval; /* scratch of that engine; NULL until it is used */
    /* The strategy's, in the writer of the first bank; the others have `segment` alone. */
    uint8_t *segment;
    const struct fib_sync *sync;
    uint32_t reuse_at_once; /* `none` */
    uint32_t open;          /* a batch is: the lock is held, where there is one */
    uint32_t unfinished;    /* taken over: words are in force that no publish has named */
    struct fib_writer *twin; /* the second bank's writer */
    struct fib_locks locks;
    struct fib_log *log;    /* double: what the other bank does not have yet */
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

static inline uint64_t fib_mix(uint64_t x) /* the finaliser of splitmix64 */
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* The number a route adds to the digest; the sum does not depend on the order. */
static inline uint64_t fib_route_digest(const struct route_row *row, uint32_t group)
{
    uint64_t word[2];
    memcpy(word, row->prefix, sizeof word);
    /* An IPv4 route fits one word, and fib_mix() never makes two words one. */
    if (row->family == 4)
        return fib_mix((word[0] & 0xffffffff) | (uint64_t)row->length << 32 |
                       (uint64_t)group << 40);
    uint64_t tail = (uint64_t)row->family << 40 | (uint64_t)row->length << 32 | group;
    return fib_mix(fib_mix(fib_mix(tail) ^ word[0]) ^ word[1]);
}
uint64_t fib_now(void);

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

int references_open(struct fib_references *use, uint32_t max);
void references_close(struct fib_references *use);

/* ---- fib/batch.c and the strategies ---- */

/* A change as a record, for whoever has to make it again: followed by `bytes` of data. */
struct fib_entry {
    uint32_t kind;
    uint32_t id; /* rows: how many; clears: what */
    uint64_t bytes;
};
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
/* Makes the change in this bank; as the bank_* function of it. */
int fib_replay(struct fib_writer *bank, const struct fib_entry *entry, const void *data);
enum { FIB_LOCKS_MEMORY = 1, FIB_LOCKS_SEMAPHORE = 2 };
int fib_locks_fit(const struct fib_sync *sync, const struct fib_locks *locks);

/* The bank that changes go to. */
struct fib_writer *fib_working(struct fib_writer *writer);
/* (bank/recover.c) A writer for one bank, its memory swept. NULL: see fib_writer_open. */
struct fib_writer *bank_open(uint8_t *base, struct fib_recovery *found);
int bank_take_over(struct fib_writer *bank, struct fib_recovery *found);
void bank_close(struct fib_writer *bank);
/* Forgets what it knew and takes its bank over again: it was copied. */
int bank_reset(struct fib_writer *bank);
/* (sync/banks.c) Makes the bank of `size` bytes at `to` equal to that at `from`: all but identity
 * and sync. Stamps may be read on either side meanwhile. */
void bank_copy(uint8_t *to, const uint8_t *from, uint64_t size);

/* The functions of fib/fib.h, on one bank. */
int bank_apply(struct fib_writer *writer, const struct route_row *rows, uint64_t n,
               uint64_t *applied, uint64_t *changed);
int bank_set_group(struct fib_writer *writer, const struct fib_group *group);
int bank_clear_group(struct fib_writer *writer, uint32_t id);
int bank_set_adjacency(struct fib_writer *writer, const struct fib_adjacency *adjacency);
int bank_clear_adjacency(struct fib_writer *writer, uint32_t id);
int bank_set_port(struct fib_writer *writer, const struct fib_port *port);
int bank_clear_port(struct fib_writer *writer, uint32_t index);
uint64_t bank_publish(struct fib_writer *writer, uint64_t update_id, uint64_t t0, uint64_t t1);
/* The publish of another bank once more: its stamp, its generation. */
void bank_republish(struct fib_writer *writer, const struct fib_stamp *stamp);
uint32_t bank_walk(struct fib_writer *writer, struct route_row *cursor, struct route_row *rows,
                   uint32_t max);
uint32_t bank_exact(struct fib_writer *writer, const struct route_row *row);
int bank_check(struct fib_writer *writer);

/* ---- directory.c ---- */

uint32_t *fib_directory(const struct fib_writer *writer, uint32_t operation);
uint32_t fib_record_blocks(const struct fib_writer *writer, uint32_t operation, uint32_t block);

/* ---- bank/recover.c ---- */

/* (bank/apply.c) Stores counts, digest and arena figures into the header. */
void fib_account(struct fib_writer *writer);
/* 1: the header's digest and counts of routes are the writer's. */
int fib_accounted(const struct fib_writer *writer);
/* Marks, counts and rebuilds from what is reachable. 0 or -EBADMSG. */
int fib_sweep(struct fib_writer *writer);

#endif
