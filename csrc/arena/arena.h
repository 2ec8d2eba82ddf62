/* The arena of the FIB segment: who gets which 64-byte blocks, and when they come back.
 *
 *   take() --> [ being built ] --store of one word--> [ reachable ] --unlinked, retire()--+
 *     ^                |                                                                  |
 *     |                +-- give(): never reachable, free at once                          v
 *     +------------- free lists <-- turn() at epoch >= r + 2 --------- [ retired at epoch r ]
 *
 * Blocks are opened from the lowest address on, an eighth at a time, and only when nothing below
 * can be had: so a table that is withdrawn and loaded again stays below its high-water mark,
 * and the work of looking (merging) is paid by what was opened.
 *
 * Free blocks are kept in one list a size, then in extents; the links lie in the free blocks
 * themselves, all else is private memory. Nothing of it has to survive: the successor of a dead
 * writer marks what is reachable and rebuilds the rest (arena_rebuild). Retired blocks are never
 * written, since a reader that began before may still be looking at them.
 *
 * Control alone. Promises no order of addresses, and no growth: a full arena says 0.
 */
#ifndef RC_FIB_ARENA_H
#define RC_FIB_ARENA_H
#include "layout/fib_layout.h"

enum {
    ARENA_SIZES = 80,           /* no larger piece is ever retired; larger ones are cut from the first extent that holds them */
    ARENA_TURN_BLOCKS = 4096,   /* retired blocks worth an epoch; 16 times as many left the L2 */
    ARENA_RETIRED = ARENA_TURN_BLOCKS + 64,
};

struct arena_piece {
    uint32_t block;
    uint32_t size;
};

struct fib_arena {
    uint8_t *base;
    uint32_t first, end;   /* blocks of the arena: [first, end) */
    uint32_t at, until;    /* the extent new pieces are cut from */
    uint32_t extents;      /* further ones, longer than ARENA_SIZES, lowest address first */
    uint64_t sizes[ARENA_SIZES / 64 + 1]; /* bit s: free_head[s] is not empty */
    uint32_t live;         /* blocks taken and not retired */
    uint32_t opened;       /* blocks below are in use or have been: the high-water mark + 1 */
    uint32_t taken;        /* blocks taken since free pieces were merged last */
    uint32_t free_head[ARENA_SIZES + 1];
    uint32_t retired_n[2]; /* of this epoch and of the one before, by the epoch's last bit */
    uint32_t retired_blocks[2];
    struct arena_piece retired[2][ARENA_RETIRED];
    uint64_t *used; /* one bit a block: scratch of sweep and rebuild */
};

/* 0 or -ENOMEM. Everything counts as used until arena_rebuild. */
int arena_open(struct fib_arena *arena, uint8_t *base, uint32_t first, uint32_t end);
void arena_close(struct fib_arena *arena);

/* `size` blocks with undefined content, or 0 when none are at hand. Up to ARENA_SIZES in constant
 * time; more (a directory, a table) by a walk over the extents. When there are none, in this
 * order: spend epochs on what is retired, merge, open new ground. */
uint32_t arena_take(struct fib_arena *arena, uint32_t size);
/* 1 when enough was taken since the last merge to make another one worth its time. */
int arena_worth_merging(const struct fib_arena *arena);
/* Makes one piece of free neighbours. */
void arena_merge(struct fib_arena *arena);
/* Opens an eighth more ground, never less than 1,024 blocks or `size`; 0 when all is open. */
int arena_open_ground(struct fib_arena *arena, uint32_t size);
void arena_give(struct fib_arena *arena, uint32_t block, uint32_t size);
void arena_retire(struct fib_arena *arena, uint64_t epoch, uint32_t block, uint32_t size);
/* 1 when this epoch's side has no place for another piece: an epoch has to be spent first. */
int arena_retire_full(const struct fib_arena *arena, uint64_t epoch);
/* 1 when so much is retired that an epoch should be spent to get it back. */
int arena_wants_turn(const struct fib_arena *arena, uint64_t epoch);
/* The epoch has just become `epoch`, fenced: frees what was retired at epoch - 2. */
void arena_turn(struct fib_arena *arena, uint64_t epoch);

uint32_t arena_retired(const struct fib_arena *arena);
uint32_t arena_free(const struct fib_arena *arena);

/* The sweep: forget all, mark what is reachable, rebuild the free lists from the rest.
 * arena_mark says 0 for a piece outside the arena or marked before (two owners: not a tree). */
void arena_unmark_all(struct fib_arena *arena);
int arena_mark(struct fib_arena *arena, uint32_t block, uint32_t size);
void arena_rebuild(struct fib_arena *arena);

#endif
