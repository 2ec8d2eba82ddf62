/* `seqlock`: an odd number from the first change to its publish, and readers that look again.
 *
 *     writer   sequence = odd; fence (release); words ..; publish; sequence = even (release)
 *     reader   S = sequence (acquire), even; walk; fence (acquire); sequence == S ?
 *
 * Why it is right: a walk that met a word of a batch has, after its fence, the odd number before
 * that word in sight (the writer's fence pairs with the reader's; Boehm, "Can seqlocks get along
 * with programming language memory models?", MSPC 2012); a walk that began after the even number
 * has all of the batch in sight. So a walk between two equal even numbers met whole batches only.
 *
 * The textbook's reader spins for ever when the writer dies inside. Here it spins for a few
 * microseconds, and looks again three times; then it trusts what `epoch` would trust (each
 * answer was right at one moment, the batch may span two generations) and counts it in
 * `mixed`. That is sound because memory comes back under the epoch rule as ever. So neither a
 * dead writer nor a bulk load keeps readers waiting, and a reader waits once for each odd number.
 * The number is even only while all that lookups meet has been published: it stays odd when a
 * batch ends without (fib_batch_end), and when the successor found it odd until the successor
 * publishes. A group that no route names yet is met by nobody: control makes those long before.
 */
#include "sync/strategy.h"

enum { SPINS = 256, PATIENCE = 3 };

static inline void pause_a_little(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static int seqlock_read_begin(struct fib_reader *reader, struct fib_ticket *ticket)
{
    const uint64_t *sequence = &fib_reader_words(reader)->sequence;
    if (likely(ticket->outrun < PATIENCE)) {
        uint64_t first = 0;
        for (uint32_t spins = 0; spins < SPINS; spins++) {
            ticket->mark = load_acquire64(sequence);
            if (likely((ticket->mark & 1) == 0))
                return 0;
            if (ticket->mark == reader->sync_mark)
                break;
            first = first == 0 ? ticket->mark : first;
            pause_a_little();
        }
        if (ticket->mark == first)
            reader->sync_mark = first;
    }
    ticket->weak = 1;
    ticket->epoch = load_acquire64(&fib_header_of(reader)->published.epoch);
    return 0;
}

static int seqlock_read_end(struct fib_reader *reader, struct fib_ticket *ticket)
{
    if (unlikely(ticket->weak)) {
        int stands = fib_epoch_stands(reader, ticket);
        reader->mixed += (uint64_t)stands;
        ticket->weak = 0;
        return stands;
    }
    atomic_thread_fence(memory_order_acquire);
    return load_relaxed64(&fib_reader_words(reader)->sequence) == ticket->mark;
}

static int seqlock_write_begin(struct fib_writer *writer)
{
    uint64_t *sequence = &fib_writer_words(writer)->sequence;
    store_relaxed64(sequence, load_relaxed64(sequence) | 1);
    atomic_thread_fence(memory_order_release);
    RC_FAULT("sequence-odd");
    return 0;
}

static void seqlock_write_end(struct fib_writer *writer)
{
    uint64_t *sequence = &fib_writer_words(writer)->sequence;
    if (writer->unfinished || writer->seen != 0) /* one bank: fib_unpublished() */
        return;
    RC_FAULT("sequence-before-even");
    store_release64(sequence, (load_relaxed64(sequence) | 1) + 1);
    RC_FAULT("sequence-even");
}

/* An odd number says that the dead writer had changed something, if only a record. */
static int seqlock_recover(struct fib_writer *writer)
{
    if ((load_relaxed64(&fib_writer_words(writer)->sequence) & 1) != 0)
        writer->unfinished = 1;
    return seqlock_write_begin(writer);
}

const struct fib_sync fib_sync_seqlock = {
    .id = FIB_STRATEGY_SEQLOCK,
    .name = "seqlock",
    .banks = 1,
    .layout = LAYOUT(LAYOUT_FIELD(fib_sync_words, sequence)),
    .read_begin = seqlock_read_begin,
    .read_end = seqlock_read_end,
    .write_begin = seqlock_write_begin,
    .write_end = seqlock_write_end,
    .recover = seqlock_recover,
};
