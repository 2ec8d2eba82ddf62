/* Token buckets: how often something may be done, without a clock or a timer of its own.
 *
 * Use: bucket_init() once, bucket_take() with the caller's monotonic time at each attempt. The
 * per-source limiter holds one bucket a source in a fixed table of LIMITER_SETS x LIMITER_WAYS
 * slots; the way idle longest makes room. Private memory of one worker, no lock. A source that is
 * evicted starts with a full bucket again, so the bucket over all sources is the hard bound and
 * the table only shares it out.
 */
#ifndef RC_LIMITER_H
#define RC_LIMITER_H
#include "base/base.h"

struct token_bucket {
    uint64_t credit;     /* tokens x 1e9 */
    uint64_t updated_ns; /* when credit was right */
    uint32_t rate;       /* tokens a second; 0: nothing passes */
    uint32_t burst;      /* tokens at most; 0: nothing passes */
};

/* Full bucket at now_ns. */
void bucket_init(struct token_bucket *bucket, uint32_t rate, uint32_t burst, uint64_t now_ns);
/* 1 and one token less, or 0. A clock that steps back counts as standing still. */
int bucket_take(struct token_bucket *bucket, uint64_t now_ns);

enum { LIMITER_SETS = 256, LIMITER_WAYS = 4 };

struct limiter_slot {
    uint64_t key; /* IPv4 address or IPv6 /64, tagged by family; 0 = empty */
    struct token_bucket bucket;
};

struct source_limiter {
    struct token_bucket all; /* over all sources */
    uint32_t rate;           /* a source's own bucket */
    uint32_t burst;
    uint64_t seed;
    struct limiter_slot slot[LIMITER_SETS][LIMITER_WAYS];
};

/* Per source and over all; per_source 0: only the bucket over all. */
void limiter_init(struct source_limiter *limiter, uint32_t rate, uint32_t burst,
                  uint32_t per_source, uint32_t per_source_burst, uint64_t seed, uint64_t now_ns);
/* 1 when one more may be sent to this source now. IPv6 sources count by /64, because one host
 * commands all of its own. `address`: 4 or 16 bytes, network order. */
int limiter_take(struct source_limiter *limiter, uint32_t family, const uint8_t *address,
                 uint64_t now_ns);

#endif
