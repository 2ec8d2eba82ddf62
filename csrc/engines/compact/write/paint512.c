/* Paints a node's 256 slots and finds their runs with AVX-512: a route is one masked store,
 * 32 slots give their run starts by one compare and their leaves by one compress (VBMI2).
 *
 * Chosen at run time (cpu_avx512). Private memory alone.
 */
#include "engines/compact/write/build.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512                                                                                   \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi2,popcnt,bmi,bmi2")))

enum { LANES = 32, VECTORS = COMPACT_SLOTS / LANES };

AVX512 static void paint_routes(const struct compact_plan *plan, uint16_t *slot)
{
    __m512i background = _mm512_set1_epi16((short)plan->background);
    for (uint32_t s = 0; s < COMPACT_SLOTS; s += LANES)
        _mm512_store_si512(slot + s, background);
    for (uint32_t i = 0; i < plan->count; i++) {
        uint32_t entry = plan->entry[i], prefix = compact_entry_prefix(entry);
        __m512i group = _mm512_set1_epi16((short)compact_entry_group(entry));
        uint16_t *at = slot + (compact_first(prefix) >> plan->shift & (COMPACT_SLOTS - 1));
        uint32_t span = compact_span(prefix) >> plan->shift;
        /* BZHI looks at eight bits of the span, so 256 is passed as 255. */
        _mm512_mask_storeu_epi16(at, _bzhi_u32(UINT32_MAX, span - (span >> 8)), group);
        if (unlikely(span > LANES))
            for (uint32_t s = LANES; s < span; s += LANES)
                _mm512_storeu_si512(at + s, group);
    }
}

AVX512 void compact_paint_avx512(const struct compact_plan *plan, struct compact_runs *runs)
{
    /* A vector in front, whose last slot is compared with slot[0], and one behind for the
     * masked lanes of a store to the last slot. */
    _Alignas(64) uint16_t slots[COMPACT_SLOTS + 2 * LANES];
    uint16_t *slot = slots + LANES;
    union {
        uint64_t four[4];
        uint32_t eight[8];
    } starts;
    paint_routes(plan, slot);
    for (uint32_t k = 0; k < plan->subs; k++) {
        uint32_t s = compact_sub_slot(plan->sub[k]);
        plan->sub[k] = compact_sub(compact_sub_word(plan->sub[k]), s, slot[s]);
        slot[s] = (uint16_t)(COMPACT_SUB | k);
    }
    slot[-1] = (uint16_t)~slot[0]; /* the first run begins at slot 0 */
    __m512i now[VECTORS], all = _mm512_setzero_si512();
    for (uint32_t v = 0; v < VECTORS; v++) {
        now[v] = _mm512_load_si512(slot + v * LANES);
        __m512i before = _mm512_loadu_si512(slot + v * LANES - 1);
        starts.eight[v] = _mm512_cmpneq_epi16_mask(now[v], before);
        all = _mm512_or_si512(all, now[v]);
    }
    runs->wide = _mm512_test_epi16_mask(all, _mm512_set1_epi16((short)0xff00)) != 0;
    uint8_t *leaf = runs->leaf;
    for (uint32_t v = 0; v < VECTORS; v++) {
        __m512i packed = _mm512_maskz_compress_epi16(starts.eight[v], now[v]);
        uint32_t n = (uint32_t)__builtin_popcount(starts.eight[v]);
        if (runs->wide) {
            _mm512_storeu_si512(leaf, packed);
            leaf += n * 2;
        } else {
            _mm256_storeu_si256((__m256i *)(void *)leaf, _mm512_cvtepi16_epi8(packed));
            leaf += n;
        }
    }
    starts.eight[0] &= ~1u; /* rank 0 is the run at slot 0 */
    compact_words(starts.four, runs);
}
#endif
