/* Walks the interval engine in order, finds one exact prefix, says what a table needs, and checks
 * every piece before the sweep trusts it.
 *
 * The two tries of the root are walked as one: before a longer prefix is visited, the short ones
 * that sort before it are, each found by a walk of its own that stops at once. Depth is bounded
 * by the levels, so even a segment that is no tree is walked in bounded stack.
 *
 * Control alone: not safe beside a writer.
 */
#include "engines/interval/write/build.h"

#include <errno.h>
#include <string.h>

struct walk {
    const struct fib_writer *writer;
    const struct lpm_visitor *visitor;
    const struct route_row *after; /* NULL: from the start */
    uint32_t short_word;           /* the short trie, while the other is walked; 0 = none left */
    struct route_row next_short;   /* its next row, when short_word is not 0 */
    struct route_row row;          /* family and the path's address */
};

/* Lines, rows and directories of a real table (2023): 160,147 prefixes take 87,800 blocks with the
 * root, 114,000 after 600,000 random updates. Granted are one and a quarter a route and 65,536
 * beside, so that a short prefix can be repainted and sparse tables fit (chunks of one route
 * are 2 blocks, but they share directories). Not granted is the worst: each route longer than
 * /64 in a /64 of its own takes 4. Small tables get the worst there is, a chain of
 * directories a route. */
uint64_t interval_blocks_for(uint8_t family, uint32_t routes)
{
    uint64_t worst = sizeof(struct interval_root) / FIB_BLOCK + 64 +
                     (uint64_t)routes * (family == 4 ? 40 : 160);
    uint64_t real = 65536 + (uint64_t)routes * 5 / 4;
    return worst < real ? worst : real;
}

static int in_order(const struct route_row *a, const struct route_row *b)
{
    int order = memcmp(a->prefix, b->prefix, sizeof a->prefix);
    return order < 0 || (order == 0 && a->length < b->length);
}

static int visit(struct walk *walk, const struct route_row *row)
{
    if (walk->after != NULL && !in_order(walk->after, row))
        return 0;
    return walk->visitor->route(walk->visitor->context, row);
}

/* ---- the short prefixes, one at a time ---- */

static int walk_word(struct walk *walk, uint32_t word, const struct interval_place *place);

static int keep_row(void *context, const struct route_row *row)
{
    *(struct route_row *)context = *row;
    return 1;
}

/* The first short prefix behind `after` (NULL: of all) becomes the next one. */
static int find_short(struct walk *walk, const struct route_row *after)
{
    const struct interval_place top = {0};
    struct route_row found = {0};
    const struct lpm_visitor visitor = {NULL, keep_row, &found, 0};
    struct walk one = {.writer = walk->writer, .visitor = &visitor, .after = after};
    one.row.family = walk->row.family;
    int result = walk_word(&one, walk->short_word, &top);
    if (result <= 0)
        walk->short_word = 0;
    walk->next_short = found;
    return result < 0 ? result : 0;
}

/* Visits the short prefixes before `row` (NULL: all that are left). */
static int visit_short(struct walk *walk, const struct route_row *row)
{
    int stop = 0;
    while (stop == 0 && walk->short_word != 0 &&
           (row == NULL || in_order(&walk->next_short, row))) {
        const struct route_row now = walk->next_short;
        stop = visit(walk, &now);
        if (stop == 0)
            stop = find_short(walk, &now);
    }
    return stop;
}

static int visit_in_order(struct walk *walk, const struct interval_place *place, uint64_t key,
                          uint32_t length, uint32_t group)
{
    uint64_t half = __builtin_bswap64(key);
    memcpy(walk->row.prefix + place->half * 8, &half, sizeof half);
    if (place->half == 0)
        memset(walk->row.prefix + 8, 0, 8);
    walk->row.length = (uint8_t)(place->half * 64 + length);
    walk->row.nexthop = group;
    int stop = walk->short_word == 0 ? 0 : visit_short(walk, &walk->row);
    return stop != 0 ? stop : visit(walk, &walk->row);
}

/* ---- chunks ---- */

static int entry_valid(const struct interval_entry *entry, const struct interval_place *place)
{
    uint32_t length = entry->length;
    return length <= 64 && (length > place->depth || (length == 0 && place->depth == 0) ||
                            (length == 64 && place->depth == 64)) &&
           (entry->key & interval_open(length)) == 0 &&
           ((entry->key ^ place->first) & ~interval_open(place->depth)) == 0;
}

/* What the sweep asks of a chunk: entries that belong here, in order. The lines are trusted;
 * whoever painted them stored the word behind them. */
static int rows_valid(const struct interval_rows *rows, const struct interval_place *place)
{
    for (uint32_t i = 0; i < rows->escapes + rows->routes; i++) {
        const struct interval_entry *entry = &rows->entry[i], *before = entry - 1;
        int first = i == 0 || i == rows->escapes;
        if (!entry_valid(entry, place) || (i < rows->escapes && entry->length != 64) ||
            (!first && (before->key > entry->key ||
                        (before->key == entry->key && before->length >= entry->length))))
            return 0;
    }
    return rows->escapes == 0 || place->half == 0;
}

/* The rows of a chunk, or NULL when its numbers lead out of the segment. */
static const struct interval_rows *rows_inside(const struct fib_writer *writer, uint32_t word)
{
    const struct fib_geometry *geometry = &writer->header->geometry;
    uint32_t block = interval_block(word);
    if (block < geometry->arena_at || block >= geometry->blocks - INTERVAL_PIECE)
        return NULL;
    const struct interval_narrow *line = fib_block(writer, block + (word & 1));
    if (line->rows == 0 || line->rows > INTERVAL_SEPARATORS + 2)
        return NULL;
    const struct interval_rows *rows = fib_block(writer, block + line->rows);
    if (rows->routes > INTERVAL_ENTRIES || rows->escapes > INTERVAL_ENTRIES - rows->routes ||
        rows->blocks > INTERVAL_PIECE ||
        rows->blocks < line->rows + blocks_of(16 + (rows->routes + rows->escapes) * 16))
        return NULL;
    return rows;
}

static int walk_chunk(struct walk *walk, uint32_t word, const struct interval_place *place)
{
    const struct interval_place low = {.half = 1};
    const struct interval_rows *rows = rows_inside(walk->writer, word);
    int stop = 0;
    if (rows == NULL)
        return -EBADMSG;
    if (walk->visitor->blocks != NULL) {
        if (!rows_valid(rows, place))
            return -EBADMSG;
        stop = walk->visitor->blocks(walk->visitor->context, interval_block(word), rows->blocks);
    }
    uint32_t i = rows->escapes, j = 0, end = i + rows->routes;
    while (stop == 0 && (i < end || j < rows->escapes)) {
        const struct interval_entry *route = &rows->entry[i], *escape = &rows->entry[j];
        if (i < end && (j == rows->escapes || route->key <= escape->key)) {
            stop = visit_in_order(walk, place, route->key, route->length, route->value);
            i++;
            continue;
        }
        uint64_t half = __builtin_bswap64(escape->key);
        memcpy(walk->row.prefix, &half, sizeof half);
        stop = walk_word(walk, load_relaxed32(&escape->value), &low);
        j++;
    }
    return stop;
}

/* ---- directories ---- */

static int own_valid(const struct interval_directory *directory, uint32_t depth)
{
    for (uint32_t i = 0; i < directory->count; i++) {
        uint32_t own = directory->own[i], bits = own_bits(own);
        if (bits > 8 || (bits == 0 && depth > 0) || (own >> 16 & 15) != 0 ||
            (own_byte(own) & (0xffu >> bits)) != 0 ||
            (i > 0 && own >> 20 <= directory->own[i - 1] >> 20))
            return 0;
    }
    return 1;
}

/* The first slot that can hold anything behind `after`. */
static uint32_t first_slot(const struct walk *walk, const struct interval_place *place)
{
    uint64_t above = ~interval_open(place->depth);
    if (walk->after == NULL || place->half == 1)
        return 0;
    uint64_t after = interval_half(walk->after->prefix, 0);
    return ((after ^ place->first) & above) == 0 ? interval_byte(after, place->depth) : 0;
}

static int walk_directory(struct walk *walk, uint32_t word, const struct interval_place *place)
{
    const struct fib_geometry *geometry = &walk->writer->header->geometry;
    uint32_t block = interval_block(word), at = 0;
    const struct interval_directory *directory = fib_block(walk->writer, block);
    int stop = 0;
    if (place->depth > 56 || block < geometry->arena_at ||
        block >= geometry->blocks - INTERVAL_PIECE || directory->count > INTERVAL_OWN_MAX)
        return -EBADMSG;
    uint32_t count = directory->count;
    if (walk->visitor->blocks != NULL) {
        if (!own_valid(directory, place->depth))
            return -EBADMSG;
        stop = walk->visitor->blocks(walk->visitor->context, block,
                                     interval_directory_blocks(count));
    }
    uint32_t from = first_slot(walk, place);
    while (at < count && own_byte(directory->own[at]) < from)
        at++;
    for (uint32_t s = from; s < INTERVAL_SLOTS && stop == 0; s++) {
        const struct interval_place child = interval_child(place, s, 0);
        for (; at < count && own_byte(directory->own[at]) == s && stop == 0; at++)
            stop = visit_in_order(walk, place, child.first,
                                  place->depth + own_bits(directory->own[at]),
                                  own_group(directory->own[at]));
        uint32_t below = load_relaxed32(&directory->slot[s]);
        if (stop == 0 && interval_kind(below) != INTERVAL_LEAF)
            stop = walk_word(walk, below, &child);
        else if (stop == 0 && walk->visitor->places)
            stop = visit_in_order(walk, place, child.first, 64, 0);
    }
    return stop;
}

static int walk_word(struct walk *walk, uint32_t word, const struct interval_place *place)
{
    switch (interval_kind(word)) {
    case INTERVAL_LEAF:
        return 0;
    case INTERVAL_DIRECTORY:
        return walk_directory(walk, word, place);
    default:
        return walk_chunk(walk, word, place);
    }
}

int interval_walk(const struct fib_writer *writer, uint8_t family, const struct route_row *after,
                  const struct lpm_visitor *visitor)
{
    const struct fib_geometry *geometry = &writer->header->geometry;
    const struct interval_place top = {0};
    struct walk walk = {.writer = writer, .visitor = visitor, .after = after};
    const struct interval_root *root;
    uint32_t block = load_relaxed32(fib_root_word(writer->header, family));
    int stop = 0;
    walk.row.family = family;
    if (block == 0)
        return 0;
    if (block < geometry->arena_at || block > geometry->blocks - sizeof *root / FIB_BLOCK)
        return -EBADMSG;
    root = fib_block(writer, block);
    uint32_t short_word = load_relaxed32(&root->short_word);
    if (visitor->blocks != NULL) {
        /* A sweep does not care for the order between the two. */
        stop = visitor->blocks(visitor->context, block, sizeof *root / FIB_BLOCK);
        if (stop == 0)
            stop = walk_word(&walk, short_word, &top);
    } else {
        walk.short_word = short_word;
        if (short_word != 0)
            stop = find_short(&walk, after);
    }
    for (uint64_t s = after == NULL ? 0 : interval_half(after->prefix, 0) >> 48;
         s < INTERVAL_ROOT_SLOTS && stop == 0; s++) {
        const struct interval_place place = {.depth = INTERVAL_SHORT, .first = s << 48};
        uint32_t word = load_relaxed32(&root->slot[s]);
        if (word != 0)
            stop = walk_word(&walk, word, &place);
    }
    return stop != 0 ? stop : visit_short(&walk, NULL);
}

static uint32_t exact_own(const struct interval_directory *directory, uint32_t key)
{
    for (uint32_t i = 0; i < directory->count; i++)
        if (directory->own[i] >> 20 == key >> 20)
            return own_group(directory->own[i]);
    return 0;
}

/* In a chunk: a route's group, or (longer than this half) *word of the escape to go on with. */
static uint32_t exact_entry(const struct interval_rows *rows, uint64_t key, uint32_t length,
                            uint32_t *word)
{
    *word = 0;
    for (uint32_t i = 0; i < rows->escapes + rows->routes; i++) {
        const struct interval_entry *entry = &rows->entry[i];
        if (entry->key != key)
            continue;
        if (i < rows->escapes && length > 64)
            *word = load_relaxed32(&entry->value);
        else if (i >= rows->escapes && entry->length == length)
            return entry->value;
    }
    return 0;
}

uint32_t interval_exact(const struct fib_writer *writer, const struct route_row *row)
{
    uint32_t block = load_relaxed32(fib_root_word(writer->header, row->family));
    uint32_t depth = 0, half = 0;
    if (block == 0)
        return 0;
    if (!fib_inside(writer, block, sizeof(struct interval_root)))
        return 0;
    const struct interval_root *root = fib_block(writer, block);
    uint32_t word = load_relaxed32(&root->short_word);
    if (row->length > INTERVAL_SHORT) {
        word = load_relaxed32(&root->slot[interval_half(row->prefix, 0) >> 48]);
        depth = INTERVAL_SHORT;
    }
    while (interval_kind(word) != INTERVAL_LEAF) {
        uint32_t length = row->length - half * 64;
        uint64_t key = interval_half(row->prefix, half);
        if (interval_kind(word) != INTERVAL_DIRECTORY) {
            const struct interval_rows *rows = rows_inside(writer, word);
            uint32_t group = rows == NULL ? 0 : exact_entry(rows, key, length, &word);
            if (rows == NULL || group != 0 || word == 0)
                return group;
            half = 1;
            depth = 0;
            continue;
        }
        const struct interval_directory *directory = interval_directory_at(writer, word);
        if (depth > 56 || !fib_inside(writer, interval_block(word), sizeof *directory) ||
            directory->count > INTERVAL_OWN_MAX ||
            !fib_inside(writer, interval_block(word),
                        sizeof *directory + directory->count * sizeof(uint32_t)))
            return 0;
        uint32_t byte = interval_byte(key, depth);
        if (length <= depth + 8)
            return exact_own(directory, own_prefix(byte, length - depth, 0));
        word = load_relaxed32(&directory->slot[byte]);
        depth += 8;
    }
    return 0;
}
