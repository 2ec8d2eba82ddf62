/* `message`: each reader has a table of its own, and the writer tells what changed.
 *
 *     writer   changes its bank; reserve = end (relaxed), fence (release), entry into the ring;
 *              at publish: commit = end (release), generation (release)
 *     reader   C = commit (acquire); applies entries up to C to its replica; walks that
 *              an entry counts when, copied and fenced (acquire), reserve - its start <= ring
 *
 *     ring     position of the snapshot ...... commit .. reserve       1 MiB, in the segment
 *     banks    one is worked on; the other is a snapshot at `position`, at rest until the next swap
 *
 * Why it is right: C says that all before it is complete; what has been overwritten since
 * shows in `reserve`, stored and fenced before the overwriting. A replica only moves from publish
 * to publish, so a batch of lookups always belongs to one generation, and a lookup meets nobody.
 *
 * The ring is one queue for all readers, each with a place of its own in it that only it knows. The
 * writer never looks at readers: a reader that was stopped so long that the ring went round finds
 * its queue overrun, copies the snapshot (read-only, checked by `swaps`) and goes on from there.
 * The snapshot is renewed when half the ring is behind it, so a copy of it can be caught up from
 * unless half a ring is written meanwhile. A reader that is outrun SNAPSHOT_TRIES * CATCH_UP_TRIES
 * times on end has no table to answer from: -EAGAIN, and the next batch tries again.
 *
 * While a batch larger than the ring is being written, a reader that lags goes on with the table
 * it has: whole, but older than the newest publish.
 *
 * The price: a table a reader, each update applied as often as there are readers, in their time.
 * After a takeover the ring jumps, so that every reader copies once: what the dead writer
 * had changed and not yet told is in the bank, not in the ring.
 *
 * Here is the writer's side; the reader's is in replica.c.
 */
#include "sync/message/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Kept between batches. */
struct ring {
    uint64_t head;   /* bytes ever put into the ring */
    uint32_t behind; /* the snapshot could not follow: no memory */
};

static struct ring *ring_of(struct fib_writer *writer)
{
    return writer->sync_state;
}

static void ring_put(struct fib_writer *writer, const struct fib_entry *entry, const void *data)
{
    struct fib_sync_words *words = fib_writer_words(writer);
    uint8_t *ring = writer->segment + 2 * writer->size;
    uint64_t room = fib_entry_room(entry), *head = &ring_of(writer)->head;
    uint64_t left = RING - *head % RING, copy[2] = {0, 0};
    if (left < room) { /* an entry lies in one piece: all are multiples of 16 */
        const struct fib_entry skip = {.kind = ENTRY_SKIP, .bytes = left - sizeof skip};
        store_relaxed64(&words->reserve, *head + left + room);
        atomic_thread_fence(memory_order_release);
        fib_fill(ring + *head % RING, &skip, sizeof skip);
        *head += left;
    }
    store_relaxed64(&words->reserve, *head + room);
    atomic_thread_fence(memory_order_release);
    uint8_t *at = ring + *head % RING;
    fib_fill(at, entry, sizeof *entry);
    uint64_t whole = entry->bytes / 16 * 16;
    if (whole > 0)
        fib_fill(at + sizeof *entry, data, whole);
    if (entry->bytes > whole) {
        memcpy(copy, (const uint8_t *)data + whole, entry->bytes - whole);
        fib_fill(at + sizeof *entry + whole, copy, sizeof copy);
    }
    *head += room;
}

static int message_write_begin(struct fib_writer *writer)
{
    if (unlikely(writer->sync_state == NULL)) {
        writer->sync_state = calloc(1, sizeof(struct ring));
        if (writer->sync_state == NULL)
            return -ENOMEM;
        ring_of(writer)->head = load_relaxed64(&fib_writer_words(writer)->commit);
    }
    return unlikely(ring_of(writer)->behind) ? -ENOMEM : 0;
}

static int ring_replay(struct fib_writer *writer, struct fib_writer *bank, uint64_t from)
{
    const uint8_t *ring = writer->segment + 2 * writer->size;
    while (from != ring_of(writer)->head) {
        const struct fib_entry *entry = (const void *)(ring + from % RING);
        if (entry->kind != ENTRY_SKIP && bank_replay(bank, entry, entry + 1) != 0)
            return -EBADMSG;
        from += fib_entry_room(entry);
    }
    return 0;
}

/* The bank worked on becomes the snapshot; the old snapshot follows, and is worked on then. */
static void renew_snapshot(struct fib_writer *writer)
{
    struct fib_sync_words *words = fib_writer_words(writer);
    struct fib_writer *fresh = fib_working(writer);
    uint64_t swaps = load_relaxed64(&words->swaps), head = ring_of(writer)->head;
    uint64_t old = load_relaxed64(&words->position[swaps & 1]);
    store_relaxed64(&words->position[(swaps + 1) & 1], head);
    RC_FAULT("snapshot-placed");
    store_release64(&words->swaps, swaps + 1);
    atomic_thread_fence(memory_order_release);
    RC_FAULT("snapshot-renewed");
    struct fib_writer *stale = fib_working(writer);
    if (head - old > RING || ring_replay(writer, stale, old) != 0) {
        bank_copy(stale->base, fresh->base, stale->size);
        ring_of(writer)->behind = bank_reset(stale) != 0;
    }
    RC_FAULT("snapshot-followed");
    store_release64(&words->position[swaps & 1], head);
}

static void message_published(struct fib_writer *writer, uint64_t generation)
{
    struct fib_sync_words *words = fib_writer_words(writer);
    struct fib_writer *bank = fib_working(writer);
    const struct fib_stamp *stamps = fib_block(bank, bank->header->geometry.stamps_at);
    const struct fib_entry entry = {.kind = ENTRY_PUBLISH, .bytes = sizeof(struct fib_stamp)};
    if (unlikely(writer->sync_state == NULL))
        return;
    ring_put(writer, &entry, &stamps[generation & (FIB_STAMPS - 1)]);
    RC_FAULT("before-commit");
    store_release64(&words->commit, ring_of(writer)->head);
    RC_FAULT("committed");
    store_release64(&words->generation, generation);
    uint64_t snapshot = load_relaxed64(&words->position[load_relaxed64(&words->swaps) & 1]);
    if (ring_of(writer)->head - snapshot > RING / 2)
        renew_snapshot(writer);
}

/* The newest bank is the one worked on, except while it was following a new snapshot. */
static int message_recover(struct fib_writer *writer)
{
    struct fib_sync_words *words = fib_writer_words(writer);
    uint8_t *bank[2] = {writer->segment, writer->segment + writer->size};
    uint64_t swaps = load_relaxed64(&words->swaps), side = swaps & 1;
    uint64_t reserve = load_relaxed64(&words->reserve), commit = load_relaxed64(&words->commit);
    uint64_t jump = ((reserve > commit ? reserve : commit) / RING + 3) * RING;
    if (load_relaxed64(&words->position[!side]) >= load_relaxed64(&words->position[side])) {
        struct fib_recovery found = {0};
        struct fib_writer *newest = bank_open(bank[!side], &found); /* redoes, sweeps */
        if (newest == NULL)
            return -EBADMSG;
        writer->unfinished |= newest->unfinished;
        bank_close(newest);
        side = !side;
        store_relaxed64(&words->position[side], jump);
        RC_FAULT("ring-jumped");
        store_release64(&words->swaps, swaps + 1);
    } else {
        store_release64(&words->position[side], jump);
    }
    atomic_thread_fence(memory_order_release);
    RC_FAULT("newest-in-force");
    const struct fib_header *header = (const void *)bank[side];
    store_release64(&words->commit, jump);
    store_release64(&words->generation, load_relaxed64(&header->published.generation));
    store_release64(&words->reserve, jump); /* last: until here readers could still drain */
    bank_copy(bank[!side], bank[side], writer->size);
    store_release64(&words->position[!side], jump);
    return 0;
}

static void message_close(struct fib_writer *writer)
{
    free(writer->sync_state);
}

const struct fib_sync fib_sync_message = {
    .id = FIB_STRATEGY_MESSAGE,
    .name = "message",
    .banks = 2,
    .ring_blocks = MESSAGE_RING_BLOCKS,
    .flags = SYNC_REPLICA,
    .layout = LAYOUT(ENTRY_LAYOUT ROW_LAYOUT),
    .read_begin = message_read_begin,
    .read_end = message_read_end,
    .generation = message_generation,
    .detach = message_detach,
    .write_begin = message_write_begin,
    .write_end = fib_sync_nothing_ends,
    .recover = message_recover,
    .changed = ring_put,
    .published = message_published,
    .close = message_close,
};
