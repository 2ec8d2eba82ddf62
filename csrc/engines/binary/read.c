/* Lookups in the binary engine: down from the root, bit by bit, remembering the last group met.
 *
 * Any process, read-only mapping. A node may be stale or already another one: the epoch check of
 * fib/read.c finds that; here every child is checked against the segment and the loop ends after
 * BINARY_STEPS nodes.
 */
#include "engines/binary/binary.h"
#include "engines/engine.h"

uint32_t binary_match(const struct fib_reader *reader, uint32_t root, const struct fib_key *key,
                      uint32_t *length)
{
    struct binary_prefix address = binary_prefix_of(key->address, key->family);
    uint32_t group = 0, block = root;
    for (uint32_t step = 0; step < BINARY_STEPS; step++) {
        const struct binary_node *node = (const void *)fib_at(reader, block, sizeof *node);
        if (node == NULL)
            break;
        struct binary_prefix prefix = {load_relaxed64(&node->high), load_relaxed64(&node->low)};
        uint32_t bits = load_relaxed32(&node->length);
        if (binary_common(address, prefix) < bits)
            break;
        /* Acquire: the child is loaded after it. The other way round a route that came below
         * would be missed, and this one taken although it changed after that. */
        uint32_t own = load_acquire32(&node->group);
        if (own != 0) {
            group = own;
            *length = bits;
        }
        block = load_relaxed32(&node->child[binary_bit(address, bits)]);
    }
    return group;
}

void binary_lookup(const struct fib_reader *reader, uint32_t root, const struct fib_key *keys,
                   uint32_t *groups, uint32_t n)
{
    uint32_t length;
    for (uint32_t i = 0; i < n; i++)
        groups[i] = binary_match(reader, root, &keys[i], &length);
}
