/* The compact and the flat engine's batch with AVX-512, chosen at run time (cpu_avx512).
 *
 * 64 addresses: all directory words, then all bitmap words, then all leaves, so that each stage
 * has 64 loads in flight; sixteen ranks are one shift and one VPOPCNTD. Offsets are 32 bits and
 * signed, hence a segment up to 2 GiB (compact_avx512_able); larger ones take the portable path.
 *
 * Any process, read-only mapping; bounds as in read.c: a node is clamped so that
 * nothing behind it leaves the segment. Built without -march: the attribute says what is used.
 */
#include "engines/compact/flat.h"
#include "engines/compact/look.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,popcnt")))

/* Fewer addresses than FEW are quicker one by one: a stage takes 105 ns however few there are. */
enum { STAGE = 64, LANES = 16, VECTORS = STAGE / LANES, FEW = 24 };

int compact_avx512_able(const struct fib_reader *reader)
{
    return cpu_avx512() && reader->size <= UINT64_C(1) << 31;
}

/* Leaves that name sub-nodes, one by one. */
AVX512 static void go_below(const struct fib_reader *reader, const struct compact_root *root,
                            const uint32_t *address, uint32_t *groups, uint64_t lanes)
{
    for (; lanes != 0; lanes &= lanes - 1) {
        uint32_t i = (uint32_t)__builtin_ctzll(lanes);
        groups[i] = compact_one(reader, root, address[i]);
    }
}

AVX512 static void stage(const struct fib_reader *reader, const struct compact_root *root,
                         const uint32_t *address, uint32_t *groups)
{
    const __m512i last = _mm512_set1_epi32((int)(reader->size - COMPACT_NODE_REACH));
    const uint8_t *leaves = reader->base + COMPACT_LEAVES_AT;
    __m512i node[VECTORS], slot[VECTORS], place[VECTORS], leaf[VECTORS];
    __mmask16 wide[VECTORS];
    uint64_t below = 0;

    for (int v = 0; v < VECTORS; v++) {
        __m512i a = _mm512_loadu_si512(address + v * LANES);
        RC_LOAD();
        node[v] = _mm512_i32gather_epi32(_mm512_srli_epi32(a, 16), root->dir, 4);
        slot[v] = _mm512_and_si512(_mm512_srli_epi32(a, 8), _mm512_set1_epi32(0xff));
    }
    for (int v = 0; v < VECTORS; v++) {
        __m512i w = _mm512_srli_epi32(_mm512_mullo_epi16(slot[v], _mm512_set1_epi32(171)), 12);
        __m512i shift = _mm512_sub_epi32(_mm512_set1_epi32(31), slot[v]);
        shift = _mm512_add_epi32(shift, _mm512_mullo_epi16(w, _mm512_set1_epi32(24)));
        wide[v] = _mm512_movepi32_mask(node[v]);
        node[v] = _mm512_min_epu32(_mm512_slli_epi32(node[v], 6), last);
        __m512i at = _mm512_add_epi32(node[v], _mm512_slli_epi32(w, 2));
        RC_LOAD();
        place[v] = _mm512_i32gather_epi32(at, reader->base, 1);
        slot[v] = shift;
    }
    for (int v = 0; v < VECTORS; v++) {
        __m512i bits = _mm512_popcnt_epi32(_mm512_sllv_epi32(place[v], slot[v]));
        __m512i rank = _mm512_add_epi32(_mm512_srli_epi32(place[v], 24), bits);
        rank = _mm512_mask_add_epi32(rank, wide[v], rank, rank);
        RC_LOAD();
        leaf[v] = _mm512_i32gather_epi32(_mm512_add_epi32(node[v], rank), leaves, 1);
    }
    const __m512i fallback = _mm512_set1_epi32((int)compact_fallback(root));
    for (int v = 0; v < VECTORS; v++) {
        __m512i mask = _mm512_mask_set1_epi32(_mm512_set1_epi32(0xff), wide[v], 0xffff);
        leaf[v] = _mm512_and_si512(leaf[v], mask);
        below |= (uint64_t)_mm512_test_epi32_mask(leaf[v], _mm512_set1_epi32(COMPACT_SUB))
                 << (v * LANES);
        __mmask16 none = _mm512_testn_epi32_mask(leaf[v], leaf[v]);
        _mm512_storeu_si512(groups + v * LANES, _mm512_mask_mov_epi32(leaf[v], none, fallback));
    }
    if (unlikely(below != 0))
        go_below(reader, root, address, groups, below);
}

AVX512 static void flat_stage(const struct fib_reader *reader, const struct compact_root *root,
                              const uint16_t *table, const uint32_t *address, uint32_t *groups)
{
    __m512i leaf[VECTORS];
    uint64_t below = 0;
    for (int v = 0; v < VECTORS; v++) {
        __m512i a = _mm512_srli_epi32(_mm512_loadu_si512(address + v * LANES), 8);
        RC_LOAD();
        leaf[v] = _mm512_i32gather_epi32(a, table, 2);
    }
    const __m512i fallback = _mm512_set1_epi32((int)compact_fallback(root));
    for (int v = 0; v < VECTORS; v++) {
        leaf[v] = _mm512_and_si512(leaf[v], _mm512_set1_epi32(0xffff));
        below |= (uint64_t)_mm512_test_epi32_mask(leaf[v], _mm512_set1_epi32(FLAT_ESCAPE))
                 << (v * LANES);
        __mmask16 none = _mm512_testn_epi32_mask(leaf[v], leaf[v]);
        _mm512_storeu_si512(groups + v * LANES, _mm512_mask_mov_epi32(leaf[v], none, fallback));
    }
    if (unlikely(below != 0))
        go_below(reader, root, address, groups, below);
}

/* What is left of a batch, filled up to a whole stage; of the flat engine when there is a table.
 * Apart, so that whole stages pay nothing for it. */
AVX512 __attribute__((noinline)) static uint32_t
rest_of(const struct fib_reader *reader, const struct compact_root *root, const uint16_t *table,
        const uint32_t *address, uint32_t *groups, uint32_t n)
{
    uint32_t some[STAGE] = {0}, found[STAGE];
    if (n < FEW)
        return 0;
    memcpy(some, address, n * sizeof some[0]);
    if (table != NULL)
        flat_stage(reader, root, table, some, found);
    else
        stage(reader, root, some, found);
    memcpy(groups, found, n * sizeof found[0]);
    return n;
}

AVX512 uint32_t compact_lookup4_avx512(const struct fib_reader *reader,
                                       const struct compact_root *root,
                                       const uint32_t *addresses, uint32_t *groups, uint32_t n)
{
    uint32_t at = 0;
    for (; n - at >= STAGE; at += STAGE)
        stage(reader, root, addresses + at, groups + at);
    return at == n ? n : at + rest_of(reader, root, NULL, addresses + at, groups + at, n - at);
}

AVX512 uint32_t flat_lookup4_avx512(const struct fib_reader *reader,
                                    const struct compact_root *root, const uint16_t *table,
                                    const uint32_t *addresses, uint32_t *groups, uint32_t n)
{
    uint32_t at = 0;
    for (; n - at >= STAGE; at += STAGE)
        flat_stage(reader, root, table, addresses + at, groups + at);
    return at == n ? n : at + rest_of(reader, root, table, addresses + at, groups + at, n - at);
}
#endif
