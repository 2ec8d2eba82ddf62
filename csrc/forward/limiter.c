/* Token buckets and the per-source table. See limiter.h. */
#include "forward/limiter.h"

#include <string.h>

enum { NANO = 1000000000 };

void bucket_init(struct token_bucket *bucket, uint32_t rate, uint32_t burst, uint64_t now_ns)
{
    bucket->credit = (uint64_t)burst * NANO; /* < 2^62 */
    bucket->updated_ns = now_ns;
    bucket->rate = rate;
    bucket->burst = burst;
}

/* Credit is kept in billionths of a token, so that elapsed nanoseconds times rate is exact and
 * no rate is rounded to a whole number of nanoseconds a token. */
static void bucket_refill(struct token_bucket *bucket, uint64_t now_ns)
{
    if (now_ns <= bucket->updated_ns)
        return;
    uint64_t full = (uint64_t)bucket->burst * NANO;
    uint64_t elapsed = now_ns - bucket->updated_ns;
    bucket->updated_ns = now_ns;
    /* elapsed * rate could overflow after a long sleep: full by then anyway. */
    if (bucket->rate != 0 && elapsed > (full - bucket->credit) / bucket->rate)
        bucket->credit = full;
    else
        bucket->credit += elapsed * bucket->rate;
}

static bool bucket_has(const struct token_bucket *bucket)
{
    return bucket->rate != 0 && bucket->credit >= NANO;
}

int bucket_take(struct token_bucket *bucket, uint64_t now_ns)
{
    bucket_refill(bucket, now_ns);
    if (!bucket_has(bucket))
        return 0;
    bucket->credit -= NANO;
    return 1;
}

void limiter_init(struct source_limiter *limiter, uint32_t rate, uint32_t burst,
                  uint32_t per_source, uint32_t per_source_burst, uint64_t seed, uint64_t now_ns)
{
    memset(limiter, 0, sizeof *limiter);
    bucket_init(&limiter->all, rate, burst, now_ns);
    limiter->rate = per_source;
    limiter->burst = per_source_burst;
    limiter->seed = seed;
}

/* Never 0. IPv4 addresses live under 0001::/16, from which no IPv6 /64 was ever assigned. */
static uint64_t source_key(uint32_t family, const uint8_t *address)
{
    uint8_t bytes[8] = {0, 1};
    memcpy(family == 4 ? bytes + 4 : bytes, address, family == 4 ? 4 : 8);
    uint64_t key;
    memcpy(&key, bytes, 8);
    return key != 0 ? key : 1;
}

/* The source's bucket: found, or made full in the way that was used longest ago. */
static struct token_bucket *source_bucket(struct source_limiter *limiter, uint64_t key,
                                          uint64_t now_ns)
{
    /* splitmix64's finisher (Steele et al.): a sender who wants all his addresses in one set
     * has to know the seed. */
    uint64_t hash = key ^ limiter->seed;
    hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ hash >> 27) * 0x94d049bb133111ebu;
    struct limiter_slot *set = limiter->slot[(hash ^ hash >> 31) % LIMITER_SETS];
    struct limiter_slot *oldest = set;
    for (uint32_t way = 0; way < LIMITER_WAYS; way++) {
        if (set[way].key == key)
            return &set[way].bucket;
        if (set[way].key == 0) {
            oldest = &set[way];
            break;
        }
        if (set[way].bucket.updated_ns < oldest->bucket.updated_ns)
            oldest = &set[way];
    }
    oldest->key = key;
    bucket_init(&oldest->bucket, limiter->rate, limiter->burst, now_ns);
    return &oldest->bucket;
}

int limiter_take(struct source_limiter *limiter, uint32_t family, const uint8_t *address,
                 uint64_t now_ns)
{
    /* All sources first and without the table: a flood from random addresses ends here and
     * evicts nobody once the common bucket is empty. */
    bucket_refill(&limiter->all, now_ns);
    if (!bucket_has(&limiter->all))
        return 0;
    if (limiter->rate != 0 &&
        !bucket_take(source_bucket(limiter, source_key(family, address), now_ns), now_ns))
        return 0;
    return bucket_take(&limiter->all, now_ns);
}
