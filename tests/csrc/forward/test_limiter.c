/* Token buckets with a clock of the test's own. */
#include "check.h"
#include "forward/limiter.h"

static const uint64_t SECOND = 1000000000;

static void burst_then_rate(void)
{
    struct token_bucket b;
    uint64_t now = 5 * SECOND;
    bucket_init(&b, 100, 50, now);
    uint32_t taken = 0;
    for (int i = 0; i < 1000; i++)
        taken += (uint32_t)bucket_take(&b, now);
    CHECK_EQUAL(50, taken);
    CHECK_EQUAL(0, bucket_take(&b, now + SECOND / 100 - 1));
    CHECK_EQUAL(1, bucket_take(&b, now + SECOND / 100));
    /* A flood for ten seconds gets the rate and no more. */
    taken = 0;
    for (uint64_t t = now + SECOND / 100; t <= now + SECOND / 100 + 10 * SECOND; t += 100000)
        taken += (uint32_t)bucket_take(&b, t);
    CHECK_EQUAL(1000, taken);
}

static void odd_rates_do_not_drift(void)
{
    static const uint32_t rates[] = {1, 3, 7, 299, 1000003, 4294967295u};
    for (uint32_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct token_bucket b;
        bucket_init(&b, rates[i], 1, 0);
        CHECK_EQUAL(1, bucket_take(&b, 0));
        uint64_t step = SECOND / rates[i] + 1, taken = 0;
        for (uint32_t n = 1; n <= 1000; n++)
            taken += (uint64_t)bucket_take(&b, n * step);
        CHECK_EQUAL(1000, taken);
    }
}

static void nothing_passes_without_rate_or_burst(void)
{
    struct token_bucket b;
    bucket_init(&b, 0, 50, 0);
    CHECK_EQUAL(0, bucket_take(&b, SECOND));
    bucket_init(&b, 50, 0, 0);
    CHECK_EQUAL(0, bucket_take(&b, 1000 * SECOND));
}

static void clock_may_step_back_or_leap(void)
{
    struct token_bucket b;
    bucket_init(&b, 10, 2, 100 * SECOND);
    CHECK_EQUAL(1, bucket_take(&b, 100 * SECOND));
    CHECK_EQUAL(1, bucket_take(&b, 50 * SECOND));
    CHECK_EQUAL(0, bucket_take(&b, 50 * SECOND));
    CHECK_EQUAL(0, bucket_take(&b, 100 * SECOND)); /* time already paid for */
    CHECK_EQUAL(1, bucket_take(&b, UINT64_MAX));
    CHECK_EQUAL(1, bucket_take(&b, UINT64_MAX));
    CHECK_EQUAL(0, bucket_take(&b, UINT64_MAX));
    bucket_init(&b, UINT32_MAX, UINT32_MAX, 0);
    CHECK_EQUAL(1, bucket_take(&b, UINT64_MAX));
}

static struct source_limiter limiter;

static void one_source_can_not_take_all(void)
{
    static const uint8_t loud[4] = {10, 0, 0, 1}, quiet[4] = {10, 0, 0, 2};
    limiter_init(&limiter, 100, 50, 10, 10, 42, 0);
    uint32_t taken = 0;
    for (int i = 0; i < 1000; i++)
        taken += (uint32_t)limiter_take(&limiter, 4, loud, 0);
    CHECK_EQUAL(10, taken);
    CHECK_EQUAL(1, limiter_take(&limiter, 4, quiet, 0));
}

static void all_sources_share_one_bound(void)
{
    limiter_init(&limiter, 100, 50, 10, 10, 42, 0);
    uint32_t taken = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        uint8_t address[4] = {20, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        taken += (uint32_t)limiter_take(&limiter, 4, address, i);
    }
    CHECK_EQUAL(50, taken); /* 0.1 ms went by: not one token more */
}

/* A flood of random sources must not reset the bucket of a source that is being held down. */
static void empty_common_bucket_evicts_nobody(void)
{
    static const uint8_t loud[4] = {10, 0, 0, 1};
    limiter_init(&limiter, 50, 60, 10, 10, 7, 0);
    for (int i = 0; i < 10; i++)
        CHECK_EQUAL(1, limiter_take(&limiter, 4, loud, 0));
    for (uint32_t i = 0; i < 100000; i++) {
        uint8_t address[4] = {30, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        limiter_take(&limiter, 4, address, 0);
    }
    CHECK_EQUAL(0, limiter_take(&limiter, 4, loud, SECOND / 20)); /* half a token of its own */
    CHECK_EQUAL(1, limiter_take(&limiter, 4, loud, SECOND / 5));
}

static void ipv6_counts_by_subnet_and_apart_from_ipv4(void)
{
    uint8_t a[16] = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 1}, other[16] = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 2};
    const uint8_t v4[4] = {0x20, 1, 0xd, 0xb8};
    limiter_init(&limiter, 1000, 1000, 5, 5, 42, 0);
    uint32_t taken = 0;
    for (uint8_t i = 0; i < 100; i++) {
        a[15] = i;
        taken += (uint32_t)limiter_take(&limiter, 6, a, 0);
    }
    CHECK_EQUAL(5, taken);
    CHECK_EQUAL(1, limiter_take(&limiter, 6, other, 0));
    CHECK_EQUAL(1, limiter_take(&limiter, 4, v4, 0));
}

static void zero_per_source_means_common_bucket_only(void)
{
    static const uint8_t loud[4] = {10, 0, 0, 1};
    limiter_init(&limiter, 100, 50, 0, 0, 42, 0);
    uint32_t taken = 0;
    for (int i = 0; i < 1000; i++)
        taken += (uint32_t)limiter_take(&limiter, 4, loud, 0);
    CHECK_EQUAL(50, taken);
}

int main(void)
{
    burst_then_rate();
    odd_rates_do_not_drift();
    nothing_passes_without_rate_or_burst();
    clock_may_step_back_or_leap();
    one_source_can_not_take_all();
    all_sources_share_one_bound();
    empty_common_bucket_evicts_nobody();
    ipv6_counts_by_subnet_and_apart_from_ipv4();
    zero_per_source_means_common_bucket_only();
    return 0;
}
