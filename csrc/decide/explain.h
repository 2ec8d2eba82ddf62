/* One packet that does not exist, decided on as a worker would: for control's `explain`.
 *
 *     explain_frame(reader, &question, &answer)
 *     answer.work.packet -> .decision -> .lookup, .match -> .error, .icmp -> its own decision
 *
 * Calls what the workers call: packet_parse(), decide_batch(), decide_error() (decide.h). Changes
 * nothing: the FIB is read, the answer is the caller's memory. Any process with a reader.
 * What a worker knows and this does not: its ICMP limits, its queues, and for 10 ms at most own
 * addresses older than the FIB's.
 */
#ifndef RC_EXPLAIN_H
#define RC_EXPLAIN_H
#include "decide/decide.h"
#include "layout/row_layout.h"

struct explain_question {
    const uint8_t *frame; /* Ethernet header */
    const uint8_t *vnet;  /* struct vnet_header; NULL: no offloads */
    uint64_t seed;        /* of the flow hash */
    uint32_t captured;    /* bytes at frame */
    uint32_t wire_length;
    uint32_t station;     /* enum packet_station */
    uint32_t ingress;     /* port; FIB_MAX_PORTS: not said */
    uint32_t is_host;     /* 1: it is a host port */
    uint32_t open_ports;  /* bit i: workers have a socket on port i */
};

/* What becomes of the ICMP error that a decision calls for. */
enum explain_error {
    EXPLAIN_ERROR_NONE = 0,       /* the decision calls for none */
    EXPLAIN_ERROR_FORBIDDEN = 1,  /* about such a packet none may be sent: icmp_may_answer() */
    EXPLAIN_ERROR_IMPOSSIBLE = 2, /* no address to send it from */
    EXPLAIN_ERROR_DECIDED = 3,    /* within the limits it is handled as icmp_work.decision says */
};

struct explain_answer {
    struct work work;              /* the packet, its frame the question's, and the decision */
    struct fib_answer lookup;      /* zeros: not looked up */
    struct route_row match;        /* the prefix that matched; nexthop 0: none */
    uint64_t generation;
    uint32_t looked_up;            /* 1 */
    uint32_t error;                /* enum explain_error */
    struct own_error icmp;         /* error EXPLAIN_ERROR_DECIDED: the message */
    struct work icmp_work;         /* and what becomes of it; its frame is icmp.frame */
    struct fib_answer icmp_lookup; /* SEND, HOLD: where to */
};

/* 0, or -EAGAIN: the FIB changed under every attempt, or its lock was not to be had. */
int explain_frame(struct fib_reader *fib, const struct explain_question *question,
                  struct explain_answer *answer);

#endif
