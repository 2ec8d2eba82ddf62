/* The owner's half of a stats object: only the worker that owns it may call this.
 *
 * Use: stats_attach() once, then count into `writer.now` (plain private memory) and call
 * stats_commit() at the end of each batch, after its packets left and before its ring slots go
 * back to the kernel. The readers' half (stats_read,
 * stats_balanced) is for any process that maps the object.
 *
 *     count, count, count -> stats_commit() -> slots back      killed here: slots are handed back
 *                         ^ killed here: batch read again        by the successor, nothing twice
 *
 * Not for two threads, and two workers never own one object at a time: the supervisor starts a
 * successor only when the old process is gone.
 */
#ifndef RC_STATS_H
#define RC_STATS_H
#include "layout/stats_layout.h"
#include "segment/segment.h"

extern const struct segment_format stats_format;

/* Of one reason (layout/drop_reasons.h). */
struct drop_text {
    const char *name; /* "no-route" */
    const char *what;
    const char *why;
    const char *remedy;
};
/* NULL beyond the list; so is the name. */
const struct drop_text *drop_reason_text(uint32_t reason);
const char *drop_reason_name(uint32_t reason);
/* Copies the committed block whole. 0, or -EAGAIN when the writer outran 1000 copies. */
int stats_read(const struct stats_object *object, struct stats_block *out);
/* What the worker has seen, in the order that makes it true: `table` first, so that the generation
 * is one of that table; t4 last, so that it is of that generation or of a later one. */
void stats_read_seen(const struct stats_object *object, struct stats_seen *out);
/* 1 when rx = forwarded + delivered + sum(drops) + held. */
int stats_balanced(const struct stats_block *block);

struct stats_writer {
    struct stats_object *object;
    struct stats_block now; /* private: the state the next commit publishes */
    uint32_t ports;         /* port[] entries ever used; what lies beyond is zero in both blocks */
    uint32_t unused;
};

/* Formats zeroed memory of `size` bytes; identity line last. 0 or -EINVAL. For the supervisor. */
int stats_create(void *base, uint64_t size, uint32_t worker, uint64_t instance_id);
/* Takes an object over: continues its counters, turns what a dead owner held into
 * drops[DROP_WORKER_RESTARTING], counts a restart, and commits. The waiting word is cleared.
 * 0; -EINVAL: not a ready stats object of this build; -EBADMSG: its block does not balance. */
int stats_attach(struct stats_writer *writer, struct stats_object *object, uint64_t size,
                 uint64_t now_ns);
/* Publishes writer->now with one release store. */
void stats_commit(struct stats_writer *writer);
/* Counts one packet of `bucket` size class or time: index of the highest bit set. */
uint32_t stats_bucket(uint64_t value, uint32_t buckets);

#endif
