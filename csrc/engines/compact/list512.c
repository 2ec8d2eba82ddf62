/* Finds a prefix in a sorted list with AVX-512: sixteen entries at a time from the front, so
 * that no branch but the end depends on what they are. A random route of the real table lies in a
 * list of 92 on average, where a binary search would guess its way.
 *
 * Chosen at run time (cpu_avx512). The last load is masked: it reads nothing behind the list.
 */
#include "engines/compact/compact.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,popcnt,bmi,bmi2")))

enum { LANES = 16 };

/* first << 15 less span orders by address, then length, in 32 signed bits: a span is at most
 * what its address is a multiple of, so it never outweighs a later address. */
AVX512 struct compact_position compact_list_find_avx512(const uint32_t *entry, uint32_t count,
                                                     uint32_t prefix)
{
    struct compact_position place = {0, COMPACT_NO_COVER};
    uint32_t span = compact_span(prefix);
    __m512i first = _mm512_set1_epi32((int)(prefix - span)); /* twice it, as all of them below */
    __m512i order = _mm512_set1_epi32((int)(((prefix - span) << 14) - span));
    for (uint32_t i = 0; i < count; i += LANES) {
        uint32_t left = count - i, mask = left < LANES ? (1u << left) - 1 : 0xffff;
        __m512i all = _mm512_srli_epi32(_mm512_maskz_loadu_epi32((__mmask16)mask, entry + i), 15);
        __m512i low = _mm512_and_si512(all, _mm512_sub_epi32(_mm512_setzero_si512(), all));
        __m512i from = _mm512_sub_epi32(all, low);
        uint32_t before = _mm512_mask_cmplt_epi32_mask(
            (__mmask16)mask, _mm512_sub_epi32(_mm512_slli_epi32(from, 14), low), order);
        uint32_t covers = _mm512_mask_cmplt_epu32_mask((__mmask16)before,
                                                       _mm512_sub_epi32(first, from),
                                                       _mm512_slli_epi32(low, 1));
        if (covers != 0)
            place.cover = i + 31 - (uint32_t)__builtin_clz(covers);
        place.at += (uint32_t)__builtin_popcount(before);
        if (before != 0xffff)
            break;
    }
    return place;
}
#endif
