/* The intent record around each word: what the heir of a dead writer finishes.
 *
 * Both widths run through the same steps. Killed before `sequence` is odd: the new blocks are
 * unreachable and swept. Killed while it is odd: the heir stores the word again. Killed after:
 * nothing is left to do. Each word is therefore old or new, and never in between.
 */
#include "fib_writer.h"

#include <errno.h>
#include <string.h>

static void intent_open(struct fib_writer *writer, const struct fib_change *change, void *word,
                        uint64_t value, uint32_t width)
{
    struct fib_intent *intent = &writer->header->intent;
    uint64_t prefix[2] = {0, 0};
    uint64_t sequence = load_relaxed64(&intent->sequence);

    RC_FAULT("before-intent");
    /* The fields may not be stored before the even sequence of the operation before. */
    atomic_thread_fence(memory_order_release);
    store_relaxed32(&intent->operation, change->operation);
    store_relaxed32(&intent->id, change->id);
    intent->length = intent->family = 0;
    if (change->row != NULL) {
        memcpy(prefix, change->row->prefix, sizeof prefix);
        intent->length = change->row->length;
        intent->family = change->row->family;
        store_relaxed32(&intent->value, change->row->nexthop);
    } else {
        store_relaxed32(&intent->value, (uint32_t)value);
    }
    memcpy(intent->prefix, prefix, sizeof prefix);
    intent->rows = change->rows;
    store_relaxed64(&intent->at, (uint64_t)((uint8_t *)word - writer->base));
    store_relaxed64(&intent->word, value);
    store_relaxed32(&intent->width, width);
    RC_FAULT("intent-written");
    store_release64(&intent->sequence, sequence + 1);
    RC_FAULT("intent-open");
}

static void intent_close(struct fib_writer *writer)
{
    struct fib_intent *intent = &writer->header->intent;
    RC_FAULT("word-stored");
    store_release64(&intent->sequence, load_relaxed64(&intent->sequence) + 1);
    RC_FAULT("intent-done");
    writer->changes++;
    if (intent->operation == FIB_OP_ROUTE)
        writer->routes_turned_at = writer->epoch;
    else if (intent->operation == FIB_OP_GROUP)
        writer->groups_turned_at = writer->epoch;
}

void fib_store32(struct fib_writer *writer, const struct fib_change *change, uint32_t *word,
                 uint32_t value)
{
    intent_open(writer, change, word, value, sizeof value);
    /* Release: whoever reads the word finds what it names complete. */
    store_release32(word, value);
    intent_close(writer);
}

void fib_store64(struct fib_writer *writer, const struct fib_change *change, uint64_t *word,
                 uint64_t value)
{
    intent_open(writer, change, word, value, sizeof value);
    store_release64(word, value);
    intent_close(writer);
}

int fib_redo(struct fib_writer *writer)
{
    struct fib_intent *intent = &writer->header->intent;
    uint64_t sequence = load_acquire64(&intent->sequence);
    uint64_t at = intent->at;
    uint32_t width = intent->width;

    if ((sequence & 1) == 0)
        return 0;
    /* Only words behind the identity line are ever published; at + width cannot wrap. */
    if ((width != 4 && width != 8) || at % width != 0 ||
        at < offsetof(struct fib_header, roots) || at > writer->size - width)
        return -EBADMSG;
    if (width == 4)
        store_release32((uint32_t *)(void *)(writer->base + at), (uint32_t)intent->word);
    else
        store_release64((uint64_t *)(void *)(writer->base + at), intent->word);
    RC_FAULT("redone");
    store_release64(&intent->sequence, sequence + 1);
    return 1;
}
