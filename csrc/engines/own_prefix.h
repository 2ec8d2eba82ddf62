/* A prefix that ends inside a node of 256 slots, as multibit and interval keep it.
 *
 *      { address byte : 8 | bits of it that count : 4 | 0 : 4 | group : 16 }
 *
 * As numbers they sort by address, then length, so painting in order lets the longer win.
 */
#ifndef RC_OWN_PREFIX_H
#define RC_OWN_PREFIX_H
#include "base/base.h"
#include "layout/fib_layout.h"

#if RC_INLINE_SECTION

static inline uint32_t own_prefix(uint32_t byte, uint32_t bits, uint32_t group)
{
    return byte << 24 | bits << 20 | group;
}
static inline uint32_t own_byte(uint32_t own)
{
    return own >> 24;
}
static inline uint32_t own_bits(uint32_t own)
{
    return own >> 20 & 15;
}
static inline uint32_t own_group(uint32_t own)
{
    return own & 0xffff;
}
RC_STATIC_ASSERT(FIB_MAX_GROUPS <= 0x10000, "a group id fits an own prefix");

#endif
#endif
