/* Computes the Internet checksum. See checksum.h. */
#include "packet/checksum.h"

#include <string.h>

/* 32-bit loads into a 64-bit sum: no carry can be lost in 2^32 of them, and the compiler makes
 * vector code of it. Memory order is kept, so the bytes of an odd tail go where a 16-bit load
 * would have put them. */
uint32_t checksum_partial(const void *data, uint32_t length, uint32_t sum)
{
    const uint8_t *p = data;
    uint64_t total = sum;
    for (; length >= 4; length -= 4, p += 4) {
        uint32_t word;
        memcpy(&word, p, 4);
        total += word;
    }
    if (length > 0) {
        uint32_t word = 0;
        memcpy(&word, p, length);
        total += word;
    }
    total = (total & 0xffffffffu) + (total >> 32);
    total = (total & 0xffffffffu) + (total >> 32);
    return (uint32_t)total;
}

uint16_t checksum_fold(uint32_t sum)
{
    sum = (sum & 0xffffu) + (sum >> 16);
    sum = (sum & 0xffffu) + (sum >> 16);
    return (uint16_t)sum;
}

uint16_t checksum_finish(uint32_t sum)
{
    return (uint16_t)~checksum_fold(sum);
}

uint16_t checksum_update(uint16_t check, uint16_t before, uint16_t after)
{
    return checksum_finish((uint32_t)(uint16_t)~check + (uint16_t)~before + after);
}

uint32_t checksum_pseudo(uint32_t family, const uint8_t *source, const uint8_t *target,
                         uint32_t protocol, uint32_t length)
{
    uint32_t bytes = family == 4 ? 4 : 16;
    uint32_t sum = checksum_partial(source, bytes, 0);
    sum = checksum_partial(target, bytes, sum);
    /* 32-bit length and protocol as RFC 8200 8.1 has them; for IPv4's 16-bit fields the upper
     * halves are zero and the sum is the same. */
    uint8_t tail[8] = {
        (uint8_t)(length >> 24), (uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length,
        0, 0, 0, (uint8_t)protocol,
    };
    return checksum_partial(tail, sizeof tail, sum);
}
