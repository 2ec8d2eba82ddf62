/* Lookups in the interval engine: a batch goes down round by round, then reads its lines.
 *
 *   1 every key takes its directory slots, at most eight rounds; keys that have left the
 *     directories leave the list, so a round is as long as it has work
 *   2 keys whose chunk has separators find their line
 *   3 every key counts the ends below it in one line
 *   4 wide lines, chunks deeper than 32 bits and what has an escape go on one by one; and what
 *     found nothing asks the short prefixes
 *
 * Each round has 64 loads that do not depend on one another; a line is compared whole, without
 * a branch on its content (with SSE2: three compares and a sum; see avx512.c for one).
 *
 * Any process, read-only mapping. Any word may be stale: block numbers are held against the
 * segment, loops have constant bounds, and the epoch check of fib/read.c does the rest.
 */
#include "engines/engine.h"
#include "engines/interval/interval.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#include <string.h>

enum { STAGE = 64, FEW = 4 /* fewer addresses are quicker one by one */ };

static const void *block_at(const struct interval_table *table, uint32_t block)
{
    /* Block 0 is the header: never an answer, but always there to be read. */
    return table->base + (uint64_t)(block < table->limit ? block : 0) * FIB_BLOCK;
}

#if defined(__SSE2__)

/* How many of 4 * quads ends (from a 16-byte border on) are below the key. SSE2 compares signed,
 * so both sides are moved by half the range. */
static inline uint32_t below_quads(const uint32_t *end, uint32_t quads, uint32_t key)
{
    const __m128i half = _mm_set1_epi32(INT32_MIN);
    const __m128i wanted = _mm_xor_si128(_mm_set1_epi32((int)key), half);
    __m128i count = _mm_setzero_si128();
    for (uint32_t i = 0; i < quads; i++) {
        RC_LOAD();
        __m128i ends = _mm_load_si128((const __m128i *)(const void *)(end + i * 4));
        count = _mm_sub_epi32(count, _mm_cmpgt_epi32(wanted, _mm_xor_si128(ends, half)));
    }
    count = _mm_add_epi32(count, _mm_shuffle_epi32(count, _MM_SHUFFLE(1, 0, 3, 2)));
    count = _mm_add_epi32(count, _mm_shuffle_epi32(count, _MM_SHUFFLE(2, 3, 0, 1)));
    return (uint32_t)_mm_cvtsi128_si32(count);
}

#endif

static inline uint32_t below32(const uint32_t *end, uint32_t n, uint32_t key)
{
#if defined(__SSE2__)
    if (n % 4 == 0)
        return below_quads(end, n / 4, key);
#endif
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++)
        count += load_relaxed32(&end[i]) < key;
    return count;
}

static uint32_t below64(const uint64_t *end, uint32_t n, uint64_t key)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++)
        count += load_relaxed64(&end[i]) < key;
    return count;
}

static uint32_t load8(const uint8_t *p)
{
    return load_relaxed8(p);
}
static uint32_t load16(const uint16_t *p)
{
    return load_relaxed16(p);
}

/* Indexes stay inside the line: a count is at most the number of ends, and one past the last
 * end is met only while the line is being rewritten. */
static uint32_t narrow_group(const struct interval_narrow *line, uint32_t key)
{
    uint32_t i = below32(line->end, INTERVAL_NARROW, key);
    return load8(&line->group[i < INTERVAL_NARROW ? i : 0]);
}
static uint32_t wide_group(const struct interval_wide *line, uint32_t key)
{
    uint32_t i = below32(line->end, INTERVAL_WIDE, key);
    return load16(&line->group[i < INTERVAL_WIDE ? i : 0]);
}
static uint32_t deep_group(const struct interval_deep *line, uint64_t key)
{
    uint32_t i = below64(line->end, INTERVAL_DEEP, key);
    return load16(&line->group[i < INTERVAL_DEEP ? i : 0]);
}

/* ---- one key ---- */

/* The line of a chunk that holds `key` (below the chunk's depth). */
static const void *line_of(const struct interval_table *table, uint32_t word, uint64_t key)
{
    const uint8_t *chunk = block_at(table, interval_block(word));
    if ((word & 1) == 0)
        return chunk;
    uint32_t line = interval_kind(word) == INTERVAL_DEEP_LINES
                        ? below64((const void *)chunk, INTERVAL_SEPARATORS_DEEP, key)
                        : below32((const void *)chunk, INTERVAL_SEPARATORS, (uint32_t)(key >> 32));
    return chunk + (line + 1) * FIB_BLOCK;
}

static uint32_t chunk_group(const struct interval_table *table, uint32_t word, uint64_t key)
{
    const void *line = line_of(table, word, key);
    switch (interval_kind(word) & ~1u) {
    case INTERVAL_NARROW_LINE:
        return narrow_group(line, (uint32_t)(key >> 32));
    case INTERVAL_WIDE_LINE:
        return wide_group(line, (uint32_t)(key >> 32));
    default:
        return deep_group(line, key);
    }
}

/* The escape a group names: its word, and in *group the answer when that has none. */
static uint32_t escape_word(const struct interval_table *table, uint32_t word, uint32_t *group)
{
    uint32_t block = interval_block(word);
    const struct interval_deep *line = block_at(table, block + (word & 1));
    const struct interval_rows *rows = block_at(table, block + (load_relaxed32(&line->rows) & 31));
    const struct interval_entry *entry = &rows->entry[*group & 63];
    *group = load16(&entry->group);
    return load_relaxed32(&entry->value);
}

uint32_t interval_walk_down(const struct interval_table *table, uint32_t word, uint32_t depth,
                            const uint8_t *address)
{
    uint64_t key = interval_below(interval_half(address, 0), depth);
    uint32_t around = 0, group = 0;
    for (uint32_t half = 0; half < 2; half++) {
        for (uint32_t level = 0;
             level < INTERVAL_LEVELS && interval_kind(word) == INTERVAL_DIRECTORY; level++) {
            const uint32_t *slot = block_at(table, interval_block(word));
            word = load_relaxed32(&slot[key >> 56]);
            key <<= 8;
        }
        if (interval_kind(word) <= INTERVAL_DIRECTORY) {
            group = word >> 5;
            break;
        }
        group = chunk_group(table, word, key);
        if ((group & INTERVAL_ESCAPE) == 0 || half == 1)
            break;
        word = escape_word(table, word, &group);
        around = group;
        key = interval_half(address, 1);
    }
    return group == 0 ? around : group;
}

/* ---- a batch ---- */

struct stage {
    uint64_t key[STAGE]; /* below the depth reached */
    uint32_t word[STAGE];
    uint8_t depth[STAGE];
};

/* What a key will load next: a slot, or the first line of its chunk. */
static const void *next_read(const struct interval_table *table, uint32_t word, uint64_t key)
{
    uint64_t slot = interval_kind(word) == INTERVAL_DIRECTORY ? key >> 56 : 0;
    return (const uint32_t *)block_at(table, interval_block(word)) + slot;
}

static void descend(const struct interval_table *table, struct stage *stage, uint32_t n)
{
    uint8_t live[STAGE];
    uint32_t n_live = 0;
    for (uint32_t i = 0; i < n; i++) {
        live[n_live] = (uint8_t)i;
        n_live += interval_kind(stage->word[i]) == INTERVAL_DIRECTORY;
    }
    for (uint32_t level = 2; level < INTERVAL_LEVELS && n_live > 0; level++) {
        uint32_t kept = 0;
        for (uint32_t k = 0; k < n_live; k++) {
            uint32_t i = live[k];
            const uint32_t *slot = block_at(table, interval_block(stage->word[i]));
            uint32_t word = load_relaxed32(&slot[stage->key[i] >> 56]);
            stage->key[i] <<= 8;
            stage->depth[i] = (uint8_t)(stage->depth[i] + 8);
            stage->word[i] = word;
            live[kept] = (uint8_t)i;
            kept += interval_kind(word) == INTERVAL_DIRECTORY;
            __builtin_prefetch(next_read(table, word, stage->key[i]));
        }
        n_live = kept;
    }
}

/* Lists by what a key stands at, made without a branch on it. */
struct lists {
    uint8_t many[STAGE], narrow[STAGE], rare[STAGE];
    uint32_t n_many, n_narrow, n_rare;
};

static void sort_kinds(const struct stage *stage, struct lists *lists, uint32_t *groups,
                       uint32_t n)
{
    lists->n_many = lists->n_narrow = lists->n_rare = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t word = stage->word[i], pair = interval_kind(word) >> 1;
        groups[i] = word >> 5; /* right for a leaf */
        lists->many[lists->n_many] = lists->narrow[lists->n_narrow] = (uint8_t)i;
        lists->rare[lists->n_rare] = (uint8_t)i;
        lists->n_many += pair == INTERVAL_NARROW_LINE >> 1 && (word & 1) != 0;
        lists->n_narrow += pair == INTERVAL_NARROW_LINE >> 1;
        lists->n_rare += pair > INTERVAL_NARROW_LINE >> 1;
    }
}

static void read_lines(const struct interval_table *table, const struct stage *stage,
                       const struct lists *lists, uint32_t *groups, uint32_t n)
{
    const uint8_t *line[STAGE];
    for (uint32_t i = 0; i < n; i++)
        line[i] = block_at(table, interval_block(stage->word[i]));
    for (uint32_t k = 0; k < lists->n_many; k++) {
        uint32_t i = lists->many[k], key = (uint32_t)(stage->key[i] >> 32);
        line[i] += (1 + below32((const void *)line[i], INTERVAL_SEPARATORS, key)) * FIB_BLOCK;
        __builtin_prefetch(line[i]);
    }
    for (uint32_t k = 0; k < lists->n_narrow; k++) {
        uint32_t i = lists->narrow[k];
        groups[i] = narrow_group((const void *)line[i], (uint32_t)(stage->key[i] >> 32));
    }
}

/* What found nothing asks the short prefixes: as a rule one narrow chunk that stays in the L1. */
static void ask_short(const struct interval_table *table, const uint8_t *address, uint32_t stride,
                      uint32_t *groups, uint32_t n)
{
    uint32_t n_empty = 0, word;
    uint8_t empty[STAGE];
    for (uint32_t i = 0; i < n; i++) {
        empty[n_empty] = (uint8_t)i;
        n_empty += groups[i] == 0;
    }
    if (n_empty == 0 || (word = interval_short(table)) == 0)
        return;
    for (uint32_t k = 0; k < n_empty; k++) {
        const uint8_t *from = address + empty[k] * stride;
        uint64_t key = interval_half(from, 0);
        if (interval_kind(word) >> 1 == INTERVAL_NARROW_LINE >> 1)
            groups[empty[k]] = narrow_group(line_of(table, word, key), (uint32_t)(key >> 32));
        else
            groups[empty[k]] = interval_walk_down(table, word, 0, from);
    }
}

static void lookup_stage(const struct interval_table *table, const uint8_t *address,
                         uint32_t stride, uint32_t *groups, uint32_t n)
{
    struct stage stage;
    struct lists lists;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t key = interval_half(address + i * stride, 0);
        stage.key[i] = key << INTERVAL_SHORT;
        stage.word[i] = load_relaxed32(&table->slot[key >> 48]);
        stage.depth[i] = INTERVAL_SHORT;
    }
    descend(table, &stage, n);
    sort_kinds(&stage, &lists, groups, n);
    read_lines(table, &stage, &lists, groups, n);
    for (uint32_t k = 0; k < lists.n_rare; k++) {
        uint32_t i = lists.rare[k];
        groups[i] = interval_walk_down(table, stage.word[i], stage.depth[i],
                                       address + i * stride);
    }
    ask_short(table, address, stride, groups, n);
}

static void batch_portable(const struct interval_table *table, const uint8_t *address,
                           uint32_t stride, uint32_t *groups, uint32_t n)
{
    for (uint32_t at = 0; at < n; at += STAGE)
        lookup_stage(table, address + (uint64_t)at * stride, stride, groups + at,
                     n - at < STAGE ? n - at : STAGE);
}

static void batch(const struct fib_reader *reader, uint32_t root, const uint8_t *address,
                  uint32_t stride, uint32_t *groups, uint32_t n)
{
    const struct interval_root *top = (const void *)fib_at(reader, root, sizeof *top);
    if (top == NULL || reader->block_mask_limit <= INTERVAL_PIECE) {
        memset(groups, 0, n * sizeof groups[0]);
        return;
    }
    const struct interval_table table = {
        .base = reader->base,
        .slot = top->slot,
        .limit = reader->block_mask_limit - INTERVAL_PIECE, /* a whole piece behind every number */
        .short_at = &top->short_word,
    };
    uint32_t done = cpu_avx512() ? interval_batch_avx512(&table, address, stride, groups, n) : 0;
    if (n - done >= FEW)
        batch_portable(&table, address + (uint64_t)done * stride, stride, groups + done, n - done);
    else
        for (; done < n; done++)
            groups[done] = interval_one(&table, address + (uint64_t)done * stride);
}

void interval_lookup(const struct fib_reader *reader, uint32_t root, const struct fib_key *keys,
                     uint32_t *groups, uint32_t n)
{
    batch(reader, root, keys[0].address, sizeof keys[0], groups, n);
}

void interval_lookup_lean(const struct fib_reader *reader, uint32_t root,
                          const uint8_t (*addresses)[16], uint32_t *groups, uint32_t n)
{
    batch(reader, root, addresses[0], sizeof addresses[0], groups, n);
}
