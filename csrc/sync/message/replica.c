/* `message`, the reader's side: its own table, kept up from the ring or made anew from the
 * snapshot.
 *
 * See message.c for the protocol. Any process; allocates once, for the replica.
 */
#include "sync/message/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SNAPSHOT_TRIES = 8, CATCH_UP_TRIES = 4 };
enum { ENTRY_MOST = 1 << 15, ENTRY_ALIGN = 16 };
RC_STATIC_ASSERT(512 * sizeof(struct route_row) + sizeof(struct fib_entry) <= ENTRY_MOST, "rows");

struct fib_replica {
    uint8_t *memory;         /* as large as a bank; pages come as they are used */
    uint64_t size;
    struct fib_writer *bank; /* NULL: nothing in it yet */
    uint64_t cursor;         /* ring bytes applied */
    uint64_t entry[ENTRY_MOST / 8];
};

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
    struct fib_replica *replica = reader->sync_state;
    reader->base = reader->segment;
    bank_close(replica->bank);
    replica->bank = NULL;
}

void message_detach(struct fib_reader *reader)
{
    struct fib_replica *replica = reader->sync_state;
    if (replica == NULL)
        return;
    forget_table(reader);
    munmap(replica->memory, replica->size);
    free(replica);
    reader->sync_state = NULL;
}

/* The snapshot, whole: it was in force before and after it was copied. */
static int resync(struct fib_reader *reader)
{
    const struct fib_sync_words *words = fib_reader_words(reader);
    struct fib_replica *replica = reader->sync_state;
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
        if (position % ENTRY_ALIGN != 0 || !bank_geometry_valid(&copy->geometry, replica->size))
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
    struct fib_replica *replica = reader->sync_state;
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
            if (bank_replay(replica->bank, entry, entry + 1) != 0) {
                forget_table(reader); /* not what the writer has: begin anew */
                return -EBADMSG;
            }
        }
        replica->cursor = from + room;
    }
    return 0;
}

int message_read_begin(struct fib_reader *reader, struct fib_ticket *ticket)
{
    uint64_t commit = load_acquire64(&fib_reader_words(reader)->commit);
    (void)ticket;
    if (unlikely(reader->sync_state == NULL)) {
        reader->sync_state = replica_new(reader->size);
        if (reader->sync_state == NULL)
            return -ENOMEM;
    }
    struct fib_replica *replica = reader->sync_state;
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

int message_read_end(struct fib_reader *reader, struct fib_ticket *ticket)
{
    (void)reader;
    (void)ticket;
    return 1;
}

/* `message` commits to the ring before it stores the word, so a replica can be ahead of it. */
uint64_t message_generation(const struct fib_reader *reader)
{
    uint64_t told = load_acquire64(&fib_reader_words(reader)->generation);
    uint64_t own = reader->base == reader->segment
                       ? 0
                       : load_relaxed64(&fib_header_of(reader)->published.generation);
    return own > told ? own : told;
}
