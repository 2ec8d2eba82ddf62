/* The checksum against a byte-wise reference, at every length and alignment, and RFC 1624. */
#include "packet/checksum.h"

#include "check.h"

/* RFC 1071 read literally: big-endian words, an odd byte padded with zero on the right. */
static uint16_t reference(const uint8_t *data, size_t length)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < length; i += 2)
        sum += (uint32_t)(data[i] << 8) | (i + 1 < length ? data[i + 1] : 0u);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static uint16_t swapped(uint16_t v)
{
    uint8_t b[2];
    memcpy(b, &v, 2);
    return (uint16_t)(b[0] << 8 | b[1]);
}

static void every_length_and_alignment(void)
{
    uint64_t random = 1;
    uint8_t bytes[1500];
    for (uint32_t length = 0; length <= sizeof bytes; length++) {
        for (size_t i = 0; i < length; i++)
            bytes[i] = length % 7 == 0 ? 0xff : (uint8_t)next_random(&random);
        for (size_t lead = 0; lead < 4; lead++) {
            void *block;
            const uint8_t *data = exact_copy(bytes, length, lead, &block);
            CHECK_EQUAL(reference(data, length),
                        swapped(checksum_finish(checksum_partial(data, length, 0))));
            free(block);
        }
    }
}

/* Two blocks, the first even, sum to what one does. */
static void blocks_chain(void)
{
    uint64_t random = 2;
    uint8_t bytes[101];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)next_random(&random);
    for (uint32_t cut = 0; cut <= 100; cut += 2) {
        uint32_t sum = checksum_partial(bytes, cut, 0);
        sum = checksum_partial(bytes + cut, (uint32_t)sizeof bytes - cut, sum);
        CHECK_EQUAL(reference(bytes, sizeof bytes), swapped(checksum_finish(sum)));
    }
}

/* Long enough that a 32-bit accumulator would lose carries. */
static void long_block_loses_no_carry(void)
{
    enum { LONG = 1 << 20 };
    uint8_t *bytes = malloc(LONG);
    CHECK(bytes != NULL);
    memset(bytes, 0xff, LONG);
    bytes[LONG - 1] = 0xfe;
    CHECK_EQUAL(reference(bytes, LONG), swapped(checksum_finish(checksum_partial(bytes, LONG, 0))));
    free(bytes);
}

/* Every TTL, and every value of one other word, so that the sum passes through 0 and 0xffff. */
static void incremental_equals_full(void)
{
    uint32_t zero_seen = 0;
    for (uint32_t word = 0; word <= 0xffff; word++) {
        for (uint32_t ttl = 1 + word % 5; ttl <= 255; ttl += 5) {
            uint8_t header[20] = {0x45, 0, 0, 60, 0, 0, 0x40, 0, 0, 6, 0, 0, 10, 0, 0, 1,
                                  192, 0, 2, 1};
            header[4] = (uint8_t)(word >> 8);
            header[5] = (uint8_t)word;
            header[8] = (uint8_t)ttl;
            uint16_t check = checksum_finish(checksum_partial(header, 20, 0)), before, after;
            memcpy(&before, header + 8, 2);
            header[8]--;
            memcpy(&after, header + 8, 2);
            uint16_t full = checksum_finish(checksum_partial(header, 20, 0));
            CHECK_EQUAL(full, checksum_update(check, before, after));
            CHECK(full != 0xffff); /* the one number that a header's checksum never is */
            zero_seen += full == 0;
        }
    }
    CHECK(zero_seen > 0);
    /* RFC 1624 section 4's own example: 0xdd2f, 0x5555 -> 0x3285 gives 0, not 0xffff. */
    CHECK_EQUAL(0, checksum_update(0xdd2f, 0x5555, 0x3285));
}

int main(void)
{
    every_length_and_alignment();
    blocks_chain();
    long_block_loses_no_carry();
    incremental_equals_full();
    return 0;
}
