/* One bank made equal to another, while readers look on. */
#include "bank/bank.h"

/* Whole words on both sides: a reader that was left behind may still be looking at `to`, and a
 * reader that makes its replica may find `from` being changed (and will see that it was). */
static void copy_words(uint8_t *to, const uint8_t *from, uint64_t bytes)
{
    uint64_t *target = (uint64_t *)(void *)to;
    const uint64_t *source = (const uint64_t *)(const void *)from;
    for (uint64_t i = 0; i < bytes / sizeof *source; i++)
        store_relaxed64(&target[i], load_relaxed64(&source[i]));
}

/* As bank_publish does with one: nobody may take half of two stamps for one. */
static void copy_stamps(struct fib_stamp *to, const struct fib_stamp *from)
{
    enum { REST = offsetof(struct fib_stamp, update_id) };
    for (uint32_t i = 0; i < FIB_STAMPS; i++)
        store_relaxed64(&to[i].generation, 0);
    atomic_thread_fence(memory_order_release);
    for (uint32_t i = 0; i < FIB_STAMPS; i++) {
        copy_words((uint8_t *)&to[i] + REST, (const uint8_t *)&from[i] + REST, sizeof *to - REST);
        if ((i & (i + 1)) == 0) /* a point after 1, 2, 4, 8 .. stamps */
            RC_FAULT("bank-stamp-copied");
        store_release64(&to[i].generation, load_relaxed64(&from[i].generation));
    }
}

void bank_copy(uint8_t *to, const uint8_t *from, uint64_t size)
{
    const struct fib_header *header = (const void *)from;
    uint64_t used = ((uint64_t)load_relaxed32(&header->published.high_water) + 1) * FIB_BLOCK;
    uint64_t least = (uint64_t)load_relaxed32(&header->geometry.arena_at) * FIB_BLOCK;
    uint64_t stamps = (uint64_t)load_relaxed32(&header->geometry.stamps_at) * FIB_BLOCK;
    uint64_t behind = stamps + FIB_STAMPS * sizeof(struct fib_stamp);
    uint64_t lines[2] = {offsetof(struct fib_header, geometry), offsetof(struct fib_header, sync)};
    if (used < least)
        used = least;
    if (used > size)
        used = size;
    copy_words(to + lines[0], from + lines[0], lines[1] - lines[0]);
    RC_FAULT("bank-header-copied");
    if (stamps < FIB_HEADER_SIZE || behind > used)
        return; /* not what was attached: whoever opens the copy refuses it */
    copy_stamps((void *)(to + stamps), (const void *)(from + stamps));
    copy_words(to + FIB_HEADER_SIZE, from + FIB_HEADER_SIZE, stamps - FIB_HEADER_SIZE);
    copy_words(to + behind, from + behind, used - behind);
    RC_FAULT("bank-copied");
}
