/* The hold queue: packets that wait, copied, until a neighbour's address is known.
 *
 *   age:        oldest <-> ... <-> newest                (one list over all entries)
 *   neighbour:  (port, family, address) -> its entries   (one list each, oldest first)
 *
 * Use: hold_put() copies a packet in and says what had to make room for it and whether control
 * should be told. Walk `oldest` and `age.newer` to look the packets up again; hold_remove()
 * whatever was sent or given up. Everything is preallocated, put and remove are O(1), an entry
 * removed twice is refused. Bounds: `packets` in all, `per_neighbour` each; the oldest
 * makes room, of the same neighbour or of all, so that a scan of a network cannot lock out what
 * comes later.
 *
 * Private memory of one worker. It knows neither sockets nor the FIB.
 */
#ifndef RC_HOLD_H
#define RC_HOLD_H
#include "base/base.h"
#include "packet/packet.h"

enum {
    HOLD_BYTES = 65536 + 64,     /* the largest super-frame with its Ethernet header */
    HOLD_PACKETS_MAX = 1 << 16,
};
static const uint32_t HOLD_NONE = UINT32_MAX;
static const uint64_t HOLD_ASK_AGAIN_NS = 1000000000u; /* RFC 4861 RetransTimer, RFC 1122 2.3.2.1 */

struct hold_key { /* who has to answer */
    uint8_t address[16];
    uint16_t port;
    uint8_t family;
    uint8_t unused;
};

struct hold_link { /* HOLD_NONE ends */
    uint32_t older;
    uint32_t newer;
};

struct hold_entry {
    struct packet packet;    /* its frame points into the entry's own memory */
    struct hold_link age;
    struct hold_link same;   /* entries of one neighbour */
    uint64_t arrived_ns;
    uint32_t neighbour;
    uint16_t ingress;
    uint8_t originated;      /* 1: an ICMP error of ours, no part of rx */
    uint8_t used;
};

struct hold_neighbour {
    struct hold_key key;
    uint64_t asked_ns;       /* when hold_ask() last said yes */
    uint32_t oldest;
    uint32_t newest;
    uint32_t count;
    uint32_t chain;          /* next of the same hash, or of the free ones */
};

struct hold_queue {
    struct hold_entry *entry;
    struct hold_neighbour *neighbour;
    uint32_t *bucket;        /* heads of the neighbour chains, a power of two of them */
    uint8_t *bytes;          /* HOLD_BYTES an entry; pages are touched when used */
    uint32_t packets;
    uint32_t per_neighbour;
    uint32_t buckets;
    uint32_t count;
    uint32_t oldest;
    uint32_t newest;
    uint32_t free_entry;
    uint32_t free_neighbour;
};

struct hold_outcome {
    uint32_t evicted;        /* older packets given up */
    uint32_t evicted_own;    /* and older packets that we originated */
    uint32_t ask;            /* 1: tell control, as hold_ask() */
};

/* 0, -EINVAL (a bound is 0 or too large) or -ENOMEM. At start only. */
int hold_open(struct hold_queue *hold, uint32_t packets, uint32_t per_neighbour);
void hold_close(struct hold_queue *hold);
/* Copies the packet in. 0, or -EMSGSIZE: longer than HOLD_BYTES. */
int hold_put(struct hold_queue *hold, const struct packet *packet, uint16_t ingress,
             uint8_t originated, const struct hold_key *key, uint64_t now_ns,
             struct hold_outcome *outcome);
/* 0, or -ENOENT when the entry is not in use. */
int hold_remove(struct hold_queue *hold, uint32_t index);
/* 1 when control was not asked about this entry's neighbour for HOLD_ASK_AGAIN_NS. */
int hold_ask(struct hold_queue *hold, uint32_t index, uint64_t now_ns);

#endif
