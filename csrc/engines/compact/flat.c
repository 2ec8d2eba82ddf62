/* Looks a batch up in the flat engine, portable; and paints its table. See flat.h.
 *
 * Lookups: any process. flat_derive: control alone.
 */
#include "engines/compact/flat.h"
#include "engines/compact/look.h"
#include "engines/engine.h"

enum { STAGE = 64 };

static const uint16_t *table_of(const struct fib_reader *reader, const struct compact_root *root)
{
    return root == NULL ? NULL
                        : (const void *)fib_at(reader, load_relaxed32(&root->flat_at),
                                               (uint64_t)FLAT_BLOCKS * FIB_BLOCK);
}

static void lookup_stage(const struct fib_reader *reader, const struct compact_root *root,
                         const uint16_t *table, const uint32_t *address, uint32_t *groups,
                         uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        groups[i] = load_relaxed16(&table[address[i] >> 8]);
    uint32_t fallback = compact_fallback(root);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t leaf = groups[i];
        if (unlikely((leaf & FLAT_ESCAPE) != 0))
            groups[i] = compact_one(reader, root, address[i]);
        else
            groups[i] = leaf != 0 ? leaf : fallback;
    }
}

void flat_lookup4(const struct fib_reader *reader, uint32_t root, const uint32_t *addresses,
                  uint32_t *groups, uint32_t n)
{
    const struct compact_root *at = compact_root_at(reader, root);
    const uint16_t *table = table_of(reader, at);
    if (unlikely(table == NULL)) {
        for (uint32_t i = 0; i < n; i++)
            groups[i] = 0;
        return;
    }
    uint32_t done = 0;
#if defined(__x86_64__)
    if (compact_avx512_able(reader))
        done = flat_lookup4_avx512(reader, at, table, addresses, groups, n);
#endif
    for (uint32_t i = done; i < n; i += STAGE)
        lookup_stage(reader, at, table, addresses + i, groups + i, n - i < STAGE ? n - i : STAGE);
}

void flat_lookup(const struct fib_reader *reader, uint32_t root, const struct fib_key *keys,
                 uint32_t *groups, uint32_t n)
{
    compact_keys(flat_lookup4, reader, root, keys, groups, n);
}

/* Slots [first, first + n) of one /16, from its node. Entries that are right are not stored:
 * a reader's copy of the line stays good. */
static void paint(const struct fib_writer *writer, uint16_t *table, uint32_t word, uint32_t chunk,
                  uint32_t first, uint32_t n)
{
    const uint8_t *node = fib_block(writer, compact_block(word));
    const uint32_t *bitmap = (const uint32_t *)(const void *)node;
    const uint8_t *narrow = node + COMPACT_LEAVES_AT;
    const uint16_t *wide = (const uint16_t *)(const void *)narrow;
    uint32_t rank = compact_rank(bitmap[compact_word_of(first)], first);
    for (uint32_t slot = first; slot < first + n; slot++) {
        uint32_t bit = slot - COMPACT_WORD_SLOTS * compact_word_of(slot);
        if (slot > first)
            rank += bitmap[compact_word_of(slot)] >> bit & 1;
        uint32_t leaf = (word & COMPACT_WIDE) != 0 ? wide[rank] : narrow[rank];
        uint16_t value = (uint16_t)((leaf & COMPACT_SUB) != 0 ? FLAT_ESCAPE : leaf);
        if (load_relaxed16(&table[chunk << 8 | slot]) != value)
            store_relaxed16(&table[chunk << 8 | slot], value);
    }
}

/* 0 for a word the successor should not follow. */
static int sound(const struct fib_writer *writer, uint32_t word)
{
    return compact_block(word) != 0 &&
           (uint64_t)compact_block(word) + FIB_GUARD <= writer->header->geometry.blocks;
}

void flat_derive(struct fib_writer *writer, const struct route_row *rows, uint32_t n)
{
    const struct fib_geometry *geometry = &writer->header->geometry;
    uint32_t block = load_relaxed32(&writer->header->roots.root4);
    if (block == 0 || block + sizeof(struct compact_root) / FIB_BLOCK > geometry->blocks)
        return;
    const struct compact_root *root = fib_block(writer, block);
    if (root->flat_at == 0 || (uint64_t)root->flat_at + FLAT_BLOCKS > geometry->blocks)
        return;
    uint16_t *table = fib_block(writer, root->flat_at);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t address = compact_address(rows[i].prefix), length = rows[i].length;
        uint32_t first = address >> 8 & 0xff, slots = length < 24 ? 1u << (24 - length) : 1;
        uint32_t chunk = address >> 16;
        if (length == 0)
            continue; /* the fallback */
        for (uint32_t left = slots; left > 0; chunk++) {
            uint32_t now = left < COMPACT_SLOTS ? left : COMPACT_SLOTS;
            uint32_t word = load_relaxed32(&root->dir[chunk]);
            if (sound(writer, word))
                paint(writer, table, word, chunk, first, now);
            left -= now;
        }
        RC_FAULT("flat-painted");
    }
}

uint64_t flat_blocks_for(uint8_t family, uint32_t routes)
{
    return compact_blocks_for(family, routes) + FLAT_BLOCKS;
}
