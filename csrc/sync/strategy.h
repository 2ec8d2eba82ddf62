/* How readers and the writer keep out of each other's way: one table of functions a strategy, all
 * over the same lookup structure, chosen when the segment is made (geometry.strategy).
 *
 *   strategy  reader, around a batch                  writer, around a publish batch     atomic
 *   epoch     epoch before; < 2 bumps after           words in place, bump at publish    word
 *   seqlock   sequence even before; the same after    odd .. publish, even               batch *
 *   double    swaps before; the same after            other bank, swap, then this one    batch
 *   rwlock    P/V on three POSIX semaphores           holds the room                     batch *
 *   sem_undo  one semop, SEM_UNDO                     takes all of a SysV semaphore      batch *
 *   mutex     robust mutex                            the same mutex                     batch *
 *   message   applies what is queued to its replica   queues, commits at publish         batch *
 *   none      nothing                                 words in place, reuses at once     nothing
 *
 * atomic: "word" means that each answer was right at one moment while it was asked, and that the
 * answers of a batch may come from either side of a change. "batch" means that all answers of
 * one fib_lookup belong to one generation; of a batch that had to be halved, those of each part.
 * (*) as epoch while words are in force that no publish has named:
 *     seqlock  for a reader whose patience is over; it counts those batches in `mixed`.
 *     locks    when the writer let the lock go without a publish (fib_batch_end), or was killed
 *              inside and the lock was inherited or broken. What is in force then is met as if it
 *              were the generation before, until the next publish; so the unit is what is
 *              changed under one hold of the lock. Control publishes a request, or what a tick
 *              gathered, under one hold. It lets go between the 8,192 prefixes of a step and
 *              between a step and its publish where it works in slices: loads, sweeps of a source,
 *              the turn to runners-up, repairs; and where links or neighbours changed.
 *     message  after a writer was killed with changes that it had not published: the successor's
 *              table has them, under the number of the generation before, until the successor
 *              publishes.
 * A successor knows of routes that were changed so, under seqlock of records too (fib_unpublished),
 * and control publishes at takeover.
 *
 * What all share: words are stored with release after what they name is complete, blocks come
 * back two epochs later, offsets are checked, loops are bounded. So what a strategy adds is when
 * an answer may be trusted; a lock that is broken or a writer that dies never makes a reader
 * crash or loop.
 *
 * Engines: none of this knows one, and no engine knows a strategy. An engine keeps two things for
 * all of them: it stores into reachable memory by one word at a time, through fib_store*() and
 * derive(); and what a lookup reads last (a fallback, the short prefixes, a record) it changes
 * two epochs after what is read first (fib_grace_since). The second is what makes an answer right
 * at one moment where readers look at epochs: epoch, and seqlock when its patience is over. Under
 * the others the batch is already whole; there it is kept for the reader of a broken lock or of a
 * writer that died inside, who meets words one by one as under epoch. With two banks an engine
 * works in the one it is given: nothing of it may be kept outside the bank (fib_writer has what is
 * private, one a bank), and a word's place counts from the bank's start.
 *
 * Waiting: epoch, seqlock, double, message never wait for anybody, in either direction. Under the
 * three locks a reader waits SYNC_READ_WAIT_NS for the lock at most, then says -EAGAIN
 * (drop reason `fib-unavailable`); the writer waits SYNC_WRITE_WAIT_NS, then breaks the lock.
 *
 * Pure C, no allocation on the reader's side but for a replica. The ordering argument of each
 * strategy stands at the top of its file. What is peculiar about one is a flag or a hook here.
 */
#ifndef RC_STRATEGY_H
#define RC_STRATEGY_H
#include "arena/reader.h"
#include "bank/bank.h"
#include "layout/identity.h"
#include "sync/table.h"

/* What a reader remembers from read_begin to read_end. */
struct fib_ticket {
    uint64_t epoch;
    uint64_t mark;   /* the strategy's word */
    uint32_t outrun; /* times this call has looked again; the caller counts */
    uint32_t weak;   /* seqlock: trust as under epoch */
};

struct fib_sync {
    uint32_t id; /* enum fib_strategy */
    const char *name;
    uint32_t banks;       /* tables in the segment, 1 or 2 */
    uint32_t ring_blocks; /* blocks behind the banks, for its own use */
    uint32_t flags;       /* enum fib_strategy_flag */
    /* The words, structs and numbers it uses in shared memory: part of the FIB's layout identity.
     * Without it no segment is made at all. */
    struct layout layout;
    const void *own; /* what its functions share with others of their kind; NULL: nothing */

    /* Reader. 0: walk now; -EAGAIN, -ENOLCK: do not. read_end: 1 the walk stands, 0 once more.
     * Both NULL for the strategy that is built into the reader's loop (below). */
    int (*read_begin)(struct fib_reader *reader, struct fib_ticket *ticket);
    int (*read_end)(struct fib_reader *reader, struct fib_ticket *ticket);
    /* May be NULL: the generation readers are told of, where it is not that of the one bank;
     * giving back what read_begin made for this reader. */
    uint64_t (*generation)(const struct fib_reader *reader);
    void (*detach)(struct fib_reader *reader);

    /* Writer. The first change of a batch, its end (publish or not), and what a successor does
     * before it looks at anything; write_end follows that too. */
    int (*write_begin)(struct fib_writer *writer);
    void (*write_end)(struct fib_writer *writer);
    int (*recover)(struct fib_writer *writer);
    /* May be NULL. A change that is in force in the bank worked on; a publish of it; giving up the
     * lock that somebody may hold for ever; giving back what it made in writer->sync_state. */
    void (*changed)(struct fib_writer *writer, const struct fib_entry *entry, const void *data);
    void (*published)(struct fib_writer *writer, uint64_t generation);
    int (*break_lock)(struct fib_writer *writer);
    void (*close)(struct fib_writer *writer);
};

/* The strategy's words: those of the segment's first header. */
static inline const struct fib_sync_words *fib_reader_words(const struct fib_reader *reader)
{
    return &((const struct fib_header *)(const void *)reader->segment)->sync;
}

static inline struct fib_sync_words *fib_writer_words(const struct fib_writer *writer)
{
    return &((struct fib_header *)(void *)writer->segment)->sync;
}

/* The default strategy is built in, so that it costs what it cost before there were others.
 *
 * Why it is right: the writer stores a word (release) only when what it names is complete, and
 * stores into a block only after an epoch two above the one at which the block was unlinked,
 * with a release fence between. A walk that met such a store has, after its own acquire fence,
 * an epoch two above its first in sight; so a walk that does not see one met nothing reused. */
static inline int fib_epoch_begin(const struct fib_reader *reader, struct fib_ticket *ticket)
{
    ticket->epoch = load_acquire64(&fib_header_of(reader)->published.epoch);
    return 0;
}

static inline int fib_read_begin(struct fib_reader *reader, struct fib_ticket *ticket)
{
    if (unlikely(reader->sync != NULL))
        return reader->sync->read_begin(reader, ticket);
    return fib_epoch_begin(reader, ticket);
}

static inline int fib_epoch_stands(const struct fib_reader *reader, const struct fib_ticket *ticket)
{
    /* The walk's loads before the second look at the epoch. */
    atomic_thread_fence(memory_order_acquire);
    return load_relaxed64(&fib_header_of(reader)->published.epoch) < ticket->epoch + 2;
}

/* 1: what was read is to be trusted. Otherwise counted, and to be read again. */
static inline int fib_read_end(struct fib_reader *reader, struct fib_ticket *ticket)
{
    int stands = unlikely(reader->sync != NULL) ? reader->sync->read_end(reader, ticket)
                                                : fib_epoch_stands(reader, ticket);
    if (unlikely(!stands)) {
        reader->retries++;
        ticket->outrun++;
    }
    return stands;
}

/* ---- banks.c ---- */

/* The bank that changes go to. */
struct fib_writer *fib_working(struct fib_writer *writer);
/* 1: the strategy is known, and the segment has its tables and its ring, all laid out alike, inside
 * `size`. Asked once, at attaching; geometry does not change after creation. */
int fib_banks_valid(const void *segment, uint64_t size);
/* That, and each table is laid out as a writer of it trusts (bank_geometry_valid). */
int fib_tables_valid(const void *segment);

/* ---- table.c ---- */

/* 1: they are what the strategy needs. */
int fib_locks_fit(const struct fib_sync *sync, const struct fib_locks *locks);
/* For strategies whose writer has nothing to do at that point. */
int fib_sync_nothing(struct fib_writer *writer);
void fib_sync_nothing_ends(struct fib_writer *writer);

#endif
