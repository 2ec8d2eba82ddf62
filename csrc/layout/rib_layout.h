/* The RIB segment: every candidate route of every source, kept across the death of control.
 *
 *   +--------------------------------------------------------------- header, 4096 bytes
 *   | identity (64)                       see segment_layout.h
 *   | geometry (64)   where things are, constant after creation
 *   | words (64)      changed, published, reselect
 *   | sources (64)    generation of each source
 *   +---------------------------------------------------------------
 *   | buckets     u32[buckets]        -> first row of the chain, 0 = empty
 *   | directory   u32[max_nexthops]   -> first node of a next-hop set, 0 = no such set
 *   | journal     ring of prefixes decided but perhaps not published
 *   | nodes       struct rib_node[]   next-hop sets: one node a path
 *   | rows        struct rib_row[]    40 bytes a candidate
 *   +---------------------------------------------------------------
 *
 *   bucket[hash(family, prefix, length)] -> row -> row -> 0
 *
 * A chain holds all candidates of all prefixes of its bucket. Rows and nodes are named by their
 * index, from 1; no pointer is stored.
 *
 * Who touches it: the control process that holds the control lock, nobody else, one thread. So
 * the ordering below is not for readers; it is for the successor. SIGKILL loses no store that was
 * executed, hence the state a successor finds is a prefix of the writer's stores in program order,
 * and release stores keep the compiler from changing that order.
 *
 * The rule: build a row (or the nodes of a set) where nothing points to, then store ONE word (a
 * bucket, a `next`, a directory entry) with release. Unlinking is one word too. A row is never
 * changed while it is reachable but for its `mark` and `next` words. Free lists are private and
 * found again at open by a walk: what no chain reaches is free.
 *
 * The journal: before the words of a prefix whose selection changes, its prefix is written to
 * journal[changed % journal] and `changed` is stored + 1. `published` follows when the FIB has
 * them. The successor finds published..changed-1: it makes the selection of these prefixes right
 * again (their SELECTED marks may be half done) and publishes them once more. When more than the
 * ring is open, any prefix may be missing in the FIB: `changed - published >= journal` says so.
 */
#ifndef RC_RIB_LAYOUT_H
#define RC_RIB_LAYOUT_H
#include "base/base.h"
#include "layout/row_layout.h"
#include "layout/segment_layout.h"

enum {
    RIB_HEADER_SIZE = 4096,
    RIB_JOURNAL = 8192,      /* entries; a power of two */
    RIB_MAX_NEXTHOPS = 32768, /* ids 1..32767: the same numbers as FIB groups */
    RIB_MAX_PATHS = 32,      /* paths of one set */
    RIB_MAX_CANDIDATES = 64, /* candidates of one prefix */
    RIB_MAX_ROWS = 1 << 27,
};

enum rib_mark {
    RIB_GENERATION_MASK = 0xffffff, /* low bits: generation of the source when announced */
    RIB_SELECTED = 1 << 24,         /* the candidate in force */
};

struct rib_geometry { /* constant after creation; positions in units of 64 bytes */
    uint64_t seed;    /* of the bucket hash, so that nobody can aim at one chain */
    uint32_t max_rows;     /* candidates; the array has two more: index 0 and one spare, so that
                              a full table can still replace a row */
    uint32_t buckets;      /* a power of two */
    uint32_t max_nexthops; /* ids below it */
    uint32_t max_nodes;    /* likewise with two more */
    uint32_t journal;
    uint32_t buckets_at;
    uint32_t directory_at;
    uint32_t journal_at;
    uint32_t nodes_at;
    uint32_t rows_at;
    uint32_t blocks; /* 64-byte units of the whole segment */
    uint32_t unused[3];
};
RC_STATIC_ASSERT(sizeof(struct rib_geometry) == 64, "one line");

struct rib_words {
    uint64_t changed;   /* prefixes whose best changed, ever; release, after the journal entry */
    uint64_t published; /* of these, in the FIB; release, after the FIB's generation */
    uint32_t reselect;  /* 1: a next-hop set died or came back and not every prefix has been
                           selected again; release, before the set's state and after the pass */
    uint32_t fib_state; /* enum rib_fib_state; release, before the first FIB word it tells of */
    uint32_t unused[10];
};
RC_STATIC_ASSERT(sizeof(struct rib_words) == 64, "one line");

struct rib_sources {
    /* Release. A row whose mark has another number is stale: one store marks all rows of a
     * source, whatever their number. */
    uint32_t generation[SOURCE_COUNT];
};
RC_STATIC_ASSERT(sizeof(struct rib_sources) == 64, "one line");

struct rib_header {
    struct segment_identity identity;
    struct rib_geometry geometry;
    struct rib_words words;
    struct rib_sources sources;
    uint8_t reserved[RIB_HEADER_SIZE - 64 * 4];
};
RC_STATIC_ASSERT(sizeof(struct rib_header) == RIB_HEADER_SIZE, "header is one page");

/*   0          16    17    18    19    20       24        28     32     36      40
 *   +----------+-----+-----+-----+-----+--------+---------+------+------+-------+
 *   | prefix   | len | fam | src |dist | metric | nexthop | next | mark | since |
 *   +----------+-----+-----+-----+-----+--------+---------+------+------+-------+
 */
struct rib_row {
    uint8_t prefix[16]; /* as in struct route_row */
    uint8_t length;
    uint8_t family; /* 0 in a free row */
    uint8_t source;
    uint8_t distance;
    uint32_t metric;
    uint32_t nexthop; /* id of a next-hop set */
    uint32_t next;    /* release: the next row of the chain */
    uint32_t mark;    /* enum rib_mark; release */
    uint32_t since;   /* CLOCK_MONOTONIC seconds of the last change: the age of the route */
};
RC_STATIC_ASSERT(sizeof(struct rib_row) == 40, "forty bytes a candidate");

struct rib_journal_entry {
    uint8_t prefix[16];
    uint8_t length;
    uint8_t family;
    uint8_t unused[6];
};
RC_STATIC_ASSERT(sizeof(struct rib_journal_entry) == 24, "no holes");

/* One path of a next-hop set; the first node of a set also says what the set is. */
struct rib_node {
    uint8_t address[16]; /* of the gateway; unused when family is 0 */
    uint16_t port;
    uint16_t weight;
    uint8_t family; /* 4, 6, or 0: the destination itself, on `port` */
    uint8_t kind;   /* first node: enum fib_kind */
    uint8_t count;  /* first node: paths, 0..RIB_MAX_PATHS */
    uint8_t unused;
    uint32_t next;  /* node of the next path */
    uint32_t state; /* first node: 1 = dead; release */
};
RC_STATIC_ASSERT(sizeof(struct rib_node) == 32, "two a line");

/* What the layout identity is made of, see layout/identity.h. */
#define RIB_LAYOUT                                                                               \
    LAYOUT_STRUCT(rib_geometry, seed, max_rows, buckets, max_nexthops, max_nodes, journal,       \
                  buckets_at, directory_at, journal_at, nodes_at, rows_at, blocks, unused)       \
    LAYOUT_STRUCT(rib_words, changed, published, reselect, fib_state, unused)                    \
    LAYOUT_STRUCT(rib_sources, generation)                                                       \
    LAYOUT_STRUCT(rib_header, identity, geometry, words, sources, reserved)                      \
    LAYOUT_STRUCT(rib_row, prefix, length, family, source, distance, metric, nexthop, next,      \
                  mark, since)                                                                   \
    LAYOUT_STRUCT(rib_journal_entry, prefix, length, family, unused)                             \
    LAYOUT_STRUCT(rib_node, address, port, weight, family, kind, count, unused, next, state)     \
    LAYOUT_NUMBER(RIB_JOURNAL) LAYOUT_NUMBER(RIB_MAX_PATHS) LAYOUT_NUMBER(SOURCE_COUNT)          \
    LAYOUT_NUMBER(RIB_GENERATION_MASK) LAYOUT_NUMBER(RIB_SELECTED)

#endif
