/* The flow hash: avalanche, even spread, fragments. The bounds are those packet/flow_hash.c promises. */
#include "check.h"
#include "packet/packet.h"

enum { KEYS = 4096, BUCKETS = 64, FLOWS = 65536 };

struct key {
    uint8_t source[16], target[16];
    uint8_t rest[5]; /* protocol, ports */
};

static uint32_t hash_of(uint32_t family, const struct key *k)
{
    return flow_hash(0x5eed, family, k->source, k->target, k->rest[0],
                     (uint32_t)(k->rest[1] << 8 | k->rest[2]),
                     (uint32_t)(k->rest[3] << 8 | k->rest[4]));
}

static uint8_t *byte_of(struct key *k, uint32_t family, uint32_t byte)
{
    uint32_t width = family == 4 ? 4 : 16;
    if (byte < width)
        return &k->source[byte];
    if (byte < 2 * width)
        return &k->target[byte - width];
    return &k->rest[byte - 2 * width];
}

/* Each input bit flips each output bit in half of the keys: 4096 keys have a standard deviation
 * of 0.8 %, so +-5 % is six of them over 9,408 cells. */
static void every_bit_matters(uint32_t family)
{
    uint32_t bits = ((family == 4 ? 8u : 32u) + 5) * 8;
    uint64_t random = family;
    for (uint32_t bit = 0; bit < bits; bit++) {
        uint32_t flips[32] = {0};
        for (uint32_t i = 0; i < KEYS; i++) {
            struct key k;
            for (uint32_t at = 0; at < bits / 8; at++)
                *byte_of(&k, family, at) = (uint8_t)(next_random(&random) >> 32);
            uint32_t before = hash_of(family, &k);
            *byte_of(&k, family, bit / 8) ^= (uint8_t)(1u << bit % 8);
            uint32_t changed = before ^ hash_of(family, &k);
            for (uint32_t out = 0; out < 32; out++)
                flips[out] += changed >> out & 1;
        }
        for (uint32_t out = 0; out < 32; out++)
            CHECK(flips[out] > KEYS * 45 / 100 && flips[out] < KEYS * 55 / 100);
    }
}

/* chi-square with 63 degrees of freedom: above 120 has a probability of 2e-5. */
static void check_even(const uint32_t *count)
{
    double expected = (double)FLOWS / BUCKETS, chi = 0;
    for (uint32_t i = 0; i < BUCKETS; i++)
        chi += ((double)count[i] - expected) * ((double)count[i] - expected) / expected;
    CHECK(chi < 120);
}

/* What real traffic looks like: consecutive addresses, or one pair and consecutive ports. */
static void consecutive_flows_spread(uint32_t family)
{
    uint32_t low[BUCKETS] = {0}, high[BUCKETS] = {0}, ports[BUCKETS] = {0};
    for (uint32_t i = 0; i < FLOWS; i++) {
        struct key k = {.source = {10, 0, 0, 1}, .target = {10, 9}, .rest = {17, 4, 0, 4, 1}};
        k.target[2] = (uint8_t)(i >> 8);
        k.target[3] = (uint8_t)i;
        uint32_t hash = hash_of(family, &k);
        low[hash % BUCKETS]++;
        high[hash >> 26]++;
        k.target[2] = k.target[3] = 1;
        k.rest[1] = (uint8_t)(i >> 8);
        k.rest[2] = (uint8_t)i;
        ports[hash_of(family, &k) % BUCKETS]++;
    }
    check_even(low);
    check_even(high);
    check_even(ports);
}

/* Two routers in a row must not choose alike, or half of the second one's paths stay empty. */
static void seeds_are_independent(void)
{
    uint32_t count[BUCKETS] = {0};
    const uint8_t source[4] = {10, 0, 0, 1};
    for (uint32_t i = 0, taken = 0; taken < FLOWS; i++) {
        uint8_t target[4] = {10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        if (flow_hash(1, 4, source, target, 6, 1, 2) % 4 != 0)
            continue;
        taken++;
        count[flow_hash(2, 4, source, target, 6, 1, 2) % BUCKETS]++;
    }
    check_even(count);
}

static void order_and_family_matter(void)
{
    const uint8_t a[16] = {10, 0, 0, 1}, b[16] = {10, 0, 0, 2};
    CHECK(flow_hash(1, 4, a, b, 6, 1, 2) != flow_hash(1, 4, b, a, 6, 1, 2));
    CHECK(flow_hash(1, 4, a, b, 6, 1, 2) != flow_hash(1, 4, a, b, 6, 2, 1));
    CHECK(flow_hash(1, 4, a, b, 6, 1, 2) != flow_hash(1, 4, a, b, 17, 1, 2));
    CHECK(flow_hash(1, 4, a, b, 6, 1, 2) != flow_hash(1, 6, a, b, 6, 1, 2));
}

int main(void)
{
    every_bit_matters(4);
    every_bit_matters(6);
    consecutive_flows_spread(4);
    consecutive_flows_spread(6);
    seeds_are_independent();
    order_and_family_matter();
    return 0;
}
