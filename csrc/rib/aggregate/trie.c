/* The trie of the prefixes in force. See trie.h. */
#include "rib/aggregate/trie.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static uint32_t bit_of(const uint32_t *key, uint32_t at)
{
    return key[at / 32] >> (31 - at % 32) & 1;
}

/* Leading bits that two keys share. */
static uint32_t common(const struct trie *trie, const uint32_t *a, const uint32_t *b)
{
    for (uint32_t i = 0; i < trie->key_words; i++)
        if (a[i] != b[i])
            return i * 32 + (uint32_t)__builtin_clz(a[i] ^ b[i]);
    return trie->key_words * 32;
}

static int covers(const struct trie *trie, uint32_t node, const uint32_t *key, uint32_t length)
{
    const uint32_t *there = trie_node(trie, node);
    return trie_length(there) <= length &&
           common(trie, trie_key(there), key) >= trie_length(there);
}

int trie_open(struct trie *trie, uint32_t key_words, uint32_t routes)
{
    memset(trie, 0, sizeof *trie);
    trie->key_words = key_words;
    /* A fork has two children, so there are fewer forks than routes; node 0 is none, 1 the root. */
    uint64_t capacity = 2ull * routes + 2;
    if (capacity > UINT32_MAX)
        return -ENOMEM;
    trie->capacity = (uint32_t)capacity;
    trie->reserved = capacity * (3 + key_words) * sizeof(uint32_t);
    void *memory = mmap(NULL, trie->reserved, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    trie->memory = memory;
    trie->fresh = 2;
    trie->nodes = 1;
    trie->path[0] = 1;
    return 0;
}

void trie_close(struct trie *trie)
{
    if (trie->memory != NULL)
        munmap(trie->memory, trie->reserved);
    trie->memory = NULL;
}

static uint32_t node_take(struct trie *trie)
{
    uint32_t node = trie->free;
    if (node != 0)
        trie->free = trie_node(trie, node)[0];
    else if (trie->fresh < trie->capacity)
        node = trie->fresh++;
    else
        return 0;
    trie->nodes++;
    return node;
}

static void node_give(struct trie *trie, uint32_t node)
{
    trie_node(trie, node)[0] = trie->free;
    trie->free = node;
    trie->nodes--;
}

static void step_down(struct trie *trie, uint32_t node)
{
    uint32_t group = trie_group(trie_node(trie, node));
    uint32_t above = trie->above[trie->depth];
    trie->path[++trie->depth] = node;
    trie->above[trie->depth] = group != 0 ? group : above;
}

/* Sets the path to the deepest node that covers the prefix; 1 when it is that prefix itself. */
static int seek(struct trie *trie, const uint32_t *key, uint32_t length)
{
    while (!covers(trie, trie->path[trie->depth], key, length))
        trie->depth--; /* the root covers everything */
    for (;;) {
        const uint32_t *node = trie_node(trie, trie->path[trie->depth]);
        if (trie_length(node) == length)
            return 1;
        uint32_t child = node[bit_of(key, trie_length(node))];
        if (child == 0 || !covers(trie, child, key, length))
            return 0;
        step_down(trie, child);
    }
}

struct trie_found trie_find(struct trie *trie, const uint32_t *key, uint32_t length)
{
    struct trie_found found = {0, 0};
    if (!seek(trie, key, length)) {
        found.cover = trie->above[trie->depth];
        return found;
    }
    found.group = trie_group(trie_node(trie, trie->path[trie->depth]));
    found.cover = trie->depth > 0 ? trie->above[trie->depth - 1] : 0;
    return found;
}

static void node_fill(struct trie *trie, uint32_t node, const uint32_t *key, uint32_t length,
                      uint32_t group)
{
    uint32_t *words = trie_node(trie, node);
    words[0] = words[1] = 0;
    words[2] = group << 8 | length;
    for (uint32_t i = 0; i < trie->key_words; i++) {
        uint32_t bits = length > i * 32 ? length - i * 32 : 0;
        words[3 + i] = bits >= 32 ? key[i] : bits == 0 ? 0 : key[i] & ~(UINT32_MAX >> bits);
    }
}

/* A node for a prefix that has none; the path ends at its parent. */
static int insert(struct trie *trie, const uint32_t *key, uint32_t length, uint32_t group)
{
    uint32_t *parent = trie_node(trie, trie->path[trie->depth]);
    uint32_t *link = &parent[bit_of(key, trie_length(parent))], child = *link;
    uint32_t node = node_take(trie), shared = length;
    if (node == 0)
        return -ENOSPC;
    node_fill(trie, node, key, length, group);
    if (child != 0) {
        const uint32_t *other = trie_key(trie_node(trie, child));
        shared = common(trie, key, other);
        if (shared >= length) {
            trie_node(trie, node)[bit_of(other, length)] = child;
        } else {
            uint32_t fork = node_take(trie);
            if (fork == 0) {
                node_give(trie, node);
                return -ENOSPC;
            }
            node_fill(trie, fork, key, shared, 0);
            trie_node(trie, fork)[bit_of(key, shared)] = node;
            trie_node(trie, fork)[bit_of(other, shared)] = child;
            *link = fork;
            step_down(trie, fork);
            step_down(trie, node);
            return 0;
        }
    }
    *link = node;
    step_down(trie, node);
    return 0;
}

/* Takes out what the end of the path has become useless by losing its route. */
static void prune(struct trie *trie)
{
    while (trie->depth > 0) {
        uint32_t node = trie->path[trie->depth], left = trie_node(trie, node)[0];
        uint32_t right = trie_node(trie, node)[1], rest = left | right;
        if (trie_group(trie_node(trie, node)) != 0 || (left != 0 && right != 0))
            return;
        uint32_t *parent = trie_node(trie, trie->path[--trie->depth]);
        parent[parent[1] == node] = rest;
        node_give(trie, node);
        if (rest != 0) /* the parent has as many children as before */
            return;
    }
}

int trie_set(struct trie *trie, const uint32_t *key, uint32_t length, uint32_t group)
{
    if (!seek(trie, key, length)) {
        int error = group != 0 ? insert(trie, key, length, group) : 0;
        trie->routes += group != 0 && error == 0;
        return error;
    }
    uint32_t *node = trie_node(trie, trie->path[trie->depth]);
    uint32_t cover = trie->depth > 0 ? trie->above[trie->depth - 1] : 0;
    trie->routes += group != 0;
    trie->routes -= trie_group(node) != 0;
    node[2] = group << 8 | length;
    trie->above[trie->depth] = group != 0 ? group : cover;
    if (group == 0)
        prune(trie);
    return 0;
}

void trie_walk_begin(struct trie *trie, const uint32_t *key, uint32_t length,
                     struct trie_walk *walk)
{
    int exact = seek(trie, key, length);
    const uint32_t *node = trie_node(trie, trie->path[trie->depth]);
    walk->n = 0;
    if (exact) {
        for (int i = 1; i >= 0; i--)
            if (node[i] != 0)
                walk->stack[walk->n++] = node[i];
        return;
    }
    uint32_t child = node[bit_of(key, trie_length(node))];
    if (child != 0 && common(trie, trie_key(trie_node(trie, child)), key) >= length)
        walk->stack[walk->n++] = child;
}

uint32_t trie_walk_next(const struct trie *trie, struct trie_walk *walk)
{
    while (walk->n != 0) {
        uint32_t at = walk->stack[--walk->n];
        const uint32_t *node = trie_node(trie, at);
        if (trie_group(node) != 0)
            return at;
        for (int i = 1; i >= 0; i--)
            if (node[i] != 0)
                walk->stack[walk->n++] = node[i];
    }
    return 0;
}
