/* A binary trie without one-way nodes (PATRICIA: Morrison 1968) of the prefixes in force and their
 * groups: who covers a prefix, and which prefixes it covers directly.
 *
 *          0/0 -                    root, always there
 *          /    \
 *   10.0.0.0/8 7  192.0.2.0/23 -    - : no route here, only a fork
 *       |          /         \
 *   10.1.0.0/16 7  192.0.2.0/24 3  192.0.3.0/24 4
 *
 *   node, in 32-bit words (4 of them for IPv4, 7 for IPv6, so that one lookup step is one cache
 *   line):  | child 0 | child 1 | group << 8 | length | key, host order: 1 or 4 words |
 *
 * The path to the last prefix is kept, and the next search begins where the two part: rows that
 * come in order cost a step or two instead of a walk from the root.
 *
 * Private memory of one thread; nothing here survives the process. Nothing allocates but
 * trie_open, which only reserves: pages come as nodes are used.
 */
#ifndef RC_RIB_TRIE_H
#define RC_RIB_TRIE_H
#include "base/base.h"

enum { TRIE_DEPTH = 130 }; /* lengths 0..128, and one */

struct trie {
    uint32_t *memory;
    uint64_t reserved; /* bytes */
    uint32_t key_words;
    uint32_t capacity;
    uint32_t fresh, free; /* nodes never used begin at `fresh`; `free` heads a list */
    uint32_t nodes;
    uint32_t routes;
    uint32_t depth;             /* path[depth] is the deepest node that covers the last prefix */
    uint32_t path[TRIE_DEPTH];  /* path[0] is the root */
    uint32_t above[TRIE_DEPTH]; /* group of the nearest route at or above path[i], 0: none */
};

struct trie_found {
    uint32_t group; /* of exactly this prefix, 0: none */
    uint32_t cover; /* of the nearest shorter prefix that covers it, 0: none */
};

/* The direct children of a prefix: routes inside it with no route between. In order. */
struct trie_walk {
    uint32_t n;
    uint32_t stack[TRIE_DEPTH];
};

/* Room for `routes` prefixes of keys of `key_words` (1 or 4) words. 0 or -ENOMEM. */
int trie_open(struct trie *trie, uint32_t key_words, uint32_t routes);
void trie_close(struct trie *trie);
/* Keys have no bit set below their length. */
struct trie_found trie_find(struct trie *trie, const uint32_t *key, uint32_t length);
/* The group of a prefix, 0 removes it. 0, or -ENOSPC with nothing changed. Ends every walk. */
int trie_set(struct trie *trie, const uint32_t *key, uint32_t length, uint32_t group);
void trie_walk_begin(struct trie *trie, const uint32_t *key, uint32_t length,
                     struct trie_walk *walk);
/* The next child's node, 0 at the end. */
uint32_t trie_walk_next(const struct trie *trie, struct trie_walk *walk);

static inline uint32_t *trie_node(const struct trie *trie, uint32_t node)
{
    return trie->memory + (uint64_t)node * (3 + trie->key_words);
}
static inline uint32_t trie_group(const uint32_t *node)
{
    return node[2] >> 8;
}
static inline uint32_t trie_length(const uint32_t *node)
{
    return node[2] & 0xff;
}
static inline const uint32_t *trie_key(const uint32_t *node)
{
    return node + 3;
}

#endif
