/* The seam between the FIB and its longest-prefix-match engines: one table of functions an
 * engine. fib/ and bank/ know nothing of tries; an engine knows nothing of epochs, groups, counts
 * or digests, and nobody outside its folder knows a struct or a function of it (test_seams.py).
 *
 *      fib_lookup -> batch, epoch --+                    +-- binary/     teaching, v4 and v6
 *                                   |                    +-- multibit/   plain, v4 and v6
 *      fib_apply -> check, account -+-- lpm_engine(id) --+-- compact/    v4's default; flat
 *      fib_writer_open, fib_walk ---+    (table.h)       +-- interval/   v6's default; v4
 *
 * What an engine owns: one root word a family (fib_roots; 0 = empty, so an engine makes its root
 * with its first route) and blocks of the arena. What it promises:
 *   - lookup and match run on memory that may be rewritten under them: relaxed loads only, every
 *     block number checked against the segment, loops bounded by constants;
 *   - apply builds beside, publishes by ONE word through fib_store32/64 (or several under one
 *     intent through fib_store_list: each address old or new, the successor finishes), retires
 *     after; where a lookup reads several words, it keeps the rule of layout/fib_layout.h
 *     (fib_grace_since);
 *   - a failing apply has changed nothing that a reader or the successor can reach.
 * Reader functions: any process. Writer functions: control alone.
 */
#ifndef RC_ENGINE_H
#define RC_ENGINE_H
#include "arena/reader.h"
#include "arena/writer.h"
#include "base/cpu.h"
#include "layout/identity.h"
#include "layout/row_layout.h"

#if RC_INLINE_SECTION

enum { LPM_IPV4 = 1, LPM_IPV6 = 2 };
enum { LPM_RUN = 512 }; /* rows an engine may publish by one word */

struct lpm_run {
    uint32_t room;            /* in: routes that may still be added */
    uint32_t taken;           /* out: rows of the front that are in force now, >= 1 on success */
    uint32_t before[LPM_RUN]; /* out: the group each had just before it was applied, 0 = none */
};

/* A visit returns 0 to go on; anything else ends the walk, which returns it. */
struct lpm_visitor {
    int (*blocks)(void *context, uint32_t block, uint32_t size);         /* may be NULL */
    int (*route)(void *context, const struct route_row *row); /* family, prefix, length, nexthop */
    void *context;
    /* 1: `route` also gets the addresses at which a word of the engine's own answers although no
     * route begins there, as rows of group 0, in the same order (an audit looks them up). An engine
     * whose words an audit finds without it need not tell. */
    int places;
};

struct lpm_engine {
    uint32_t id;       /* enum fib_engine */
    uint32_t families; /* of LPM_IPV4, LPM_IPV6 */
    const char *name;

    /* Reader. Keys are all of one family; groups[i] = 0 when nothing matches. root is not 0. */
    void (*lookup)(const struct fib_reader *reader, uint32_t root, const struct fib_key *keys,
                   uint32_t *groups, uint32_t n);
    /* The same for IPv4 addresses in host order, without the keys; NULL: not an IPv4 engine. */
    void (*lookup4)(const struct fib_reader *reader, uint32_t root, const uint32_t *addresses,
                    uint32_t *groups, uint32_t n);
    /* And for IPv6 addresses in network order; NULL: fib_lookup6 makes keys of them. */
    void (*lookup6)(const struct fib_reader *reader, uint32_t root,
                    const uint8_t (*addresses)[16], uint32_t *groups, uint32_t n);
    /* The group and, in *length, the matched length; 0 when nothing matches. */
    uint32_t (*match)(const struct fib_reader *reader, uint32_t root, const struct fib_key *key,
                      uint32_t *length);

    /* Its structs and numbers in shared memory: part of the FIB's layout identity, and a section of
     * docs/shm-layout.md. Without it no segment is made at all. */
    struct layout layout;
    /* Arena blocks a table of `routes` wants; the formula is documented where it stands. */
    uint64_t (*blocks_for)(uint8_t family, uint32_t routes);
    uint32_t most_blocks; /* blocks of a bank that its words can name; 0: all that a u32 names */

    /* Writer. `open` makes what it keeps in private memory, in writer->engine_state of the family
     * (0 or -ENOMEM), when a bank is opened; `close` gives it back. Both NULL: it keeps nothing. */
    int (*open)(struct fib_writer *writer, uint8_t family);
    void (*close)(struct fib_writer *writer, uint8_t family);
    /* Rows are valid, of one family, their groups exist. 0, -ENOSPC, -E2BIG. */
    int (*apply)(struct fib_writer *writer, const struct route_row *rows, uint64_t n,
                 struct lpm_run *run);
    /* NULL, or: puts right what is derived from the words rows[0..n) changed. Between the store
     * and the end of its intent, and again by the successor; on unswept structure, so it checks. */
    void (*derive)(struct fib_writer *writer, const struct route_row *rows, uint32_t n);
    uint32_t (*exact)(const struct fib_writer *writer, const struct route_row *row);
    /* Every block and, in order, every route behind `after` (NULL: from the start). Blocks are
     * reported before what hangs below them. -EBADMSG: not a tree of this engine. */
    int (*walk)(const struct fib_writer *writer, uint8_t family, const struct route_row *after,
                const struct lpm_visitor *visitor);
};

#endif
#endif
