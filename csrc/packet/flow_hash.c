/* The flow hash: it decides which equal-cost path a flow takes.
 *
 * Words of the tuple are folded in one by one with the 128-bit multiply of wyhash/MUM (Wang Yi;
 * both halves of the product xor-ed), keyed by the instance's seed: three multiplies for IPv4,
 * five for IPv6. The seed enters before the first, so that flows which share a path here do not
 * all share one at the next router (polarisation). tests/csrc/packet/test_flow_hash.c holds it to this:
 * every input bit flips every output bit with probability 0.5 +- 0.05 over 4,096 keys, and 64 k
 * consecutive flows fill 64 buckets within a chi-square bound.
 * Not a MAC: it does not promise to resist somebody who can watch which path his packets take.
 */
#include <string.h>

#include "packet/packet.h"

/* Fractional bits of pi, the last one set: no structure that anybody chose. */
static const uint64_t K0 = 0x243f6a8885a308d3u;
static const uint64_t K1 = 0x13198a2e03707345u;
static const uint64_t K2 = 0xa4093822299f31d1u;

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static inline uint64_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

uint32_t flow_hash(uint64_t seed, uint32_t family, const uint8_t *source, const uint8_t *target,
                   uint32_t protocol, uint32_t source_port, uint32_t target_port)
{
    uint64_t ports = (uint64_t)source_port << 16 | target_port | (uint64_t)protocol << 32 |
                     (uint64_t)family << 40;
    uint64_t state = mix(seed ^ K0, K1);
    if (family == 4) {
        state = mix(state ^ (load32(source) << 32 | load32(target)), K0 ^ ports);
    } else {
        /* A low half equal to the constant makes its product zero; the added state then keeps
         * what came before, so that one interface id loses its prefix and nothing else. */
        state = mix(state ^ load64(source), K1 ^ load64(source + 8)) + state;
        state = mix(state ^ load64(target), K2 ^ load64(target + 8)) + state;
        state = mix(state, K0 ^ ports);
    }
    state = mix(state ^ ports, K2);
    return (uint32_t)(state ^ state >> 32);
}
