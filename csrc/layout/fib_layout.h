/* The FIB segment: what control publishes and workers read, without a lock.
 *
 *   +--------------------------------------------------------------- header, 4096 bytes
 *   | identity (64)                        see segment_layout.h
 *   | geometry (64)   where things are; constant after creation
 *   | published (64)  epoch, generation, counts     <- writer stores, release; readers acquire
 *   | roots (64)      one word a family             <- writer stores, release
 *   | intent (64)     what the writer is about to do <- read by the successor of a dead writer only
 *   | sync (64)       words of the other strategies  <- see sync/strategy.h
 *   +---------------------------------------------------------------
 *   | group directory      u32[max_groups]       -> block of a struct fib_group, 0 = none
 *   | adjacency directory  u32[max_adjacencies]  -> block of a struct fib_adjacency, 0 = none
 *   | port directory       u32[max_ports]        -> block of a struct fib_port, 0 = none
 *   | stamp ring           struct fib_stamp[FIB_STAMPS]
 *   +--------------------------------------------------------------- arena
 *   | 64-byte blocks: trie nodes, groups, adjacencies, ports; immutable once reachable
 *   +--------------------------------------------------------------- (double, message only)
 *   | a second bank: all of the above once more; offsets count from its own start
 *   +--------------------------------------------------------------- (message only)
 *   | the message ring
 *   +---------------------------------------------------------------
 *
 * An offset is a u32 block number: byte offset = 64 * block, from the start of the bank, which
 * is that of the segment unless the strategy keeps two tables.
 * Block 0 is the header, so 0 means "none". No pointer is ever stored.
 *
 * The walk:   address -> LPM (root4/root6) -> group id -> group -> bucket[hash] -> adjacency id
 *             -> adjacency (port, MACs, MTU). Each arrow is one u32 word, replaced by one store.
 *
 * Reading under the default strategy, `epoch` (any number of processes, O_RDONLY mapping,
 * wait-free per batch, writes nothing); what the others do instead is in sync/strategy.h:
 *     E = load_acquire(epoch); walk with relaxed loads, copying results out;
 *     atomic_thread_fence(acquire); if (load_relaxed(epoch) >= E + 2) do the batch again.
 * Every offset is masked into the segment before use and no loop depends on data, so that even
 * a stale read stays in bounds and ends.
 *
 * Writing (one process): build new blocks beside the old; store ONE word with release; retire
 * the old block at the current epoch r. A block or an id retired at r is reused when epoch >=
 * r + 2, with a release fence between that epoch store and the first reuse store (Boehm, MSPC
 * 2012; it matters on arm64). So a dead or stopped reader never holds up the writer.
 *
 * A walk reads its words one after the other, and up to one bump may fall in between. So that its
 * answer was right at one moment nevertheless, the writer changes nothing that a walk could
 * reach by an arrow that was turned away less than two epochs ago:
 *     a group is replaced or cleared        two epochs after the last change of a route,
 *     an adjacency is replaced or cleared   two epochs after the last change of a route or group,
 *     a longer prefix is withdrawn          two epochs after the last change of a shorter one
 *                                           whose node is passed on the way to it.
 * It never waits for that, it bumps; a walk that spans the bumps is done again. Batches that
 * change adjacencies, then groups, then routes need no extra bump.
 */
#ifndef RC_FIB_LAYOUT_H
#define RC_FIB_LAYOUT_H
#include "base/base.h"
#include "layout/segment_layout.h"

enum {
    FIB_BLOCK = 64,          /* bytes of a block, the unit of offsets */
    FIB_HEADER_SIZE = 4096,
    FIB_MAX_GROUPS = 32768,  /* ids 1..32767; the enforced limit */
    FIB_MAX_ADJACENCIES = 65536,
    FIB_MAX_PORTS = 32,      /* port index 0..31; also the size of a worker's tables */
    FIB_MAX_BUCKETS = 256,   /* buckets of one group, a power of two */
    FIB_STAMPS = 1024,       /* power of two; ring of the last publishes */
    FIB_PORT_ADDRESSES = 8,
    FIB_GUARD = 64,          /* blocks at the end of a bank that nobody gets, so that a load which
                                runs past a record of the last piece stays in it */
};

/* What a group says about the packet. Stored: never reuse a number. */
enum fib_kind {
    FIB_KIND_NONE = 0,        /* no route */
    FIB_KIND_FORWARD = 1,     /* buckets name adjacencies */
    FIB_KIND_RECEIVE = 2,     /* one of the router's own addresses: left to the host stack */
    FIB_KIND_GLEAN = 3,       /* on-link, host unknown: bucket 0 names an adjacency that has the
                                 port; the destination itself is the next hop */
    FIB_KIND_BLACKHOLE = 4,   /* drop silently */
    FIB_KIND_UNREACHABLE = 5, /* drop, ICMP host unreachable / no route */
    FIB_KIND_PROHIBIT = 6,    /* drop, ICMP administratively prohibited */
    FIB_KIND_BROADCAST = 7,   /* a connected network's broadcast address: never forwarded */
};

enum fib_adjacency_state {
    ADJACENCY_NONE = 0,
    ADJACENCY_RESOLVED = 1,   /* MACs valid */
    ADJACENCY_INCOMPLETE = 2, /* the neighbour is not known yet: hold the packet, raise an event */
};

enum fib_port_flag {
    PORT_UP = 1,    /* administratively up with carrier */
    PORT_HOST = 2,  /* the far end is this machine's host stack (rc-host): no TTL decrement */
};

struct fib_geometry { /* constant after creation */
    uint32_t groups_at;      /* block of the group directory */
    uint32_t adjacencies_at; /* block of the adjacency directory */
    uint32_t ports_at;       /* block of the port directory */
    uint32_t stamps_at;      /* block of the stamp ring */
    uint32_t arena_at;       /* first block of the arena */
    uint32_t blocks;         /* blocks of one bank: header, directories, arena */
    uint32_t max_groups;
    uint32_t max_adjacencies;
    uint32_t max_ports;
    uint32_t engine4;        /* enum fib_engine, see engines/table.h */
    uint32_t engine6;
    uint32_t strategy;       /* enum fib_strategy, see sync/table.h */
    uint32_t max_routes4;
    uint32_t max_routes6;
    uint32_t banks;          /* complete tables in the segment, one behind the other: 1 or 2 */
    uint32_t ring_blocks;    /* blocks of the message ring behind the banks */
};
RC_STATIC_ASSERT(sizeof(struct fib_geometry) == 64, "one line");

struct fib_published { /* writer: release. reader: acquire on epoch, then relaxed */
    uint64_t epoch;      /* +1 at every bump; decides retry and reuse, see above */
    uint64_t generation; /* +1 at every publish; stored before the epoch bump of that publish */
    uint64_t digest;     /* sum of row digests of the published routes (order-free) */
    uint32_t routes4;
    uint32_t routes6;
    uint32_t groups;
    uint32_t adjacencies;
    uint32_t live_blocks;    /* arena accounting, for `fib show --memory`; relaxed */
    uint32_t retired_blocks;
    uint32_t free_blocks;
    uint32_t high_water;     /* highest block ever opened to the allocator */
};
RC_STATIC_ASSERT(sizeof(struct fib_published) == 56, "inside one line");

struct fib_roots { /* writer: release; reader: relaxed after the epoch's acquire */
    uint32_t root4; /* block of the IPv4 engine's root, 0 = empty */
    uint32_t root6;
    uint32_t unused[14];
};

/* What the writer is about to do. `sequence` is odd while an operation is open: the writer
 * stores the fields, then the odd sequence (release), then the one word, then the even sequence.
 * Everything behind the word is complete before the intent opens, so the successor who finds an odd
 * sequence stores `word` at byte `at` again and is done: a redo is one idempotent store. The
 * other fields say what the word means (to a human, and to an engine that keeps state derived
 * from its words); of a run of rows that share one word they name the first.
 *
 * A short prefix changes many words. Then `width` is FIB_WIDTH_LIST: `word` is { how many : 32 |
 * block of an array of struct fib_word : 32 }, `at` the place their indices count from, and the
 * successor stores them all. */
struct fib_intent {
    uint64_t sequence;
    uint32_t operation; /* enum fib_operation */
    uint32_t id;        /* group / adjacency / port id */
    uint8_t prefix[16];
    uint8_t length;
    uint8_t family;
    uint16_t rows;      /* rows of the run this word publishes, 1.. for FIB_OP_ROUTE */
    uint32_t value;     /* group id (0 = withdraw) or block number of the new record */
    uint64_t at;        /* byte offset of the word, from the start of the segment */
    uint64_t word;      /* what is stored there */
    uint32_t width;     /* 4 or 8 bytes, or FIB_WIDTH_LIST */
    uint32_t unused;
};
RC_STATIC_ASSERT(sizeof(struct fib_intent) == 64, "one line");
enum { FIB_WIDTH_LIST = 1 };
struct fib_word { uint32_t index, value; }; /* the u32 word at `at` + 4 * index */
enum fib_operation { FIB_OP_NONE = 0, FIB_OP_ROUTE = 1, FIB_OP_GROUP = 2, FIB_OP_ADJACENCY = 3, FIB_OP_PORT = 4 };

/* Times of one publish, CLOCK_MONOTONIC ns. `generation` is stored last (release) and zeroed
 * first, so a reader that finds its generation before and after copying has a whole stamp. */
struct fib_stamp {
    uint64_t generation;
    uint64_t update_id; /* control's id of the newest update in this publish */
    uint64_t t0;        /* oldest update of the batch became readable at its source */
    uint64_t t1;        /* RIB decided */
    uint64_t t2;        /* FIB words written */
    uint64_t t3;        /* read immediately before the generation store */
    uint32_t changes;   /* route words changed */
    uint32_t unused[3];
};
RC_STATIC_ASSERT(sizeof(struct fib_stamp) == 64, "one line");

/* Words of the strategies other than epoch; only those of the first bank count. No lock is here:
 * readers map the segment read-only. Writer: as said; reader: acquire before, relaxed after. */
struct fib_sync_words {
    uint64_t sequence;    /* seqlock: odd while a batch is open */
    uint64_t breaks;      /* locks: which lock of many is in force, +1 when one was given up */
    uint64_t swaps;       /* double, message: bank swaps & 1 is the one to read */
    uint64_t reserve;     /* message: ring bytes promised to be written; stored before them */
    uint64_t commit;      /* message: ring bytes of whole batches; stored after them */
    uint64_t generation;  /* message: the generation at `commit`; stored after it */
    uint64_t position[2]; /* message: what of the ring a bank holds */
};
RC_STATIC_ASSERT(sizeof(struct fib_sync_words) == 64, "one line");

struct fib_header {
    struct segment_identity identity;
    struct fib_geometry geometry;
    struct fib_published published;
    uint64_t born; /* CLOCK_MONOTONIC ns of its making: tells a rebuilt FIB from the one before */
    struct fib_roots roots;
    struct fib_intent intent;
    struct fib_sync_words sync;
    uint8_t reserved[FIB_HEADER_SIZE - 64 * 6];
};
RC_STATIC_ASSERT(sizeof(struct fib_header) == FIB_HEADER_SIZE, "header is one page");
RC_STATIC_ASSERT(offsetof(struct fib_header, roots) % 64 == 0, "roots on a line of their own");

/* Records of the arena: immutable once their directory word is stored. */

struct fib_group { /* 64 bytes, or more when buckets > 12 */
    uint8_t kind;     /* enum fib_kind */
    uint8_t unused;
    uint16_t paths;   /* distinct adjacencies */
    uint32_t buckets; /* power of two, 1..FIB_MAX_BUCKETS */
    uint32_t id;
    uint32_t flags;
    uint32_t bucket[1]; /* adjacency ids, [buckets] of them */
};

struct fib_adjacency { /* 64 bytes, one line */
    uint8_t state;   /* enum fib_adjacency_state */
    uint8_t family;  /* of nexthop: 4, 6, or 0 (glean: the destination is the next hop) */
    uint16_t port;   /* egress port index */
    uint16_t mtu;    /* of the link, payload bytes of an L3 packet */
    uint8_t source_mac[6];
    uint8_t target_mac[6];
    uint8_t unused[2];
    uint8_t nexthop[16];
    uint32_t id;
    uint8_t reserved[24];
};
RC_STATIC_ASSERT(sizeof(struct fib_adjacency) == 64, "one line");

struct fib_port_address { uint8_t address[16]; uint8_t family; uint8_t length; uint8_t unused[2]; };

struct fib_port { /* 256 bytes */
    uint16_t index;
    uint16_t mtu;
    uint32_t ifindex;
    uint32_t flags; /* enum fib_port_flag */
    uint8_t mac[6];
    uint8_t unused0[2];
    char name[16];
    uint32_t addresses; /* used entries of address[] */
    uint8_t unused1[24];
    struct fib_port_address address[FIB_PORT_ADDRESSES]; /* own; first of a family = ICMP source */
    uint8_t reserved[32];
};
RC_STATIC_ASSERT(sizeof(struct fib_port) == 256, "four lines");

/* What the layout identity is made of, see layout/identity.h. */
#define FIB_LAYOUT                                                                               \
    LAYOUT_STRUCT(fib_geometry, groups_at, adjacencies_at, ports_at, stamps_at, arena_at,        \
                  blocks, max_groups, max_adjacencies, max_ports, engine4, engine6, strategy,    \
                  max_routes4, max_routes6, banks, ring_blocks)                                  \
    LAYOUT_STRUCT(fib_published, epoch, generation, digest, routes4, routes6, groups,            \
                  adjacencies, live_blocks, retired_blocks, free_blocks, high_water)             \
    LAYOUT_STRUCT(fib_roots, root4, root6, unused)                                               \
    LAYOUT_STRUCT(fib_intent, sequence, operation, id, prefix, length, family, rows, value, at,  \
                  word, width, unused)                                                           \
    LAYOUT_STRUCT(fib_word, index, value)                                                        \
    LAYOUT_STRUCT(fib_stamp, generation, update_id, t0, t1, t2, t3, changes, unused)             \
    LAYOUT_STRUCT(fib_sync_words, sequence, breaks, swaps, reserve, commit, generation,          \
                  position)                                                                      \
    LAYOUT_STRUCT(fib_header, identity, geometry, published, born, roots, intent, sync,          \
                  reserved)                                                                      \
    LAYOUT_STRUCT(fib_group, kind, unused, paths, buckets, id, flags, bucket)                    \
    LAYOUT_STRUCT(fib_adjacency, state, family, port, mtu, source_mac, target_mac, unused,       \
                  nexthop, id, reserved)                                                         \
    LAYOUT_STRUCT(fib_port_address, address, family, length, unused)                             \
    LAYOUT_STRUCT(fib_port, index, mtu, ifindex, flags, mac, unused0, name, addresses, unused1,  \
                  address, reserved)                                                             \
    LAYOUT_NUMBER(FIB_BLOCK) LAYOUT_NUMBER(FIB_HEADER_SIZE) LAYOUT_NUMBER(FIB_MAX_GROUPS)        \
    LAYOUT_NUMBER(FIB_STAMPS) LAYOUT_NUMBER(FIB_WIDTH_LIST) LAYOUT_NUMBER(FIB_GUARD)

#endif
