/* Takes blocks from the arena and gives them back. See arena.h for the life of a block.
 *
 * It looks in the free lists first, for the smallest piece that fits; then in the current extent,
 * then in the next one. When there is none, the caller decides (fib_take): waiting costs epochs.
 */
#include "arena/arena.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_GROUND = 1024 };

/* A free piece begins with {next block, length}. A stale reader may look at it (and will find
 * the epoch two ahead), so it is stored and loaded as one word. */
static uint64_t *link_of(const struct fib_arena *arena, uint32_t block)
{
    return (uint64_t *)(void *)(arena->base + (uint64_t)block * FIB_BLOCK);
}
static uint32_t next_of(const struct fib_arena *arena, uint32_t block)
{
    return (uint32_t)load_relaxed64(link_of(arena, block));
}
static uint32_t length_of(const struct fib_arena *arena, uint32_t block)
{
    return (uint32_t)(load_relaxed64(link_of(arena, block)) >> 32);
}
static void set_link(const struct fib_arena *arena, uint32_t block, uint32_t next, uint32_t length)
{
    store_relaxed64(link_of(arena, block), (uint64_t)length << 32 | next);
}

int arena_open(struct fib_arena *arena, uint8_t *base, uint32_t first, uint32_t end)
{
    memset(arena, 0, sizeof *arena);
    arena->base = base;
    arena->first = first;
    arena->end = end;
    arena->opened = first;
    arena->used = calloc((size_t)end / 64 + 1, sizeof *arena->used);
    return arena->used == NULL ? -ENOMEM : 0;
}

void arena_close(struct fib_arena *arena)
{
    free(arena->used);
    arena->used = NULL;
}

/* Puts a piece where it will be found: short ones by size, long ones among the extents. */
static void shelve(struct fib_arena *arena, uint32_t block, uint32_t length)
{
    uint32_t *head = length <= ARENA_SIZES ? &arena->free_head[length] : &arena->extents;
    if (length == 0)
        return;
    set_link(arena, block, *head, length);
    *head = block;
    if (length <= ARENA_SIZES)
        arena->sizes[length / 64] |= UINT64_C(1) << (length % 64);
}

/* The smallest size >= `size` that has a free piece, 0 when there is none. */
static uint32_t fitting(const struct fib_arena *arena, uint32_t size)
{
    uint64_t mask = arena->sizes[size / 64] >> (size % 64) << (size % 64);
    if (mask == 0 && size < 64) {
        size = 64;
        mask = arena->sizes[1];
    }
    return mask == 0 ? 0 : size / 64 * 64 + (uint32_t)__builtin_ctzll(mask);
}

/* A piece of the size, else the rest of the smallest that is larger goes back. */
static uint32_t take_shelved(struct fib_arena *arena, uint32_t size)
{
    uint32_t found = fitting(arena, size);
    if (found == 0)
        return 0;
    uint32_t block = arena->free_head[found];
    arena->free_head[found] = next_of(arena, block);
    if (arena->free_head[found] == 0)
        arena->sizes[found / 64] &= ~(UINT64_C(1) << (found % 64));
    shelve(arena, block + size, found - size);
    return block;
}

static uint32_t take_extent(struct fib_arena *arena, uint32_t size)
{
    uint32_t block = arena->at;
    if (arena->until - arena->at < size) {
        uint32_t next = arena->extents; /* all longer than any piece: the first one fits */
        if (next == 0)
            return 0;
        uint32_t length = length_of(arena, next);
        arena->extents = next_of(arena, next);
        shelve(arena, arena->at, arena->until - arena->at);
        block = next;
        arena->until = next + length;
    }
    arena->at = block + size;
    return block;
}

/* Best fit, cut from the front, so that a directory does not break into the one extent that has
 * room for a table. The current extent is the first choice: it is where new ground is. */
static uint32_t take_long(struct fib_arena *arena, uint32_t size)
{
    if (arena->until - arena->at >= size) {
        uint32_t block = arena->at;
        arena->at += size;
        return block;
    }
    uint32_t best = 0, before_best = 0, best_length = UINT32_MAX, before = 0;
    for (uint32_t block = arena->extents; block != 0; block = next_of(arena, block)) {
        uint32_t length = length_of(arena, block);
        if (length >= size && length < best_length) {
            best = block;
            before_best = before;
            best_length = length;
        }
        before = block;
    }
    if (best == 0)
        return 0;
    if (before_best == 0)
        arena->extents = next_of(arena, best);
    else
        set_link(arena, before_best, next_of(arena, best), length_of(arena, before_best));
    shelve(arena, best + size, best_length - size);
    return best;
}

/* Marks everything but the free pieces as used, and rebuilds. */
void arena_merge(struct fib_arena *arena)
{
    arena_unmark_all(arena);
    for (uint32_t size = 1; size <= ARENA_SIZES; size++)
        for (uint32_t block = arena->free_head[size]; block != 0; block = next_of(arena, block))
            arena_mark(arena, block, size);
    for (uint32_t block = arena->extents; block != 0; block = next_of(arena, block))
        arena_mark(arena, block, length_of(arena, block));
    if (arena->at < arena->until)
        arena_mark(arena, arena->at, arena->until - arena->at);
    for (uint32_t word = 0; word <= arena->end / 64; word++)
        arena->used[word] = ~arena->used[word];
    arena_rebuild(arena);
}

uint32_t arena_take(struct fib_arena *arena, uint32_t size)
{
    if (size == 0 || size > arena->end)
        return 0;
    uint32_t block = size > ARENA_SIZES ? take_long(arena, size) : take_shelved(arena, size);
    if (block == 0 && size <= ARENA_SIZES)
        block = take_extent(arena, size);
    if (block == 0)
        return 0;
    arena->live += size;
    arena->taken += size;
    return block;
}

int arena_worth_merging(const struct fib_arena *arena)
{
    return arena->taken >= (arena->opened - arena->first) / 32;
}

int arena_open_ground(struct fib_arena *arena, uint32_t size)
{
    uint32_t room = arena->end - arena->opened, more = (arena->opened - arena->first) / 8;
    if (more < LEAST_GROUND)
        more = LEAST_GROUND;
    if (more < size)
        more = size;
    if (more > room)
        more = room;
    if (arena->until != arena->opened) {
        shelve(arena, arena->at, arena->until - arena->at);
        arena->at = arena->opened;
    }
    arena->opened += more;
    arena->until = arena->opened;
    return more > 0;
}

void arena_give(struct fib_arena *arena, uint32_t block, uint32_t size)
{
    arena->live -= size;
    shelve(arena, block, size);
}

void arena_retire(struct fib_arena *arena, uint64_t epoch, uint32_t block, uint32_t size)
{
    uint32_t side = epoch & 1;
    arena->live -= size;
    arena->retired_blocks[side] += size;
    arena->retired[side][arena->retired_n[side]++] = (struct arena_piece){block, size};
}

int arena_retire_full(const struct fib_arena *arena, uint64_t epoch)
{
    return arena->retired_n[epoch & 1] >= ARENA_RETIRED;
}

int arena_wants_turn(const struct fib_arena *arena, uint64_t epoch)
{
    return arena->retired_blocks[epoch & 1] >= ARENA_TURN_BLOCKS;
}

void arena_turn(struct fib_arena *arena, uint64_t epoch)
{
    uint32_t side = epoch & 1; /* the side of epoch - 2, from now on that of `epoch` */
    for (uint32_t i = 0; i < arena->retired_n[side]; i++)
        shelve(arena, arena->retired[side][i].block, arena->retired[side][i].size);
    arena->retired_n[side] = 0;
    arena->retired_blocks[side] = 0;
}

uint32_t arena_retired(const struct fib_arena *arena)
{
    return arena->retired_blocks[0] + arena->retired_blocks[1];
}

uint32_t arena_free(const struct fib_arena *arena)
{
    return arena->end - arena->first - arena->live - arena_retired(arena);
}

void arena_unmark_all(struct fib_arena *arena)
{
    memset(arena->used, 0, ((size_t)arena->end / 64 + 1) * sizeof *arena->used);
}

int arena_mark(struct fib_arena *arena, uint32_t block, uint32_t size)
{
    if (block < arena->first || size == 0 || size > arena->end || block > arena->end - size)
        return 0;
    if (arena->opened < block + size)
        arena->opened = block + size;
    for (uint32_t i = block; i < block + size;) {
        uint32_t bit = i % 64, n = 64 - bit;
        if (n > block + size - i)
            n = block + size - i;
        uint64_t mask = (n == 64 ? UINT64_MAX : ((UINT64_C(1) << n) - 1)) << bit;
        if ((arena->used[i / 64] & mask) != 0)
            return 0;
        arena->used[i / 64] |= mask;
        i += n;
    }
    return 1;
}

static int is_used(const struct fib_arena *arena, uint32_t block)
{
    return (int)(arena->used[block / 64] >> (block % 64) & 1);
}

void arena_rebuild(struct fib_arena *arena)
{
    memset(arena->free_head, 0, sizeof arena->free_head);
    arena->extents = arena->at = arena->until = arena->taken = 0;
    memset(arena->sizes, 0, sizeof arena->sizes);
    /* Downwards, so that each list ends up with its lowest address first. */
    for (uint32_t end = arena->opened; end > arena->first;) {
        uint32_t block = end - 1;
        if (end % 64 == 0 && end - arena->first >= 64 && arena->used[block / 64] == UINT64_MAX) {
            end -= 64;
            continue;
        }
        if (is_used(arena, block)) {
            end = block;
            continue;
        }
        while (block > arena->first && !is_used(arena, block - 1)) {
            int whole = block % 64 == 0 && block - arena->first >= 64;
            block -= whole && arena->used[block / 64 - 1] == 0 ? 64 : 1;
        }
        shelve(arena, block, end - block);
        end = block;
    }
}
