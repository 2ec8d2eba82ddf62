/* `double`: two tables; readers use one while the writer changes the other.
 *
 *     writer   changes in the other bank, each noted in a log; publish there;
 *              swaps + 1 (release), fence (release); the log once more in the bank now left
 *     reader   C = swaps (acquire); walk bank C & 1; fence (acquire); swaps == C ? done : again
 *
 * Why it is right: the writer stores into a bank only after the swap that took it away from
 * readers, with a fence between; so a walk that met such a store has the new number in sight
 * after its own fence. One that has not walked a bank that nobody was changing. All of a batch
 * becomes visible by the one store of `swaps`: a transaction of any size is one generation, and
 * what a writer leaves when it is killed was never visible.
 *
 * The price: twice the memory, twice the work of each update, and a batch of lookups that a
 * publish falls into is done again (epoch bears one). The log is bounded; what does not fit, a bulk
 * load, is caught up with by copying the bank. So does the successor, who trusts the bank in force
 * alone.
 */
#include "sync/log.h"
#include "sync/strategy.h"

#include <errno.h>

static int double_read_begin(struct fib_reader *reader, struct fib_ticket *ticket)
{
    ticket->mark = load_acquire64(&fib_reader_words(reader)->swaps);
    reader->base = reader->segment + (ticket->mark & 1) * reader->size;
    return 0;
}

static int double_read_end(struct fib_reader *reader, struct fib_ticket *ticket)
{
    atomic_thread_fence(memory_order_acquire);
    return load_relaxed64(&fib_reader_words(reader)->swaps) == ticket->mark;
}

/* A bank's number counts while readers use that bank. One who was stopped between the two loads
 * could meet the number of a publish that is still to come, in a bank that is the writer's by
 * then: as everywhere, `swaps` has to be the same after. Outrun for ever by a writer that never
 * rests: the last number is at most one publish early. */
static uint64_t generation_in_force(const struct fib_reader *reader)
{
    const struct fib_sync_words *words = fib_reader_words(reader);
    uint64_t generation = 0, swaps = 0;
    for (uint32_t tries = 0; tries < FIB_RETRIES; tries++) {
        swaps = load_acquire64(&words->swaps);
        const uint8_t *bank = reader->segment + (swaps & 1) * reader->size;
        const struct fib_header *header = (const void *)bank;
        generation = load_relaxed64(&header->published.generation);
        atomic_thread_fence(memory_order_acquire);
        if (likely(load_relaxed64(&words->swaps) == swaps))
            break;
    }
    return generation;
}

static struct fib_writer *in_force(struct fib_writer *writer)
{
    return fib_working(writer) == writer ? writer->twin : writer;
}

static struct fib_log *log_of(struct fib_writer *writer)
{
    return writer->sync_state;
}

static int replay_log(struct fib_writer *bank, const struct fib_log *log)
{
    for (uint64_t at = 0; at < log->used;) {
        const struct fib_entry *entry = (const void *)(log->bytes + at);
        int error = bank_replay(bank, entry, entry + 1);
        if (error != 0)
            return error;
        at += fib_entry_room(entry);
    }
    return 0;
}

/* Makes the bank left by readers equal to the one in force. A failure is tried again when the
 * next batch begins; until then nothing is lost, the log says that it has to be a copy. */
static int catch_up(struct fib_writer *writer)
{
    struct fib_log *log = log_of(writer);
    struct fib_writer *to = fib_working(writer), *from = in_force(writer);
    int error = 0;
    if (log->lost || replay_log(to, log) != 0) {
        log->lost = 1;
        bank_copy(to->base, from->base, to->size);
        error = bank_reset(to);
    } else {
        uint64_t generation = load_relaxed64(&from->header->published.generation);
        const struct fib_stamp *ring = fib_block(from, from->header->geometry.stamps_at);
        if (generation != load_relaxed64(&to->header->published.generation))
            bank_republish(to, &ring[generation & (FIB_STAMPS - 1)]);
    }
    log->used = 0;
    if (error == 0)
        log->lost = 0;
    RC_FAULT("bank-caught-up");
    return error;
}

static int double_write_begin(struct fib_writer *writer)
{
    if (unlikely(log_of(writer) == NULL)) {
        writer->sync_state = fib_log_new();
        if (log_of(writer) == NULL)
            return -ENOMEM;
    }
    return unlikely(log_of(writer)->behind) ? catch_up(writer) : 0;
}

static void double_changed(struct fib_writer *writer, const struct fib_entry *entry,
                           const void *data)
{
    fib_log_put(log_of(writer), entry, data);
}

static void double_published(struct fib_writer *writer, uint64_t generation)
{
    uint64_t *swaps = &fib_writer_words(writer)->swaps;
    (void)generation;
    if (unlikely(log_of(writer) == NULL))
        return;
    RC_FAULT("before-swap");
    store_release64(swaps, load_relaxed64(swaps) + 1);
    atomic_thread_fence(memory_order_release);
    RC_FAULT("swapped");
    log_of(writer)->behind = catch_up(writer) != 0;
}

static int double_recover(struct fib_writer *writer)
{
    uint64_t side = load_relaxed64(&fib_writer_words(writer)->swaps) & 1;
    uint8_t *bank[2] = {writer->segment, writer->segment + writer->size};
    bank_copy(bank[!side], bank[side], writer->size);
    return 0;
}

static void double_close(struct fib_writer *writer)
{
    fib_log_free(log_of(writer));
}

const struct fib_sync fib_sync_double = {
    .id = FIB_STRATEGY_DOUBLE,
    .name = "double",
    .banks = 2,
    .layout = LAYOUT(LAYOUT_FIELD(fib_sync_words, swaps)),
    .read_begin = double_read_begin,
    .read_end = double_read_end,
    .generation = generation_in_force,
    .write_begin = double_write_begin,
    .write_end = fib_sync_nothing_ends,
    .recover = double_recover,
    .changed = double_changed,
    .published = double_published,
    .close = double_close,
};
