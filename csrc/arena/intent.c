/* The intent: a record of the one word that is about to be stored. The successor of a dead writer
 * finishes what it finds there.
 *
 * All widths run through the same steps. Killed before `sequence` is odd: the new blocks are
 * unreachable and swept. Killed while it is odd: the successor stores the word again. Killed after:
 * nothing is left to do. Each word is therefore old or new, and never in between.
 */
#include "arena/writer.h"
#include "rows/rows.h"

#include <errno.h>
#include <string.h>

void fib_fill(void *target, const void *source, uint64_t bytes)
{
    uint64_t *to = target, word;
    for (uint64_t i = 0; i < bytes / sizeof word; i++) {
        memcpy(&word, (const uint8_t *)source + i * sizeof word, sizeof word);
        store_relaxed64(&to[i], word);
    }
}

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
    uint8_t length = 0, family = 0;
    if (change->row != NULL) {
        memcpy(prefix, change->row->prefix, sizeof prefix);
        length = change->row->length;
        family = change->row->family;
        store_relaxed32(&intent->value, change->row->nexthop);
    } else {
        store_relaxed32(&intent->value, (uint32_t)value);
    }
    /* As words all of it: under `message` readers copy banks, this line included. */
    store_relaxed64((uint64_t *)(void *)intent->prefix, prefix[0]);
    store_relaxed64((uint64_t *)(void *)intent->prefix + 1, prefix[1]);
    store_relaxed8(&intent->length, length);
    store_relaxed8(&intent->family, family);
    store_relaxed16(&intent->rows, change->rows);
    store_relaxed64(&intent->at, (uint64_t)((uint8_t *)word - writer->base));
    store_relaxed64(&intent->word, value);
    store_relaxed32(&intent->width, width);
    RC_FAULT("intent-written");
    store_release64(&intent->sequence, sequence + 1);
    RC_FAULT("intent-open");
}

/* What an engine derives from its words is put right before the intent is done, so that the
 * successor of a writer killed in between does it again. */
static void derive(struct fib_writer *writer, const struct fib_change *change)
{
    if (change->row == NULL)
        return;
    uint32_t family = family_index(change->row->family);
    if (writer->derive[family] != NULL)
        writer->derive[family](writer, change->row, change->rows);
}

static void intent_close(struct fib_writer *writer, int seen)
{
    struct fib_intent *intent = &writer->header->intent;
    RC_FAULT("word-stored");
    store_release64(&intent->sequence, load_relaxed64(&intent->sequence) + 1);
    RC_FAULT("intent-done");
    writer->changes++;
    writer->seen |= (uint32_t)seen;
    if (intent->operation == FIB_OP_ROUTE)
        writer->routes_turned_at = writer->epoch;
    else if (intent->operation == FIB_OP_GROUP)
        writer->groups_turned_at = writer->epoch;
}

void fib_store32(struct fib_writer *writer, const struct fib_change *change, uint32_t *word,
                 uint32_t value)
{
    /* A record that comes or goes is named by nobody then, so no lookup tells the difference. */
    int seen = change->operation == FIB_OP_ROUTE || (load_relaxed32(word) != 0 && value != 0);
    intent_open(writer, change, word, value, sizeof value);
    /* Release: whoever reads the word finds what it names complete. */
    store_release32(word, value);
    derive(writer, change);
    intent_close(writer, seen);
}

void fib_store64(struct fib_writer *writer, const struct fib_change *change, uint64_t *word,
                 uint64_t value)
{
    intent_open(writer, change, word, value, sizeof value);
    store_release64(word, value);
    derive(writer, change);
    intent_close(writer, 1);
}

static void store_words(uint32_t *base, const struct fib_word *list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        store_release32(base + list[i].index, list[i].value);
        if ((i & (i + 1)) == 0) /* a point after 1, 2, 4, 8 .. words */
            RC_FAULT("list-word-stored");
    }
}

void fib_store_list(struct fib_writer *writer, const struct fib_change *change, uint32_t *base,
                    const struct fib_word *list, uint32_t n)
{
    uint64_t block = (uint64_t)((const uint8_t *)list - writer->base) / FIB_BLOCK;
    intent_open(writer, change, base, (uint64_t)n << 32 | block, FIB_WIDTH_LIST);
    store_words(base, list, n);
    derive(writer, change);
    intent_close(writer, 1);
}

/* 1 when every word of the list lies behind the identity line and in the segment. */
static int list_sound(const struct fib_writer *writer, uint64_t at, uint32_t block, uint32_t n)
{
    const struct fib_word *list = fib_block(writer, block);
    if (block == 0 || (uint64_t)block * FIB_BLOCK > writer->size ||
        n > (writer->size - (uint64_t)block * FIB_BLOCK) / sizeof *list)
        return 0;
    for (uint32_t i = 0; i < n; i++)
        if (list[i].index >= (writer->size - at) / sizeof(uint32_t))
            return 0;
    return 1;
}

static int redo_words(struct fib_writer *writer, const struct fib_intent *intent)
{
    uint64_t at = intent->at, word = intent->word;
    uint32_t width = intent->width, align = width == 8 ? 8 : 4;
    /* Only words behind the identity line are ever published; at + 8 cannot wrap. */
    if (at % align != 0 || at < offsetof(struct fib_header, roots) || at > writer->size - 8)
        return -EBADMSG;
    if (width == 4) {
        store_release32((uint32_t *)(void *)(writer->base + at), (uint32_t)word);
    } else if (width == 8) {
        store_release64((uint64_t *)(void *)(writer->base + at), word);
    } else if (width == FIB_WIDTH_LIST &&
               list_sound(writer, at, (uint32_t)word, (uint32_t)(word >> 32))) {
        store_words((uint32_t *)(void *)(writer->base + at), fib_block(writer, (uint32_t)word),
                    (uint32_t)(word >> 32));
    } else {
        return -EBADMSG;
    }
    return 0;
}

/* One row that covers whatever the run covered: rows share a word only inside one /16. */
static void redo_derived(struct fib_writer *writer, const struct fib_intent *intent)
{
    struct route_row row = {.family = intent->family, .length = intent->length};
    const struct fib_change change = {.operation = FIB_OP_ROUTE, .row = &row, .rows = 1};
    memcpy(row.prefix, intent->prefix, sizeof row.prefix);
    if (intent->rows > 1 && row.length > 16) {
        row.length = 16;
        memset(row.prefix + 2, 0, sizeof row.prefix - 2);
    }
    /* Nothing found here is trusted: an engine that paints a range would paint beyond its table. */
    if (intent->operation == FIB_OP_ROUTE && row_valid(&row) == 0)
        derive(writer, &change);
}

int fib_redo(struct fib_writer *writer)
{
    struct fib_intent *intent = &writer->header->intent;
    uint64_t sequence = load_acquire64(&intent->sequence);

    if ((sequence & 1) == 0)
        return 0;
    if (redo_words(writer, intent) != 0)
        return -EBADMSG;
    redo_derived(writer, intent);
    RC_FAULT("redone");
    store_release64(&intent->sequence, sequence + 1);
    return 1;
}
