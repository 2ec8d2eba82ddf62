/* The FIB's two interfaces: a reader for any process, and a writer that only control may hold.
 *
 * Reader (read.c): attach to a mapping, look batches up, copy answers out. Never writes,
 * never waits. Writer (batch.c, open.c): apply rows, groups, adjacencies, ports; publish. All
 * functions return 0 or -errno unless they say otherwise; none allocates on the reader side.
 *
 * The lookup structure sits behind engines/engine.h (one table of functions an engine), so that an
 * engine is replaced without touching either interface.
 */
#ifndef RC_FIB_H
#define RC_FIB_H
#include "arena/reader.h"
#include "bank/bank.h"
#include "engines/table.h"
#include "layout/row_layout.h"
#include "segment/segment.h"
#include "sync/table.h"

/* ---- reader ---- */

enum { FIB_RETRIES_BEFORE_HALVING = 3 };

extern const struct segment_format fib_format;

struct fib_answer { /* everything the packet needs, copied out under the epoch check */
    uint32_t group;     /* 0 = no route */
    uint32_t adjacency; /* 0 = none */
    uint8_t kind;       /* enum fib_kind */
    uint8_t state;      /* enum fib_adjacency_state */
    uint16_t port;      /* egress */
    uint16_t mtu;
    uint8_t source_mac[6];
    uint8_t target_mac[6];
    uint8_t family;     /* of nexthop; 0: the destination itself */
    uint8_t unused;
    uint8_t nexthop[16];
};

/* Every read below is bounded: it copies out under the epoch check and says -EAGAIN when the
 * writer outran it FIB_RETRIES times, -ENOENT for a record that is not there, -EINVAL for an
 * index or family out of range. */

/* -EINVAL when the segment is not a ready FIB of this build (see segment_check). */
int fib_reader_attach(struct fib_reader *reader, const void *base, uint64_t size);
/* Under rwlock, sem_undo and mutex, before the first lookup (which says -ENOLCK without). -EINVAL
 * when they are not what the strategy needs. The memory stays the caller's. */
int fib_reader_locks(struct fib_reader *reader, const struct fib_locks *locks);
/* Gives a replica back; the mapping stays the caller's. */
void fib_reader_detach(struct fib_reader *reader);
/* Looks n keys up as one consistent batch (halved under pressure, see layout/fib_layout.h).
 * *generation receives the generation of the last (sub-)batch. -EAGAIN: the writer outran a
 * single lookup FIB_RETRIES times; the caller drops with `fib-unavailable`. */
int fib_lookup(struct fib_reader *reader, const struct fib_key *keys, struct fib_answer *answers,
               uint32_t n, uint64_t *generation);
/* Group ids only: what benchmarks, verify and the golden tests compare. */
int fib_lookup_groups(struct fib_reader *reader, const struct fib_key *keys, uint32_t *groups,
                      uint32_t n);
/* The lean entry: IPv4 addresses in host order, group ids out. Same batch, same checks. */
int fib_lookup4(struct fib_reader *reader, const uint32_t *addresses, uint32_t *groups, uint32_t n);
/* Likewise for IPv6: addresses in network order, one behind the other. */
int fib_lookup6(struct fib_reader *reader, const uint8_t (*addresses)[16], uint32_t *groups,
                uint32_t n);
/* The matched prefix as well (for `route get`, `explain`); row.nexthop = group, length = match;
 * row.nexthop 0 when nothing matches. */
int fib_lookup_match(struct fib_reader *reader, const struct fib_key *key, struct route_row *row);
int fib_read_port(struct fib_reader *reader, uint32_t index, struct fib_port *out);
int fib_read_adjacency(struct fib_reader *reader, uint32_t id, struct fib_adjacency *out);
/* `group` points to room for FIB_MAX_BUCKETS buckets (fib_group_room() bytes). */
int fib_read_group(struct fib_reader *reader, uint32_t id, struct fib_group *out);
uint32_t fib_group_room(void);
uint64_t fib_generation(const struct fib_reader *reader);
/* The header readers are to use now: the segment's, or that of the bank in force. */
const struct fib_header *fib_header_now(const void *segment);
/* The counts readers are to trust, each number whole; under `message` the snapshot's. 0, or
 * -EAGAIN when two tables changed places FIB_RETRIES times. */
int fib_read_published(const struct fib_reader *reader, struct fib_published *out);
/* The stamp of `generation`; -ENOENT: not published yet, or the ring has moved on. */
int fib_read_stamp(const struct fib_reader *reader, uint64_t generation, struct fib_stamp *out);

/* ---- writer: control only ---- */

struct fib_writer; /* private memory: free lists, retired blocks; rebuilt by fib_writer_open */

uint64_t fib_segment_size(const struct fib_params *params);
/* Formats fresh zeroed memory of at least fib_segment_size() bytes; identity line last. */
int fib_create(void *base, uint64_t size, const struct fib_params *params);
/* Becomes the writer of a ready segment: redoes an open intent, mark-sweeps the arena. The
 * caller holds the ownership lock. NULL on a segment that is not ready or on no memory. */
struct fib_writer *fib_writer_open(void *base, uint64_t size, struct fib_recovery *recovery);
/* The same with what rwlock, sem_undo and mutex need; NULL for the others. */
struct fib_writer *fib_writer_open_locked(void *base, uint64_t size, const struct fib_locks *locks,
                                          struct fib_recovery *recovery);
void fib_writer_close(struct fib_writer *writer);

/* Applies rows in order (nexthop 0 withdraws; the other fields but prefix/length/family are
 * ignored). Bumps the epoch whenever memory has to come back; visible words appear as they are
 * stored, the generation only with fib_publish. Returns 0, -EINVAL (bad row, or a group that is
 * not set), -ENOSPC (arena full), -E2BIG (max_routes): rows before *applied are in force, the
 * others are not. *changed counts rows that changed a route. Sorted rows are fastest:
 * neighbours that share a node are published by one word. Costs: an IPv4 prefix of /16 and longer
 * one node (0.3 us); a shorter one every /16 below it whose answer changes, up to 2^15. */
int fib_apply(struct fib_writer *writer, const struct route_row *rows, uint64_t n,
              uint64_t *applied, uint64_t *changed);
/* Replaces one record copy-on-write: one directory word, however many routes are behind it.
 * -EINVAL: id or kind out of range, buckets not a power of two <= FIB_MAX_BUCKETS, or a bucket
 * names an adjacency that is not set; -ENOSPC: arena full. Clearing what is still named by a
 * route (a group) or a bucket (an adjacency) is -EBUSY, what is not there -ENOENT. */
int fib_set_group(struct fib_writer *writer, const struct fib_group *group);
int fib_clear_group(struct fib_writer *writer, uint32_t id);
int fib_set_adjacency(struct fib_writer *writer, const struct fib_adjacency *adjacency);
int fib_clear_adjacency(struct fib_writer *writer, uint32_t id);
int fib_set_port(struct fib_writer *writer, const struct fib_port *port);
int fib_clear_port(struct fib_writer *writer, uint32_t index);
/* Ends a batch: stamp (t2, t3 filled here), generation, epoch. Returns the new generation. */
uint64_t fib_publish(struct fib_writer *writer, uint64_t update_id, uint64_t t0, uint64_t t1);
/* The first change after a publish begins a batch: it takes the lock, where the strategy has one,
 * and fib_publish gives it back. This gives it back without publishing: under rwlock, sem_undo,
 * mutex readers meet what was changed so far and name the generation before; double and message go
 * on holding it back, and under seqlock the number stays odd. */
void fib_batch_end(struct fib_writer *writer);
/* The header of the newest publish, which under `message` is ahead of fib_header_now(). */
const struct fib_header *fib_header_newest(struct fib_writer *writer);
/* 1: a lookup may answer from what was changed since the last publish, or what the writer before
 * left so (a record that nothing names yet does not count). A successor that is told so publishes
 * even when it has nothing to add. */
int fib_unpublished(struct fib_writer *writer);
/* rwlock, sem_undo, mutex: gives the lock up that a dead or stopped reader may hold and goes on
 * with a fresh one; whoever was inside looks again. Does nothing under the others. */
int fib_break_lock(struct fib_writer *writer);

/* Walks routes in order (family, address, length). *cursor is the last row returned (family 0
 * to start). Returns rows written, 0 at the end. For control only: not safe beside a writer. */
uint32_t fib_walk(struct fib_writer *writer, struct route_row *cursor, struct route_row *rows,
                  uint32_t max);
/* The same with rows of group 0 between them: addresses at which a word of its own answers, though
 * no route begins there. For an audit. */
uint32_t fib_walk_places(struct fib_writer *writer, struct route_row *cursor,
                         struct route_row *rows, uint32_t max);
/* The group of exactly this prefix, 0 when absent. Inside the segment, whatever stands in it. */
uint32_t fib_exact(struct fib_writer *writer, const struct route_row *row);
/* Recomputes digest and counts from the routes and compares them with the writer's and, when
 * nothing is waiting for fib_publish, with the header's; then asks all that fib_writer_open asks,
 * so that no successor refuses what was found right. Between two changes. 0 or -EBADMSG. */
int fib_check(struct fib_writer *writer);
/* Bytes that can be retired at most, whatever readers do: two epochs' pieces, each as large as a
 * piece gets, and never more than the arena. As a rule an epoch is spent at 256 KiB; only a
 * change of a very short prefix retires more at once. Any process. */
uint64_t fib_retired_most(const struct fib_geometry *geometry);

#endif
