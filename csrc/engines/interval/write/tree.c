/* Makes whole trees of the interval engine: from a sorted set of prefixes to one word.
 *
 *   nothing below            a leaf with what is inherited
 *   fits one chunk           a chunk
 *   else                     a directory: it keeps the prefixes that end inside its byte, and
 *                            has a tree below each slot for the others
 *
 * and the way back, when withdrawals leave a directory almost nothing. Control alone; nothing
 * here can be reached by a reader yet.
 */
#include "engines/interval/write/build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int remember(struct interval_pieces *pieces, uint32_t block, uint32_t blocks)
{
    if (pieces->n == pieces->max) {
        uint32_t max = pieces->max == 0 ? 256 : pieces->max * 2;
        struct arena_piece *grown = realloc(pieces->piece, max * sizeof *grown);
        if (grown == NULL)
            return -ENOSPC;
        pieces->piece = grown;
        pieces->max = max;
    }
    pieces->piece[pieces->n++] = (struct arena_piece){block, blocks};
    return 0;
}

uint32_t interval_take(struct interval_job *job, uint32_t blocks)
{
    uint32_t block = fib_take(job->writer, blocks);
    if (block != 0 && remember(&job->taken, block, blocks) != 0) {
        arena_give(&job->writer->arena, block, blocks);
        return 0;
    }
    return block;
}

int interval_replace(struct interval_job *job, uint32_t block, uint32_t blocks)
{
    return remember(&job->replaced, block, blocks);
}

void interval_paint_own(const uint32_t *own, uint32_t count, uint32_t inherited, uint32_t from,
                        uint32_t to, uint16_t *slot)
{
    for (uint32_t s = from; s < to; s++)
        slot[s] = (uint16_t)inherited;
    for (uint32_t i = 0; i < count && own_byte(own[i]) < to; i++) {
        uint32_t first = own_byte(own[i]);
        uint32_t end = first + (1u << (8 - own_bits(own[i])));
        for (uint32_t s = first > from ? first : from; s < end && s < to; s++)
            slot[s] = (uint16_t)own_group(own[i]);
    }
}

/* How many own prefixes begin at `byte` or before. */
static uint32_t up_to(const struct interval_directory *directory, uint32_t byte)
{
    uint32_t from = 0, end = directory->count;
    while (from < end) {
        uint32_t middle = (from + end) / 2;
        if (own_byte(directory->own[middle]) <= byte)
            from = middle + 1;
        else
            end = middle;
    }
    return from;
}

uint32_t interval_covering(const struct interval_directory *directory, uint32_t byte,
                           uint32_t inherited)
{
    /* The longest that covers sorts last. */
    for (uint32_t i = up_to(directory, byte); i > 0; i--) {
        uint32_t own = directory->own[i - 1], shift = 8 - own_bits(own);
        if (byte >> shift == own_byte(own) >> shift)
            return own_group(own);
    }
    return inherited;
}

uint32_t interval_put_directory(struct interval_job *job, const uint32_t *slot,
                                const uint32_t *own, uint32_t count)
{
    uint32_t block = interval_take(job, interval_directory_blocks(count));
    if (block == 0)
        return 0;
    struct interval_directory *directory = fib_block(job->writer, block);
    fib_fill(directory->slot, slot, sizeof directory->slot);
    store_relaxed32(&directory->count, count);
    for (uint32_t i = 0; i < count; i++)
        store_relaxed32(&directory->own[i], own[i]);
    RC_FAULT("node-built");
    return interval_word(block, INTERVAL_DIRECTORY);
}

/* The end of the stretch of entries from `at` on whose next byte is `byte`. */
static uint32_t stretch(const struct interval_entry *entry, uint32_t at, uint32_t n,
                        uint32_t depth, uint32_t byte)
{
    while (at < n && interval_byte(entry[at].key, depth) == byte)
        at++;
    return at;
}

static int build_directory(struct interval_job *job, const struct interval_set *set,
                           const struct interval_place *place, uint32_t *word)
{
    uint32_t slot[INTERVAL_SLOTS], own[INTERVAL_OWN_MAX], count = 0, i = 0, j = 0;
    uint16_t covered[INTERVAL_SLOTS];
    uint32_t depth = place->depth;
    interval_paint_own(own, 0, place->inherited, 0, INTERVAL_SLOTS, covered);
    for (uint32_t s = 0; s < INTERVAL_SLOTS; s++) {
        /* In sorted order what covers a slot comes before what is below it. */
        for (; i < set->n_routes && set->routes[i].length <= depth + 8 &&
               interval_byte(set->routes[i].key, depth) == s;
             i++) {
            uint32_t bits = set->routes[i].length - depth;
            for (uint32_t k = s; k < s + (1u << (8 - bits)); k++)
                covered[k] = (uint16_t)set->routes[i].value;
            own[count++] = own_prefix(s, bits, set->routes[i].value);
        }
        uint32_t i_end = stretch(set->routes, i, set->n_routes, depth, s);
        uint32_t j_end = stretch(set->escapes, j, set->n_escapes, depth, s);
        const struct interval_set below = {set->routes + i, set->escapes + j, i_end - i,
                                           j_end - j};
        const struct interval_place child = interval_child(place, s, covered[s]);
        if (interval_build(job, &below, &child, &slot[s]) != 0)
            return -ENOSPC;
        i = i_end;
        j = j_end;
    }
    *word = interval_put_directory(job, slot, own, count);
    return *word == 0 ? -ENOSPC : 0;
}

int interval_build(struct interval_job *job, const struct interval_set *set,
                   const struct interval_place *place, uint32_t *word)
{
    struct interval_painted painted;
    if (set->n_routes + set->n_escapes == 0) {
        *word = interval_leaf(place->inherited);
        return 0;
    }
    if (interval_paint(set, place, &painted) == 0)
        return build_directory(job, set, place, word);
    *word = interval_chunk(job, set, place, &painted);
    return *word == 0 ? -ENOSPC : 0;
}

int interval_collapsible(const struct fib_writer *writer, const uint32_t *slot, uint32_t count)
{
    uint32_t total = count;
    for (uint32_t s = 0; s < INTERVAL_SLOTS && total <= INTERVAL_COLLAPSE; s++) {
        uint32_t kind = interval_kind(slot[s]);
        if (kind == INTERVAL_LEAF)
            continue;
        if (kind == INTERVAL_DIRECTORY)
            return 0;
        const struct interval_rows *rows = interval_rows_at(writer, slot[s]);
        total += rows->routes + rows->escapes;
    }
    return total <= INTERVAL_COLLAPSE;
}

int interval_collapse(struct interval_job *job, const struct interval_place *place,
                      const uint32_t *slot, const uint32_t *own, uint32_t count, uint32_t *word)
{
    struct interval_entry routes[INTERVAL_COLLAPSE], escapes[INTERVAL_COLLAPSE];
    struct interval_set set = {routes, escapes, 0, 0};
    uint32_t at = 0;
    for (uint32_t s = 0; s < INTERVAL_SLOTS; s++) {
        for (; at < count && own_byte(own[at]) == s; at++)
            routes[set.n_routes++] = (struct interval_entry){
                .key = place->first | (uint64_t)s << (56 - place->depth),
                .value = own_group(own[at]),
                .length = (uint8_t)(place->depth + own_bits(own[at])),
            };
        if (interval_kind(slot[s]) == INTERVAL_LEAF)
            continue;
        const struct interval_rows *rows = interval_rows_at(job->writer, slot[s]);
        memcpy(escapes + set.n_escapes, rows->entry, rows->escapes * sizeof *escapes);
        memcpy(routes + set.n_routes, rows->entry + rows->escapes, rows->routes * sizeof *routes);
        set.n_routes += rows->routes;
        set.n_escapes += rows->escapes;
        if (interval_replace(job, interval_block(slot[s]), rows->blocks) != 0)
            return -ENOSPC;
    }
    return interval_build(job, &set, place, word);
}
