/* Lines: the intervals of a chunk as readers search them, made and read back.
 *
 * A chunk is laid out in private memory and copied out as whole words, since a stale reader may
 * still be looking at the block it gets. Control alone.
 */
#include "engines/interval/write/build.h"

#include <string.h>

static uint32_t lines_of(uint32_t n, uint32_t room, uint32_t most)
{
    uint32_t lines = (n + room - 1) / room;
    return lines > most ? 0 : lines;
}

static uint32_t kind_of(const struct interval_painted *painted)
{
    return painted->deep        ? INTERVAL_DEEP_LINE
           : painted->top < 256 ? INTERVAL_NARROW_LINE
                                : INTERVAL_WIDE_LINE;
}

static uint32_t lines_for(uint32_t kind, uint32_t n)
{
    switch (kind) {
    case INTERVAL_NARROW_LINE:
        return lines_of(n, INTERVAL_NARROW, INTERVAL_SEPARATORS + 1);
    case INTERVAL_WIDE_LINE:
        return lines_of(n, INTERVAL_WIDE, INTERVAL_SEPARATORS + 1);
    default:
        return lines_of(n, INTERVAL_DEEP, INTERVAL_SEPARATORS_DEEP + 1);
    }
}

uint32_t interval_lines(const struct interval_painted *painted)
{
    return lines_for(kind_of(painted), painted->n);
}

struct lines {
    uint32_t kind; /* of one line; | 1 when separators come first */
    uint32_t n, blocks; /* lines, and lines with separators */
    uint32_t rows;      /* block of the header */
};

static void fill_narrow(const struct interval_painted *painted, uint32_t depth, uint32_t from,
                        struct interval_narrow *line)
{
    for (uint32_t k = 0; k < INTERVAL_NARROW; k++) {
        uint32_t i = from + k < painted->n ? from + k : painted->n - 1;
        line->end[k] = from + k < painted->n
                           ? (uint32_t)(interval_below(painted->end[i], depth) >> 32)
                           : UINT32_MAX;
        line->group[k] = (uint8_t)painted->value[i];
    }
}

static void fill_wide(const struct interval_painted *painted, uint32_t depth, uint32_t from,
                      struct interval_wide *line)
{
    for (uint32_t k = 0; k < INTERVAL_WIDE; k++) {
        uint32_t i = from + k < painted->n ? from + k : painted->n - 1;
        line->end[k] = from + k < painted->n
                           ? (uint32_t)(interval_below(painted->end[i], depth) >> 32)
                           : UINT32_MAX;
        line->group[k] = painted->value[i];
    }
}

static void fill_deep(const struct interval_painted *painted, uint32_t depth, uint32_t from,
                      struct interval_deep *line)
{
    for (uint32_t k = 0; k < INTERVAL_DEEP; k++) {
        uint32_t i = from + k < painted->n ? from + k : painted->n - 1;
        line->end[k] =
            from + k < painted->n ? interval_below(painted->end[i], depth) : UINT64_MAX;
        line->group[k] = painted->value[i];
    }
}

static void fill_separators(const struct interval_painted *painted, uint32_t depth,
                            const struct lines *lines, void *line)
{
    uint32_t *narrow = line;
    uint64_t *deep = line;
    uint32_t room = lines->kind == INTERVAL_NARROW_LINE ? INTERVAL_NARROW
                    : lines->kind == INTERVAL_WIDE_LINE ? INTERVAL_WIDE
                                                        : INTERVAL_DEEP;
    memset(line, 0xff, FIB_BLOCK);
    for (uint32_t k = 0; k + 1 < lines->n; k++) {
        uint64_t end = interval_below(painted->end[(k + 1) * room - 1], depth);
        if (lines->kind == INTERVAL_DEEP_LINE)
            deep[k] = end;
        else
            narrow[k] = (uint32_t)(end >> 32);
    }
}

static void fill_lines(const struct interval_painted *painted, uint32_t depth,
                       const struct lines *lines, uint8_t *out)
{
    if (lines->n > 1) {
        fill_separators(painted, depth, lines, out);
        out += FIB_BLOCK;
    }
    for (uint32_t k = 0; k < lines->n; k++) {
        void *line = out + k * FIB_BLOCK;
        if (lines->kind == INTERVAL_NARROW_LINE)
            fill_narrow(painted, depth, k * INTERVAL_NARROW, line);
        else if (lines->kind == INTERVAL_WIDE_LINE)
            fill_wide(painted, depth, k * INTERVAL_WIDE, line);
        else
            fill_deep(painted, depth, k * INTERVAL_DEEP, line);
        ((struct interval_narrow *)line)->rows = lines->rows; /* the same place in all three */
    }
}
RC_STATIC_ASSERT(offsetof(struct interval_narrow, rows) == offsetof(struct interval_wide, rows) &&
                     offsetof(struct interval_narrow, rows) == offsetof(struct interval_deep, rows),
                 "whoever looks for the rows need not know the kind");

/* Few sizes, so that a freed chunk fits the next one. */
static uint32_t round_up(uint32_t blocks)
{
    uint32_t step = blocks <= 8 ? 1 : blocks <= 16 ? 2 : 4;
    return (blocks + step - 1) / step * step;
}

uint32_t interval_chunk(struct interval_job *job, const struct interval_set *set,
                        const struct interval_place *place,
                        const struct interval_painted *painted)
{
    uint64_t memory[INTERVAL_PIECE * FIB_BLOCK / sizeof(uint64_t)];
    uint32_t kind = kind_of(painted), n = lines_for(kind, painted->n);
    uint32_t entries = set->n_routes + set->n_escapes, before = n > 1 ? n + 1 : 1;
    const struct lines lines = {.kind = kind, .n = n, .blocks = before, .rows = before};
    uint64_t bytes = (uint64_t)before * FIB_BLOCK + offsetof(struct interval_rows, entry) +
                     entries * sizeof(struct interval_entry);
    uint32_t blocks = round_up(blocks_of(bytes));
    uint32_t block = interval_take(job, blocks);
    if (block == 0)
        return 0;
    fill_lines(painted, place->depth, &lines, (uint8_t *)memory);
    struct interval_rows *rows = (void *)((uint8_t *)memory + before * FIB_BLOCK);
    rows->routes = set->n_routes;
    rows->escapes = set->n_escapes;
    rows->blocks = blocks;
    rows->unused = 0;
    memcpy(rows->entry, set->escapes, set->n_escapes * sizeof rows->entry[0]);
    memcpy(rows->entry + set->n_escapes, set->routes, set->n_routes * sizeof rows->entry[0]);
    fib_fill(fib_block(job->writer, block), memory, bytes);
    RC_FAULT("node-built");
    return interval_word(block, n > 1 ? kind | 1 : kind);
}

/* ---- and back ---- */

static uint64_t end_of(const struct interval_place *place, uint32_t end)
{
    return place->first | ((uint64_t)end << 32 | UINT32_MAX) >> place->depth;
}

void interval_read_lines(const struct fib_writer *writer, uint32_t word,
                         const struct interval_place *place, struct interval_painted *painted)
{
    uint32_t block = interval_block(word) + (word & 1), n = 0;
    int narrow = (interval_kind(word) & ~1u) == INTERVAL_NARROW_LINE;
    const struct interval_narrow *line = fib_block(writer, block);
    uint32_t lines = line->rows - (word & 1);
    for (uint32_t i = 0; i < lines && i <= INTERVAL_SEPARATORS; i++) {
        const struct interval_narrow *small = line + i;
        const struct interval_wide *wide = (const void *)small;
        if (narrow) {
            for (uint32_t k = 0; k < INTERVAL_NARROW; k++) {
                painted->end[n + k] = end_of(place, small->end[k]);
                painted->value[n + k] = small->group[k];
            }
            n += INTERVAL_NARROW;
        } else {
            for (uint32_t k = 0; k < INTERVAL_WIDE; k++) {
                painted->end[n + k] = end_of(place, wide->end[k]);
                painted->value[n + k] = wide->group[k];
            }
            n += INTERVAL_WIDE;
        }
    }
    uint64_t last = place->first | interval_open(place->depth);
    while (n > 1 && painted->end[n - 2] == last) /* what fills the last line up */
        n--;
    painted->n = n;
}
