/* What becomes of a packet: decided here, carried out by forward/, told by explain.c.
 *
 *   packet_parse() --> decide_batch()   own source; one lookup for all; then of each one
 *                                       kind of route, TTL, neighbour, port, MTU
 *                                         = send | hold | deliver | drop, and which ICMP error
 *                      decide_error()   that error: from which address, its bytes
 *                      decide_own()     the error as a packet of ours, which is decided in its turn
 *
 * Use: a worker calls these for each batch and then does what each decision says; control calls
 * them for one frame (explain_frame) and tells. Nothing else decides, so the two cannot differ.
 *
 * Reads the FIB and its arguments, writes its results: no counter, clock, queue, limiter, socket.
 * What only the moment knows is therefore not in a decision: whether the ICMP limits let an error
 * pass, whether the hold queue or the egress queue has room.
 */
#ifndef RC_DECIDE_H
#define RC_DECIDE_H
#include "decide/own_addresses.h"
#include "fib/fib.h"
#include "packet/packet.h"

enum decision_outcome {
    DECISION_DROP = 0,    /* for `reason`; `error` may say so to the sender */
    DECISION_DELIVER = 1, /* the host stack has its own copy */
    DECISION_SEND = 2,    /* to the adjacency of the answer */
    DECISION_HOLD = 3,    /* until the neighbour of the answer is known */
};

/* How far a packet came; explain's stages, in order. */
enum decision_stage {
    STAGE_PARSE = 0,
    STAGE_SOURCE = 1,    /* an address of ours as source */
    STAGE_LOCAL = 2,     /* for this host? */
    STAGE_LOOKUP = 3,
    STAGE_TTL = 4,
    STAGE_NEIGHBOUR = 5,
    STAGE_PORT = 6,
    STAGE_MTU = 7,
    STAGE_SEND = 8,
};

struct decision { /* eight bytes, so that it is returned in one register */
    uint8_t outcome;   /* enum decision_outcome */
    uint8_t stage;     /* enum decision_stage: the one that decided */
    uint8_t reason;    /* enum drop_reason; DROP_NONE unless DROP */
    uint8_t error;     /* enum icmp_error; 0: none, whatever the packet is */
    uint16_t mtu;      /* of ICMP_ERROR_TOO_BIG */
    uint16_t unused;
};
RC_STATIC_ASSERT(sizeof(struct decision) == 8, "one register");

enum work_origin { ORIGIN_RING = 0, ORIGIN_HELD = 1, ORIGIN_OWN = 2 };

struct work { /* one packet of a batch */
    struct packet packet;
    struct decision decision;
    uint32_t entry;      /* the worker's: hold entry of ORIGIN_HELD */
    uint32_t item;       /* the worker's: transmit item, or NO_ITEM */
    uint16_t ingress;    /* port */
    uint16_t answer;     /* index into the lookup's answers; of packets that were looked up */
    uint8_t origin;      /* enum work_origin */
    uint8_t unused[3];
};

struct decide_state { /* what is the same for a whole batch */
    struct fib_reader *fib; /* NULL: there is none */
    const struct own_addresses *own;
    uint32_t open_ports;    /* bit i: port i has a socket to send from */
    uint32_t unused;
};

struct lookup { /* room for one batch, and the generation it was answered from */
    struct fib_key key[BATCH_MAX];
    struct fib_answer answer[BATCH_MAX];
    uint16_t asked[BATCH_MAX]; /* work index of key[i] */
    uint64_t generation; /* 0: nothing was asked, or there was no answer */
};

struct own_error { /* an ICMP error on its way: Ethernet header (type only) and IP packet */
    uint8_t frame[ETHERNET_LENGTH + ICMP_ROOM];
    uint8_t source_mac[6]; /* back over a host port: the offending frame's MACs, swapped */
    uint8_t target_mac[6];
    uint32_t length;
    uint16_t ingress;
    uint8_t to_ingress;    /* 1: send out where the offender came in, without a lookup */
    uint8_t unused;
};

/* Fills `decision` of work[0..n), n <= BATCH_MAX. Returns how many were looked up. */
uint32_t decide_batch(const struct decide_state *state, struct work *work, uint32_t n,
                      struct lookup *lookup);
/* Builds the ICMP error that work->decision names, for a packet that icmp_may_answer(). 0;
 * -EADDRNOTAVAIL: no port has an address that may be its source; -EMSGSIZE: no packet to quote. */
int decide_error(struct fib_reader *fib, const struct work *work, struct own_error *error);
/* The error as work, for decide_batch() unless it goes back `to_ingress`. Points into *error. */
void decide_own(const struct own_error *error, uint64_t seed, struct work *work);

#endif
