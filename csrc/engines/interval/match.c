/* The matched prefix of one address, from the writer's rows beside the lines: for `route get` and
 * `explain`, under the epoch check of fib/inspect.c.
 *
 * Any process. Every count and block number is bounded before use; no loop is longer than a
 * chunk's entries or a directory's list.
 */
#include "engines/engine.h"
#include "engines/interval/interval.h"

struct best {
    uint32_t group, length;
};

static const void *piece_at(const struct fib_reader *reader, uint32_t block)
{
    return fib_at(reader, block, INTERVAL_PIECE * FIB_BLOCK);
}

static void match_own(const struct interval_directory *directory, uint32_t byte, uint32_t bits,
                      struct best *best)
{
    uint32_t count = load_relaxed32(&directory->count);
    for (uint32_t i = 0; i < count && i < INTERVAL_OWN_MAX; i++) {
        uint32_t own = load_relaxed32(&directory->own[i]);
        uint32_t shift = (8 - own_bits(own)) & 15;
        if (byte >> shift != own_byte(own) >> shift)
            continue;
        best->group = own_group(own); /* sorted: the last that covers is the longest */
        best->length = bits + own_bits(own);
    }
}

/* Matches in a chunk's rows; the word of the escape that holds the key, 0 = none. */
static uint32_t match_rows(const struct interval_rows *rows, uint64_t key, uint32_t bits,
                           struct best *best)
{
    uint32_t routes = load_relaxed32(&rows->routes), escapes = load_relaxed32(&rows->escapes);
    uint32_t word = 0;
    for (uint32_t i = 0; i < escapes + routes && i < INTERVAL_ENTRIES; i++) {
        const struct interval_entry *entry = &rows->entry[i];
        uint64_t tail = load_relaxed64((const uint64_t *)(const void *)&entry->value);
        uint64_t first = load_relaxed64(&entry->key);
        uint32_t length = (uint32_t)(tail >> 48 & 0xff);
        if (i < escapes) {
            if (first == key)
                word = (uint32_t)tail;
            continue;
        }
        if (((first ^ key) & ~interval_open(length)) != 0)
            continue;
        best->group = (uint32_t)tail;
        best->length = bits + length;
    }
    return word;
}

static void match_from(const struct fib_reader *reader, uint32_t word, uint32_t depth,
                       const uint8_t *address, struct best *best)
{
    uint32_t half = 0;
    for (uint32_t step = 0; step < 2 * (INTERVAL_LEVELS + 1); step++) {
        uint64_t key = interval_half(address, half);
        uint32_t bits = half * 64 + depth;
        if (interval_kind(word) == INTERVAL_LEAF)
            return;
        const uint8_t *piece = piece_at(reader, interval_block(word));
        if (piece == NULL)
            return;
        if (interval_kind(word) == INTERVAL_DIRECTORY) {
            const struct interval_directory *directory = (const void *)piece;
            uint32_t byte = interval_byte(key, depth);
            match_own(directory, byte, bits, best);
            word = load_relaxed32(&directory->slot[byte]);
            depth += 8;
            continue;
        }
        const struct interval_narrow *line = (const void *)(piece + (word & 1) * FIB_BLOCK);
        piece = piece_at(reader, interval_block(word) + (load_relaxed32(&line->rows) & 31));
        if (piece == NULL)
            return;
        word = match_rows((const void *)piece, key, half * 64, best);
        if (half == 1)
            return;
        half = 1;
        depth = 0;
    }
}

uint32_t interval_match(const struct fib_reader *reader, uint32_t root, const struct fib_key *key,
                        uint32_t *length)
{
    const struct interval_root *top = (const void *)fib_at(reader, root, sizeof *top);
    struct best best = {0, 0};
    if (top == NULL)
        return 0;
    match_from(reader, load_relaxed32(&top->slot[interval_half(key->address, 0) >> 48]),
               INTERVAL_SHORT, key->address, &best);
    if (best.group == 0) {
        /* In this order, as a lookup: see interval_short(). */
        atomic_thread_fence(memory_order_acquire);
        match_from(reader, load_relaxed32(&top->short_word), 0, key->address, &best);
    }
    *length = best.length;
    return best.group;
}
