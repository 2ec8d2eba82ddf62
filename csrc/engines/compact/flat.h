/* The flat IPv4 engine: one u16 a /24, painted from the compact engine's nodes.
 *
 *   table[address >> 8]   group, or FLAT_ESCAPE: ask the compact engine (a sub-node is there)
 *
 * DIR-24-8 (Gupta, Lin, McKeown, INFOCOM 1998) with the compact engine behind it: routes,
 * updates, the successor's work and the long prefixes are the compact engine's; the table is
 * derived state of 32 MiB, repainted inside the intent of the word that changed (flat_derive). One
 * load answers nearly everything, which pays when the traffic is local: the table is larger than
 * any L2. An entry is one u16 store: an address has its old answer or its new one.
 */
#ifndef RC_FIB_FLAT_H
#define RC_FIB_FLAT_H
#include "engines/compact/compact.h"

enum {
    FLAT_SLOTS = 1 << 24,
    FLAT_ESCAPE = 0x8000,
    FLAT_BLOCKS = FLAT_SLOTS * 2 / FIB_BLOCK,
};

/* What the layout identity is made of, see layout/identity.h. */
#define FLAT_LAYOUT                                                                              \
    LAYOUT_NUMBER(FLAT_SLOTS) LAYOUT_NUMBER(FLAT_ESCAPE)

#if RC_INLINE_SECTION
void flat_lookup(const struct fib_reader *reader, uint32_t root, const struct fib_key *keys,
                 uint32_t *groups, uint32_t n);
void flat_lookup4(const struct fib_reader *reader, uint32_t root, const uint32_t *addresses,
                  uint32_t *groups, uint32_t n);
#if defined(__x86_64__)
/* As compact_lookup4_avx512(). */
uint32_t flat_lookup4_avx512(const struct fib_reader *reader, const struct compact_root *root,
                             const uint16_t *table, const uint32_t *addresses, uint32_t *groups,
                             uint32_t n);
#endif
uint64_t flat_blocks_for(uint8_t family, uint32_t routes);
/* Paints what rows[0..n) may have changed again, from the nodes as they are. */
void flat_derive(struct fib_writer *writer, const struct route_row *rows, uint32_t n);
/* 1: the table is this writer's engine, and has to be kept. */
static inline int flat_in_use(const struct fib_writer *writer)
{
    return writer->derive[0] == flat_derive;
}
#endif
#endif
