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
 */
#include "sync/log.h"
#include "sync/strategy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { RING = MESSAGE_RING_BLOCKS * FIB_BLOCK, SNAPSHOT_TRIES = 8, CATCH_UP_TRIES = 4 };
enum { ENTRY_MOST = 1 << 15, ENTRY_ALIGN = 16 };
RC_STATIC_ASSERT(512 * sizeof(struct route_row) + sizeof(struct fib_entry) <= ENTRY_MOST, "rows");

struct fib_replica {
    uint8_t *memory;         /* as large as a bank; pages come as they are used */
    uint64_t size;
    struct fib_writer *bank; /* NULL: nothing in it yet */
    uint64_t cursor;         /* ring bytes applied */
    uint64_t entry[ENTRY_MOST / 8];
};

/* ---- reader ---- */

static const uint8_t *ring_of(const struct fib_reader *reader)
{
    return reader->segment + 2 * reader->size;
}

static struct fib_replica *replica_new(uint64_t size)
{
    struct fib_replica *replica = calloc(1, sizeof *replica);
    if (replica == NULL)
        return NULL;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        free(replica);
        return NULL;
    }
    replica->memory = memory;
    replica->size = size;
    return replica;
}

/* The replica is no table any more, so it is not looked at: neither for routes nor for the
 * generation in its header, which may be half of two. */
static void forget_table(struct fib_reader *reader)
{
    reader->base = reader->segment;
    bank_close(reader->replica->bank);
    reader->replica->bank = NULL;
}

void fib_reader_detach(struct fib_reader *reader)
{
    struct fib_replica *replica = reader->replica;
    if (replica == NULL)
        return;
    forget_table(reader);
    munmap(replica->memory, replica->size);
    free(replica);
    reader->replica = NULL;
}

/* The snapshot, whole: it was in force before and after it was copied. */
static int resync(struct fib_reader *reader)
{
    const struct fib_sync_words *words = fib_reader_words(reader);
    struct fib_replica *replica = reader->replica;
    struct fib_recovery found = {0};
    for (uint32_t tries = 0; tries < SNAPSHOT_TRIES; tries++) {
        uint64_t swaps = load_acquire64(&words->swaps);
        uint64_t position = load_acquire64(&words->position[swaps & 1]);
        if (replica->bank != NULL && position <= replica->cursor)
            return 0; /* older than what is here: never backwards */
        reader->retries++;
        forget_table(reader);
        bank_copy(replica->memory, reader->segment + (swaps & 1) * reader->size, replica->size);
        atomic_thread_fence(memory_order_acquire);
        if (load_relaxed64(&words->swaps) != swaps ||
            load_relaxed64(&words->position[swaps & 1]) != position)
            continue;
        const struct fib_header *copy = (const void *)replica->memory;
        if (position % ENTRY_ALIGN != 0 || !fib_geometry_valid(&copy->geometry, replica->size))
            return -EBADMSG; /* checked in the copy, where nobody changes it any more */
        replica->bank = bank_open(replica->memory, &found);
        if (replica->bank == NULL)
            return -ENOMEM;
        replica->cursor = position;
        reader->base = replica->memory;
        return 0;
    }
    return -EAGAIN;
}

/* Bytes of the ring at `from`, unless they have been overwritten. */
static int ring_read(const struct fib_reader *reader, uint64_t from, uint64_t bytes, void *to)
{
    const uint8_t *at = ring_of(reader) + from % RING;
    for (uint64_t i = 0; i < bytes; i += sizeof(uint64_t)) {
        uint64_t word = load_relaxed64((const uint64_t *)(const void *)(at + i));
        memcpy((uint8_t *)to + i, &word, sizeof word);
    }
    atomic_thread_fence(memory_order_acquire);
    return load_relaxed64(&fib_reader_words(reader)->reserve) - from <= RING;
}

/* 0: the replica is at `commit`; otherwise it needs the snapshot. */
static int drain(struct fib_reader *reader, uint64_t commit)
{
    struct fib_replica *replica = reader->replica;
    while (replica->cursor != commit) {
        struct fib_entry *entry = (void *)replica->entry;
        uint64_t from = replica->cursor;
        if (!ring_read(reader, from, sizeof *entry, entry))
            return -ESTALE;
        uint64_t room = fib_entry_room(entry), behind = commit - from;
        if (entry->bytes > RING || room > behind || room > RING - from % RING)
            return -ESTALE;
        if (entry->kind != ENTRY_SKIP) {
            if (room > ENTRY_MOST || !ring_read(reader, from, room, entry))
                return -ESTALE;
            if (fib_replay(replica->bank, entry, entry + 1) != 0) {
                forget_table(reader); /* not what the writer has: begin anew */
                return -EBADMSG;
            }
        }
        replica->cursor = from + room;
    }
    return 0;
}

static int message_read_begin(struct fib_reader *reader, struct fib_ticket *ticket)
{
    uint64_t commit = load_acquire64(&fib_reader_words(reader)->commit);
    (void)ticket;
    if (unlikely(reader->replica == NULL)) {
        reader->replica = replica_new(reader->size);
        if (reader->replica == NULL)
            return -ENOMEM;
    }
    struct fib_replica *replica = reader->replica;
    if (likely(replica->bank != NULL && replica->cursor == commit))
        return 0;
    for (uint32_t tries = 0; tries < CATCH_UP_TRIES; tries++) {
        if (replica->bank != NULL && commit - replica->cursor <= RING && drain(reader, commit) == 0)
            return 0;
        (void)resync(reader);
        commit = load_acquire64(&fib_reader_words(reader)->commit);
    }
    if (replica->bank == NULL) {
        reader->unavailable++;
        return -EAGAIN;
    }
    reader->mixed++; /* overrun again and again: an older table, whole, is better than none */
    return 0;
}

static int message_read_end(struct fib_reader *reader, struct fib_ticket *ticket)
{
    (void)reader;
    (void)ticket;
    return 1;
}

/* ---- writer ---- */

static void ring_put(struct fib_writer *writer, const struct fib_entry *entry, const void *data)
{
    struct fib_sync_words *words = fib_writer_words(writer);
    uint8_t *ring = writer->segment + 2 * writer->size;
    uint64_t room = fib_entry_room(entry), *head = &writer->log->head;
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
    if (unlikely(writer->log == NULL)) {
        writer->log = fib_log_new();
        if (writer->log == NULL)
            return -ENOMEM;
        writer->log->head = load_relaxed64(&fib_writer_words(writer)->commit);
    }
    return unlikely(writer->log->behind) ? -ENOMEM : 0;
}

static int ring_replay(struct fib_writer *writer, struct fib_writer *bank, uint64_t from)
{
    const uint8_t *ring = writer->segment + 2 * writer->size;
    while (from != writer->log->head) {
        const struct fib_entry *entry = (const void *)(ring + from % RING);
        if (entry->kind != ENTRY_SKIP && fib_replay(bank, entry, entry + 1) != 0)
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
    uint64_t swaps = load_relaxed64(&words->swaps), head = writer->log->head;
    uint64_t old = load_relaxed64(&words->position[swaps & 1]);
    store_relaxed64(&words->position[(swaps + 1) & 1], head);
    RC_FAULT("snapshot-placed");
    store_release64(&words->swaps, swaps + 1);
    atomic_thread_fence(memory_order_release);
    RC_FAULT("snapshot-renewed");
    struct fib_writer *stale = fib_working(writer);
    if (head - old > RING || ring_replay(writer, stale, old) != 0) {
        bank_copy(stale->base, fresh->base, stale->size);
        writer->log->behind = bank_reset(stale) != 0;
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
    if (unlikely(writer->log == NULL))
        return;
    ring_put(writer, &entry, &stamps[generation & (FIB_STAMPS - 1)]);
    RC_FAULT("before-commit");
    store_release64(&words->commit, writer->log->head);
    RC_FAULT("committed");
    store_release64(&words->generation, generation);
    uint64_t snapshot = load_relaxed64(&words->position[load_relaxed64(&words->swaps) & 1]);
    if (writer->log->head - snapshot > RING / 2)
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

const struct fib_sync fib_sync_message = {
    .id = FIB_STRATEGY_MESSAGE,
    .name = "message",
    .banks = 2,
    .read_begin = message_read_begin,
    .read_end = message_read_end,
    .write_begin = message_write_begin,
    .write_end = fib_sync_nothing_ends,
    .recover = message_recover,
    .changed = ring_put,
    .published = message_published,
};
