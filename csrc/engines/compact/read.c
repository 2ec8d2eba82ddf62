/* Lookups in the compact engine: three stages over 64 addresses, portable; and the match.
 *
 *   1 directory word -> node, prefetch its bitmap word      all 64, then
 *   2 bitmap word -> rank -> place of the leaf, prefetch    all 64, then
 *   3 leaf -> group; the few that name a sub-node go on one by one
 *
 * so that the misses of a stage overlap. On x86 the same code is compiled a second time with
 * POPCNT, without which the rank costs a call. AVX-512 is in avx512.c.
 *
 * Any process, read-only mapping. A word may be stale: the epoch check of fib/read.c finds that;
 * here every node is kept in the segment and every loop ends after a fixed number of steps.
 */
#include "engines/compact/look.h"

enum { STAGE = 64 };

const struct compact_root *compact_root_at(const struct fib_reader *reader, uint32_t root)
{
    return (const void *)fib_at(reader, root, sizeof(struct compact_root));
}

/* Inlined into both compilations below. */
static inline __attribute__((always_inline)) void
lookup_stage(const struct fib_reader *reader, const struct compact_root *root,
             const uint32_t *address, uint32_t *groups, uint32_t n)
{
    const uint8_t *node[STAGE];
    uint32_t word[STAGE], rank[STAGE];
    for (uint32_t i = 0; i < n; i++) {
        word[i] = load_relaxed32(&root->dir[address[i] >> 16]);
        node[i] = compact_node(reader, word[i]);
        __builtin_prefetch(node[i]);
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t slot = address[i] >> 8 & 0xff;
        rank[i] = compact_rank(compact_bitmap(node[i], slot), slot);
        __builtin_prefetch(node[i] + COMPACT_LEAVES_AT + (rank[i] << (word[i] >> 31)));
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t leaf = compact_leaf(node[i], word[i], rank[i]);
        if (unlikely((leaf & COMPACT_SUB) != 0))
            leaf = compact_below(reader, word[i], leaf, address[i]);
        groups[i] = leaf;
    }
    uint32_t fallback = compact_fallback(root);
    for (uint32_t i = 0; i < n; i++)
        groups[i] = groups[i] != 0 ? groups[i] : fallback;
}

static void lookup_plain(const struct fib_reader *reader, const struct compact_root *root,
                         const uint32_t *address, uint32_t *groups, uint32_t n)
{
    for (uint32_t at = 0; at < n; at += STAGE)
        lookup_stage(reader, root, address + at, groups + at, n - at < STAGE ? n - at : STAGE);
}

#if defined(__x86_64__)
__attribute__((target("popcnt,bmi,bmi2"))) static void
lookup_popcnt(const struct fib_reader *reader, const struct compact_root *root,
              const uint32_t *address, uint32_t *groups, uint32_t n)
{
    for (uint32_t at = 0; at < n; at += STAGE)
        lookup_stage(reader, root, address + at, groups + at, n - at < STAGE ? n - at : STAGE);
}
#endif

void compact_lookup4(const struct fib_reader *reader, uint32_t root, const uint32_t *addresses,
                     uint32_t *groups, uint32_t n)
{
    const struct compact_root *at = compact_root_at(reader, root);
    if (unlikely(at == NULL)) {
        for (uint32_t i = 0; i < n; i++)
            groups[i] = 0;
        return;
    }
    uint32_t done = 0;
#if defined(__x86_64__)
    if (compact_avx512_able(reader))
        done = compact_lookup4_avx512(reader, at, addresses, groups, n);
    if (cpu_popcnt())
        lookup_popcnt(reader, at, addresses + done, groups + done, n - done);
    else
#endif
        lookup_plain(reader, at, addresses + done, groups + done, n - done);
}

void compact_lookup(const struct fib_reader *reader, uint32_t root, const struct fib_key *keys,
                    uint32_t *groups, uint32_t n)
{
    compact_keys(compact_lookup4, reader, root, keys, groups, n);
}

/* The longest prefix of the list at `entry` that covers `half`, and its length in *bits. */
static uint32_t match_entries(const struct fib_reader *reader, const uint8_t *entry,
                              uint32_t count, uint32_t half, uint32_t *bits)
{
    uint64_t from = (uint64_t)(entry - reader->base);
    if (count > COMPACT_LIST_MAX || from > reader->size ||
        count * sizeof(uint32_t) > reader->size - from)
        return 0;
    const uint32_t *list = (const uint32_t *)(const void *)entry;
    uint32_t at = compact_list_cover(list, count, half);
    if (at == count)
        return 0;
    uint32_t found = load_relaxed32(&list[at]), prefix = compact_entry_prefix(found);
    *bits = prefix == 0 ? 0 : compact_bits(prefix);
    return compact_entry_group(found);
}

static uint32_t match_short(const struct fib_reader *reader, uint32_t block, uint32_t half,
                            uint32_t *bits)
{
    const struct compact_short *list = (const void *)fib_at(reader, block, sizeof *list);
    return list == NULL ? 0
                        : match_entries(reader, (const uint8_t *)list->entry,
                                        load_relaxed32(&list->count), half, bits);
}

static uint32_t match_node(const struct fib_reader *reader, uint32_t word, uint32_t half,
                           uint32_t *bits)
{
    const uint8_t *node = compact_node(reader, word);
    uint32_t leaves = compact_leaves(compact_bitmap(node, COMPACT_SLOTS - 1));
    const struct compact_tail *tail =
        (const void *)(node + compact_tail_at(leaves, word >> 31));
    return match_entries(reader, (const uint8_t *)tail->entry, load_relaxed16(&tail->routes),
                         half, bits);
}

uint32_t compact_match(const struct fib_reader *reader, uint32_t root, const struct fib_key *key,
                       uint32_t *length)
{
    const struct compact_root *at = compact_root_at(reader, root);
    if (at == NULL)
        return 0;
    uint32_t address = compact_address(key->address), half = address >> 16, bits = 0;
    uint32_t word = load_relaxed32(&at->dir[half]), slot = address >> 8 & 0xff;
    const uint8_t *node = compact_node(reader, word);
    uint32_t leaf = compact_leaf(node, word, compact_rank(compact_bitmap(node, slot), slot)), group;
    if ((leaf & COMPACT_SUB) != 0 &&
        (uint64_t)(node - reader->base) >= ((leaf & 0xff) + UINT64_C(1)) * sizeof(uint64_t)) {
        const uint64_t *sub = (const uint64_t *)(const void *)node - (leaf & 0xff) - 1;
        group = match_node(reader, compact_sub_word(load_relaxed64(sub)), address & 0xffff, &bits);
        *length = 16 + bits;
        if (group != 0)
            return group;
    }
    group = match_node(reader, word, address & 0xffff, &bits);
    *length = 16 + bits;
    if (group != 0)
        return group;
    /* As in compact_fallback(): what is shorter is read after what was not found, which no address
     * ties it to. arm64 may load it first, and then the two words are of two moments. */
    atomic_thread_fence(memory_order_acquire);
    group = match_short(reader, load_relaxed32(&at->short_at[half >> 8]), half, length);
    if (group != 0)
        return group;
    atomic_thread_fence(memory_order_acquire);
    return match_short(reader, load_relaxed32(&at->top_at), half, length);
}
