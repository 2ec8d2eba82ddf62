/* The batch of the interval engine with AVX-512: sixteen keys go down together, a line is one
 * compare.
 *
 *   gather     word[16] <- slot[byte of key], masked to the keys that stand at a directory;
 *              the key moves up by that byte, so its next 32 bits are always on top
 *   separators one line: ends below the key, a population count names the next line
 *   line       the same, and the group stands at that index
 *
 * A round is done for sixteen keys whether one or all need it, and there are as many rounds as
 * the deepest key needs. Lines are left to scalar code around one vector compare each: they are
 * 64 independent chains of two loads, which is what an out-of-order core likes best.
 *
 * Chosen at run time (cpu_avx512), never by the build's flags. Same rules as
 * read.c: any process, any word may be stale, every block number is bounded.
 */
#include "engines/engine.h"
#include "engines/interval/interval.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

enum {
    LANES = 16,
    STAGE = 64,
    FEW = 16,   /* fewer addresses are quicker without: a stage takes 310 ns however few there are */
    COMMON = 4, /* levels all keys take together, the root being two; two in five go further */
};

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi,bmi2")))

struct stage {
    uint32_t key[STAGE] __attribute__((aligned(64))); /* the 32 bits below the depth reached */
    uint32_t low[STAGE] __attribute__((aligned(64))); /* and the 32 behind them */
    uint32_t word[STAGE] __attribute__((aligned(64)));
    uint32_t line[STAGE] __attribute__((aligned(64))); /* block of the line to read */
};

/* Upper halves of sixteen addresses: bits 0..31 and 32..63 of each. */
AVX512 static inline void load_keys(const uint8_t *address, uint32_t stride, __m512i *high,
                                    __m512i *low)
{
    uint32_t top[LANES] __attribute__((aligned(64))), rest[LANES] __attribute__((aligned(64)));
    for (uint32_t i = 0; i < LANES; i++) {
        uint64_t key = interval_half(address + (uint64_t)i * stride, 0);
        top[i] = (uint32_t)(key >> 32);
        rest[i] = (uint32_t)key;
    }
    *high = _mm512_load_si512(top);
    *low = _mm512_load_si512(rest);
}

/* Sixteen bare addresses lie in four registers: shuffles put them in order. */
AVX512 static inline void load_bare(const uint8_t *address, __m512i *high, __m512i *low)
{
    const __m512i swap = _mm512_broadcast_i32x4(
        _mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, -1, -1, -1, -1, -1, -1, -1, -1));
    const __m512i pick_high =
        _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m512i pick_low =
        _mm512_setr_epi32(1, 5, 9, 13, 17, 21, 25, 29, 0, 0, 0, 0, 0, 0, 0, 0);
    __m512i a = _mm512_shuffle_epi8(_mm512_loadu_si512(address), swap);
    __m512i b = _mm512_shuffle_epi8(_mm512_loadu_si512(address + 64), swap);
    __m512i c = _mm512_shuffle_epi8(_mm512_loadu_si512(address + 128), swap);
    __m512i d = _mm512_shuffle_epi8(_mm512_loadu_si512(address + 192), swap);
    __m256i high0 = _mm512_castsi512_si256(_mm512_permutex2var_epi32(a, pick_high, b));
    __m256i high1 = _mm512_castsi512_si256(_mm512_permutex2var_epi32(c, pick_high, d));
    __m256i low0 = _mm512_castsi512_si256(_mm512_permutex2var_epi32(a, pick_low, b));
    __m256i low1 = _mm512_castsi512_si256(_mm512_permutex2var_epi32(c, pick_low, d));
    *high = _mm512_inserti64x4(_mm512_castsi256_si512(high0), high1, 1);
    *low = _mm512_inserti64x4(_mm512_castsi256_si512(low0), low1, 1);
}

/* What sixteen keys know on their way down. */
struct lanes {
    __m512i high, low; /* the key below the depth reached, its first and second 32 bits */
    __m512i word;
};

AVX512 static inline void take_root(const struct interval_table *table, struct lanes *lanes)
{
    RC_LOAD();
    lanes->word = _mm512_i32gather_epi32(_mm512_srli_epi32(lanes->high, 16), table->slot, 4);
    lanes->high = _mm512_or_si512(_mm512_slli_epi32(lanes->high, 16),
                                  _mm512_srli_epi32(lanes->low, 16));
    lanes->low = _mm512_slli_epi32(lanes->low, 16);
}

/* One level for sixteen keys: those that stand at a directory take the slot of their next byte. */
AVX512 static inline void step_down(const struct interval_table *table, struct lanes *lanes)
{
    const __m512i limit = _mm512_set1_epi32((int)(table->limit << 5));
    __m512i kind = _mm512_and_si512(lanes->word, _mm512_set1_epi32(7));
    __mmask16 live = _mm512_cmpeq_epi32_mask(kind, _mm512_set1_epi32(INTERVAL_DIRECTORY));
    live = _mm512_mask_cmplt_epu32_mask(live, lanes->word, limit);
    /* A block is 16 slots: the word without its kind is twice the number of the first slot. */
    __m512i first = _mm512_srli_epi32(_mm512_andnot_si512(_mm512_set1_epi32(31), lanes->word), 1);
    __m512i slot = _mm512_add_epi32(first, _mm512_srli_epi32(lanes->high, 24));
    RC_LOAD();
    lanes->word = _mm512_mask_i32gather_epi32(lanes->word, live, slot, table->base, 4);
    lanes->high = _mm512_mask_or_epi32(lanes->high, live, _mm512_slli_epi32(lanes->high, 8),
                                       _mm512_srli_epi32(lanes->low, 24));
    lanes->low = _mm512_mask_slli_epi32(lanes->low, live, lanes->low, 8);
}

/* Sorts the keys of a stage by what they stand at: one bit a key. */
struct sorted {
    uint64_t directory, leaf, separators, wide, deep;
};

AVX512 static inline void put_down(const struct interval_table *table, const struct lanes *lanes,
                                   uint32_t at, struct stage *stage, struct sorted *sorted)
{
    const __m512i limit = _mm512_set1_epi32((int)(table->limit << 5));
    __m512i kind = _mm512_and_si512(lanes->word, _mm512_set1_epi32(7));
    __mmask16 directory = _mm512_cmpeq_epi32_mask(kind, _mm512_set1_epi32(INTERVAL_DIRECTORY));
    _mm512_store_si512(stage->key + at, lanes->high);
    _mm512_store_si512(stage->low + at, lanes->low);
    _mm512_store_si512(stage->word + at, lanes->word);
    _mm512_store_si512(stage->line + at,
                       _mm512_maskz_srli_epi32(_mm512_cmplt_epu32_mask(lanes->word, limit),
                                               lanes->word, 5));
    sorted->directory |= (uint64_t)directory << at;
}

AVX512 static inline uint32_t below(const void *line, uint32_t key, uint32_t mask)
{
    RC_LOAD();
    __mmask16 less = _mm512_cmplt_epu32_mask(_mm512_load_si512(line), _mm512_set1_epi32((int)key));
    return (uint32_t)__builtin_popcount(less & mask);
}

AVX512 static inline uint32_t below_deep(const void *line, uint64_t key, uint32_t mask)
{
    RC_LOAD();
    __mmask8 less =
        _mm512_cmplt_epu64_mask(_mm512_load_si512(line), _mm512_set1_epi64((long long)key));
    return (uint32_t)__builtin_popcount(less & mask);
}

static inline const uint8_t *line_at(const struct interval_table *table, uint32_t line)
{
    return table->base + (uint64_t)line * FIB_BLOCK;
}

/* The few that are still at directories after the common levels: one by one, level by level. */
AVX512 static inline void step_down_rest(const struct interval_table *table, struct stage *stage,
                                         uint64_t live)
{
    for (uint32_t level = COMMON; level < INTERVAL_LEVELS && live != 0; level++) {
        uint64_t next = 0;
        for (uint64_t left = live; left != 0; left &= left - 1) {
            uint32_t i = (uint32_t)__builtin_ctzll(left);
            const uint32_t *slot = (const void *)line_at(table, stage->line[i]);
            uint32_t word = load_relaxed32(&slot[stage->key[i] >> 24]);
            uint64_t key = ((uint64_t)stage->key[i] << 32 | stage->low[i]) << 8;
            stage->key[i] = (uint32_t)(key >> 32);
            stage->low[i] = (uint32_t)key;
            stage->word[i] = word;
            stage->line[i] = word >> 5 < table->limit ? word >> 5 : 0;
            next |= (uint64_t)((word & 7) == INTERVAL_DIRECTORY) << i;
        }
        live = next;
    }
}

AVX512 static inline void sort_kinds(const struct stage *stage, struct sorted *sorted)
{
    for (uint32_t at = 0; at < STAGE; at += LANES) {
        __m512i word = _mm512_load_si512(stage->word + at);
        __m512i kind = _mm512_and_si512(word, _mm512_set1_epi32(7));
        __mmask16 wide = _mm512_cmpeq_epi32_mask(_mm512_and_si512(kind, _mm512_set1_epi32(6)),
                                                 _mm512_set1_epi32(INTERVAL_WIDE_LINE));
        __mmask16 deep = _mm512_cmpge_epu32_mask(kind, _mm512_set1_epi32(INTERVAL_DEEP_LINE));
        __mmask16 leaf = _mm512_cmple_epu32_mask(kind, _mm512_set1_epi32(INTERVAL_DIRECTORY));
        __mmask16 odd = _mm512_test_epi32_mask(word, _mm512_set1_epi32(1));
        sorted->wide |= (uint64_t)wide << at;
        sorted->deep |= (uint64_t)deep << at;
        sorted->leaf |= (uint64_t)leaf << at;
        sorted->separators |= (uint64_t)(odd & (__mmask16)~leaf) << at;
    }
}

/* Keys whose chunk begins with separators go on to their line. */
AVX512 static inline void find_lines(const struct interval_table *table, struct stage *stage,
                                     const struct sorted *sorted)
{
    for (uint64_t left = sorted->separators & ~sorted->deep; left != 0; left &= left - 1) {
        uint32_t i = (uint32_t)__builtin_ctzll(left);
        stage->line[i] += 1 + below(line_at(table, stage->line[i]), stage->key[i], 0xffff);
    }
    for (uint64_t left = sorted->separators & sorted->deep; left != 0; left &= left - 1) {
        uint32_t i = (uint32_t)__builtin_ctzll(left);
        uint64_t key = (uint64_t)stage->key[i] << 32 | stage->low[i];
        stage->line[i] += 1 + below_deep(line_at(table, stage->line[i]), key, 0xff);
    }
}

/* Reads the lines; the keys that met an escape. */
AVX512 static inline uint64_t read_lines(const struct interval_table *table,
                                         const struct stage *stage, const struct sorted *sorted,
                                         uint32_t *groups)
{
    uint64_t escaped = 0;
    for (uint32_t at = 0; at < STAGE; at += LANES)
        _mm512_storeu_si512(groups + at, _mm512_srli_epi32(_mm512_load_si512(stage->word + at), 5));
    for (uint64_t left = ~(sorted->leaf | sorted->wide | sorted->deep); left != 0;
         left &= left - 1) {
        uint32_t i = (uint32_t)__builtin_ctzll(left);
        const uint8_t *line = line_at(table, stage->line[i]);
        groups[i] = line[offsetof(struct interval_narrow, group) +
                         below(line, stage->key[i], 0xfff)];
    }
    for (uint64_t left = sorted->wide; left != 0; left &= left - 1) {
        uint32_t i = (uint32_t)__builtin_ctzll(left);
        const struct interval_wide *line = (const void *)line_at(table, stage->line[i]);
        groups[i] = line->group[below(line, stage->key[i], 0x3ff) % INTERVAL_WIDE];
    }
    for (uint64_t left = sorted->deep; left != 0; left &= left - 1) {
        uint32_t i = (uint32_t)__builtin_ctzll(left);
        const struct interval_deep *line = (const void *)line_at(table, stage->line[i]);
        uint64_t key = (uint64_t)stage->key[i] << 32 | stage->low[i];
        groups[i] = line->group[below_deep(line, key, 0x3f) % INTERVAL_DEEP];
        escaped |= (uint64_t)(groups[i] >> 15 & 1) << i;
    }
    return escaped;
}

/* What found nothing asks the short prefixes: as a rule one chunk that stays in the L1. */
AVX512 static void ask_short(const struct interval_table *table, const uint8_t *address,
                             uint32_t stride, uint32_t *groups)
{
    uint64_t empty = 0;
    for (uint32_t at = 0; at < STAGE; at += LANES)
        empty |= (uint64_t)_mm512_testn_epi32_mask(_mm512_loadu_si512(groups + at),
                                                   _mm512_set1_epi32(-1))
                 << at;
    uint32_t word = empty == 0 ? 0 : interval_short(table), block = word >> 5, kind = word & 7;
    int narrow = (kind == INTERVAL_NARROW_LINE || kind == INTERVAL_NARROW_LINES) &&
                 block < table->limit;
    if (word == 0)
        return;
    for (; empty != 0; empty &= empty - 1) {
        uint32_t i = (uint32_t)__builtin_ctzll(empty);
        const uint8_t *from = address + (uint64_t)i * stride;
        if (unlikely(!narrow)) {
            groups[i] = interval_walk_down(table, word, 0, from);
            continue;
        }
        uint32_t key = (uint32_t)(interval_half(from, 0) >> 32), line = block;
        if (kind == INTERVAL_NARROW_LINES)
            line += 1 + below(line_at(table, block), key, 0xffff);
        groups[i] = line_at(table, line)[offsetof(struct interval_narrow, group) +
                                         below(line_at(table, line), key, 0xfff)];
    }
}

AVX512 static void lookup_stage(const struct interval_table *table, const uint8_t *address,
                                uint32_t stride, uint32_t *groups)
{
    struct lanes lanes[STAGE / LANES];
    struct sorted sorted = {0};
    struct stage stage;
    for (uint32_t v = 0; v < STAGE / LANES; v++) {
        const uint8_t *from = address + (uint64_t)v * LANES * stride;
        if (stride == 16)
            load_bare(from, &lanes[v].high, &lanes[v].low);
        else
            load_keys(from, stride, &lanes[v].high, &lanes[v].low);
    }
#pragma GCC unroll 8
    for (uint32_t v = 0; v < STAGE / LANES; v++)
        take_root(table, &lanes[v]);
#pragma GCC unroll 8
    for (uint32_t level = 2; level < COMMON; level++)
#pragma GCC unroll 8
        for (uint32_t v = 0; v < STAGE / LANES; v++)
            step_down(table, &lanes[v]);
#pragma GCC unroll 8
    for (uint32_t v = 0; v < STAGE / LANES; v++)
        put_down(table, &lanes[v], v * LANES, &stage, &sorted);
    step_down_rest(table, &stage, sorted.directory);
    sort_kinds(&stage, &sorted);
    /* A reorder buffer holds half a stage: the prefix stream gains a third by asking ahead. */
    for (uint32_t i = 0; i < STAGE; i++)
        __builtin_prefetch(line_at(table, stage.line[i]));
    find_lines(table, &stage, &sorted);
    uint64_t escaped = read_lines(table, &stage, &sorted, groups);
    for (; escaped != 0; escaped &= escaped - 1) {
        uint32_t i = (uint32_t)__builtin_ctzll(escaped);
        groups[i] = interval_one(table, address + (uint64_t)i * stride);
    }
    ask_short(table, address, stride, groups);
}

AVX512 uint32_t interval_batch_avx512(const struct interval_table *table, const uint8_t *address,
                                      uint32_t stride, uint32_t *groups, uint32_t n)
{
    uint32_t at = 0, found[STAGE];
    uint8_t some[STAGE][16];
    for (; n - at >= STAGE; at += STAGE)
        lookup_stage(table, address + (uint64_t)at * stride, stride, groups + at);
    uint32_t rest = n - at;
    if (rest < FEW)
        return at;
    for (uint32_t i = 0; i < STAGE; i++) /* behind the last one the first, whose lines are there */
        memcpy(some[i], address + (uint64_t)(at + (i < rest ? i : 0)) * stride, sizeof some[0]);
    lookup_stage(table, some[0], sizeof some[0], found);
    memcpy(groups + at, found, rest * sizeof found[0]);
    return n;
}

#else

uint32_t interval_batch_avx512(const struct interval_table *table, const uint8_t *address,
                               uint32_t stride, uint32_t *groups, uint32_t n)
{
    (void)table, (void)address, (void)stride, (void)groups, (void)n;
    return 0;
}

#endif
