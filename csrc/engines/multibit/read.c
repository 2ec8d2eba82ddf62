/* Lookups in the multibit trie: a batch goes down level by level.
 *
 * Keys that still have a child form the live list; each level loads one slot a key, takes its
 * group, and prefetches the slot of the next level for all before any is loaded. 64 keys keep
 * the state in the L1 and enough loads in flight to hide the memory behind one another.
 *
 * Any process, read-only mapping. A slot may be stale or torn between blocks: the epoch check of
 * fib/read.c finds that; here every child is checked against the segment and the loops end after
 * a fixed number of levels.
 */
#include "engines/engine.h"
#include "engines/multibit/multibit.h"

enum { STAGE = 64 };

static const uint64_t *slots_at(const struct fib_reader *reader, uint32_t block)
{
    return (const uint64_t *)(const void *)fib_at(reader, block,
                                                  sizeof(uint64_t) * MULTIBIT_SLOTS);
}

static void lookup_stage(const struct fib_reader *reader, const uint64_t *root,
                         const struct fib_key *keys, uint32_t *groups, uint32_t n)
{
    const uint64_t *slot[STAGE];
    uint8_t live[STAGE];
    uint32_t n_live = n, levels = multibit_levels(keys[0].family);
    for (uint32_t i = 0; i < n; i++) {
        groups[i] = 0;
        live[i] = (uint8_t)i;
        slot[i] = &root[keys[i].address[0]];
        __builtin_prefetch(slot[i]);
    }
    for (uint32_t level = 1; level <= levels && n_live > 0; level++) {
        uint32_t kept = 0;
        for (uint32_t k = 0; k < n_live; k++) {
            uint32_t i = live[k];
            /* Relaxed: what a child number names was complete before the number was stored,
             * and the load of its slot depends on the number. */
            uint64_t value = load_relaxed64(slot[i]);
            uint32_t group = multibit_slot_group(value);
            if (group != 0)
                groups[i] = group;
            const uint64_t *child = slots_at(reader, multibit_slot_child(value));
            if (child == NULL || level == levels)
                continue;
            slot[i] = &child[keys[i].address[level]];
            __builtin_prefetch(slot[i]);
            live[kept++] = (uint8_t)i;
        }
        n_live = kept;
    }
}

void multibit_lookup(const struct fib_reader *reader, uint32_t root, const struct fib_key *keys,
                     uint32_t *groups, uint32_t n)
{
    const uint64_t *slots = slots_at(reader, root);
    for (uint32_t at = 0; at < n; at += STAGE) {
        uint32_t size = n - at < STAGE ? n - at : STAGE;
        if (slots != NULL)
            lookup_stage(reader, slots, keys + at, groups + at, size);
        else
            for (uint32_t i = 0; i < size; i++)
                groups[at + i] = 0;
    }
}

/* The longest own prefix of a node that covers `byte`: *bits tells how much of it counts. */
static uint32_t match_own(const struct fib_reader *reader, uint32_t block, uint32_t byte,
                          uint32_t *bits)
{
    const struct multibit_node *node = (const void *)fib_at(reader, block, sizeof *node);
    uint32_t group = 0;
    if (node == NULL)
        return 0;
    uint32_t count = multibit_count(load_relaxed32(&node->list));
    if (fib_at(reader, block, offsetof(struct multibit_node, own) + count * sizeof(uint32_t)) ==
        NULL)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t own = load_relaxed32(&node->own[i]);
        uint32_t shift = (8 - own_bits(own)) & 15;
        if (byte >> shift != own_byte(own) >> shift)
            continue;
        group = own_group(own); /* sorted: the last one that covers is the longest */
        *bits = own_bits(own);
    }
    return group;
}

uint32_t multibit_match(const struct fib_reader *reader, uint32_t root, const struct fib_key *key,
                        uint32_t *length)
{
    uint32_t group = 0, block = root, levels = multibit_levels(key->family);
    for (uint32_t level = 0; level < levels && block != 0; level++) {
        uint32_t byte = key->address[level], bits = 0;
        uint32_t own = match_own(reader, block, byte, &bits);
        const uint64_t *slots = slots_at(reader, block);
        if (slots == NULL)
            break;
        if (own != 0) {
            group = own;
            *length = level * 8 + bits;
        }
        block = multibit_slot_child(load_relaxed64(&slots[byte]));
    }
    return group;
}
