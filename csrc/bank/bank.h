/* One table of the FIB (a bank): laid out, changed, published, taken over. Knows no strategy.
 *
 *      fib/batch.c --+                        +--> engines/    routes
 *      sync/double --+--> bank_apply, set_* --+--> directory   groups, adjacencies, ports
 *      sync/message -+    bank_publish        +--> arena/      blocks, epochs, intents
 *
 * A segment has one bank or two, and a reader of `message` has one of its own; each has a struct
 * fib_writer. Control alone but for that reader. Functions return 0 or -errno unless they say
 * otherwise; what the changes promise stands in fib/fib.h.
 */
#ifndef RC_BANK_H
#define RC_BANK_H
#include "arena/reader.h"
#include "layout/entry_layout.h"
#include "layout/row_layout.h"

struct fib_params {
    uint32_t max_routes4;
    uint32_t max_routes6;
    uint32_t max_groups;      /* <= FIB_MAX_GROUPS */
    uint32_t max_adjacencies; /* <= FIB_MAX_ADJACENCIES */
    uint32_t engine4;         /* enum fib_engine; 0: compact */
    uint32_t engine6;         /* 0: interval */
    uint64_t instance_id;
    uint32_t strategy; /* enum fib_strategy; 0 = epoch */
    uint32_t unused;
};
struct fib_recovery { /* what fib_writer_open found and did */
    uint32_t redone;      /* 1: an open intent was done again */
    int32_t error;        /* of an opening that failed: -EBADMSG damaged, -ENOLCK the locks are not
                             what the strategy needs, -ENOMEM; else 0 */
    uint64_t reclaimed;   /* blocks found unreachable */
    uint64_t routes;      /* routes found */
    uint64_t nanoseconds;
};

#if RC_INLINE_SECTION
#include "arena/writer.h"

/* ---- geometry.c ---- */

/* Bytes of one bank; 0: a number out of range, an engine that does not serve its family. */
uint64_t bank_size(const struct fib_params *params);
/* Where things are in it; the strategy's fields and `blocks` are the caller's. */
void bank_lay_out(const struct fib_params *params, struct fib_geometry *geometry);
/* Blocks of a bank that the words of its engines can name. */
uint64_t bank_most_blocks(const struct fib_geometry *geometry);
/* 1: a table of `size` bytes could be laid out so. All that a writer of it, a replica's as well,
 * does not check again. */
int bank_geometry_valid(const struct fib_geometry *geometry, uint64_t size);

/* ---- recover.c: a writer for one bank ---- */

/* One that knows where its bank is, and nothing more yet. NULL: no memory. */
struct fib_writer *bank_begin(uint8_t *segment, uint8_t *base);
/* Redoes what is open, sweeps, counts. */
int bank_take_over(struct fib_writer *bank, struct fib_recovery *found);
/* Would a successor take it over as it is between two changes? Sweeps with memory of its own and
 * writes nothing. 0, -EBADMSG, -ENOMEM (nothing is known then). */
int bank_examine(const struct fib_writer *bank);
/* bank_begin and bank_take_over. NULL: see fib_writer_open. */
struct fib_writer *bank_open(uint8_t *base, struct fib_recovery *found);
void bank_close(struct fib_writer *bank);
/* Forgets what it knew and takes its bank over again: it was copied. */
int bank_reset(struct fib_writer *bank);

/* ---- copy.c ---- */

/* Makes the bank of `size` bytes at `to` equal to that at `from`: all but identity and sync.
 * Stamps may be read on either side meanwhile. */
void bank_copy(uint8_t *to, const uint8_t *from, uint64_t size);

/* ---- apply.c, directory.c: the functions of fib/fib.h, on one bank ---- */

int bank_apply(struct fib_writer *writer, const struct route_row *rows, uint64_t n,
               uint64_t *applied, uint64_t *changed);
int bank_set_group(struct fib_writer *writer, const struct fib_group *group);
int bank_clear_group(struct fib_writer *writer, uint32_t id);
int bank_set_adjacency(struct fib_writer *writer, const struct fib_adjacency *adjacency);
int bank_clear_adjacency(struct fib_writer *writer, uint32_t id);
int bank_set_port(struct fib_writer *writer, const struct fib_port *port);
int bank_clear_port(struct fib_writer *writer, uint32_t index);
uint64_t bank_publish(struct fib_writer *writer, uint64_t update_id, uint64_t t0, uint64_t t1);
/* The publish of another bank once more: its stamp, its generation. */
void bank_republish(struct fib_writer *writer, const struct fib_stamp *stamp);
/* places: as in struct lpm_visitor. */
uint32_t bank_walk(struct fib_writer *writer, struct route_row *cursor, struct route_row *rows,
                   uint32_t max, int places);
uint32_t bank_exact(struct fib_writer *writer, const struct route_row *row);
int bank_check(struct fib_writer *writer);

/* ---- replay.c ---- */

/* Bytes of an entry with its data. */
static inline uint64_t fib_entry_room(const struct fib_entry *entry)
{
    return (sizeof *entry + entry->bytes + 15) & ~UINT64_C(15);
}
/* Makes the change of an entry in this bank; as the bank_* function of it. */
int bank_replay(struct fib_writer *bank, const struct fib_entry *entry, const void *data);

/* ---- between the files of this folder ---- */

uint32_t *fib_directory(const struct fib_writer *writer, uint32_t operation);
uint32_t fib_record_blocks(const struct fib_writer *writer, uint32_t operation, uint32_t block);
int references_open(struct fib_references *use, uint32_t max);
void references_close(struct fib_references *use);
/* Stores counts, digest and arena figures into the header. */
void fib_account(struct fib_writer *writer);
/* 1: the header's digest and counts of routes are the writer's. */
int fib_accounted(const struct fib_writer *writer);

static inline uint64_t fib_mix(uint64_t x) /* the finaliser of splitmix64 */
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* The number a route adds to the digest; the sum does not depend on the order. */
static inline uint64_t fib_route_digest(const struct route_row *row, uint32_t group)
{
    uint64_t word[2];
    memcpy(word, row->prefix, sizeof word);
    /* An IPv4 route fits one word, and fib_mix() never makes two words one. */
    if (row->family == 4)
        return fib_mix((word[0] & 0xffffffff) | (uint64_t)row->length << 32 |
                       (uint64_t)group << 40);
    uint64_t tail = (uint64_t)row->family << 40 | (uint64_t)row->length << 32 | group;
    return fib_mix(fib_mix(fib_mix(tail) ^ word[0]) ^ word[1]);
}

#endif
#endif
