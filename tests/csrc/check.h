/* What every C test begins with: a check that says where and what, and exact-size memory.
 *
 * Use: CHECK(x), CHECK_EQUAL(expected, actual); exact_copy() puts bytes at the END of a heap
 * block of its own, so that AddressSanitizer reports a read or write one byte past them.
 */
#ifndef RC_TEST_CHECK_H
#define RC_TEST_CHECK_H
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                         \
    do {                                                                                         \
        if (!(condition)) {                                                                      \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);            \
            exit(1);                                                                             \
        }                                                                                        \
    } while (0)

#define CHECK_EQUAL(expected, actual)                                                            \
    do {                                                                                         \
        uint64_t expected_ = (uint64_t)(expected), actual_ = (uint64_t)(actual);                 \
        if (expected_ != actual_) {                                                              \
            fprintf(stderr, "%s:%d: %s: expected %" PRIu64 " (0x%" PRIx64 "), got %" PRIu64      \
                    " (0x%" PRIx64 ")\n", __FILE__, __LINE__, #actual, expected_, expected_,     \
                    actual_, actual_);                                                           \
            exit(1);                                                                             \
        }                                                                                        \
    } while (0)

/* Bytes at `lead` bytes into a block that ends with them; free(*block) afterwards. */
static inline uint8_t *exact_copy(const void *bytes, size_t length, size_t lead, void **block)
{
    uint8_t *memory = malloc(lead + length + (lead + length == 0));
    CHECK(memory != NULL);
    if (length > 0)
        memcpy(memory + lead, bytes, length);
    *block = memory;
    return memory + lead;
}

/* xorshift64*: the same sequence on every machine. */
static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

#endif
