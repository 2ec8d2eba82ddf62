/* One event that a worker reports: 64 bytes over the SysV queue, mtype = urgency.
 *
 *   mtype   0        2       4        8          16         24                    64
 *   (long)  +--------+-------+--------+----------+----------+---------------------+
 *           |version | type  | worker | sequence | mono ns  | payload (by type)   |
 *           +--------+-------+--------+----------+----------+---------------------+
 *
 * Workers send with IPC_NOWAIT only; what does not fit is counted and later announced by one
 * EVENT_LOST. The receiver takes the lowest mtype first (msgrcv with a negative type), skips
 * and counts unknown versions and types, and trusts no field. Multi-byte fields are host-endian
 * (both ends are this machine); addresses are network order.
 */
#ifndef RC_EVENT_LAYOUT_H
#define RC_EVENT_LAYOUT_H
#include "base/base.h"

enum { EVENT_VERSION = 1, EVENT_SIZE = 64 };

/* mtype: lower is more urgent. */
enum event_urgency {
    URGENCY_FAULT = 1,
    URGENCY_LINK = 2,
    URGENCY_NEIGHBOUR = 3,
    URGENCY_STATE = 4,
    URGENCY_INFO = 5,
};

enum event_type {
    EVENT_WORKER_READY = 1,    /* STATE: attached to the FIB, payload.generation */
    EVENT_WORKER_FAULT = 2,    /* FAULT: payload.code, an errno or an enum worker_fault */
    EVENT_PORT_ERROR = 3,      /* LINK: payload.port, payload.code = errno of the socket */
    EVENT_NEIGHBOUR_MISS = 4,  /* NEIGHBOUR: payload.port, family, address */
    EVENT_LOST = 5,            /* INFO: payload.count events were dropped, queue full */
};

/* payload.code of EVENT_WORKER_FAULT, beyond every errno. */
enum worker_fault {
    WORKER_FAULT_MESSAGE = 10001,  /* what the supervisor said could not be done; the log has it */
    WORKER_FAULT_INJECTED = 10002, /* asked for under `--teach`: it follows at once */
};

struct event_payload {
    uint64_t count;
    uint64_t generation;
    uint8_t address[16];
    uint16_t port;
    uint8_t family;
    uint8_t unused;
    int32_t code;
};
RC_STATIC_ASSERT(sizeof(struct event_payload) == 40, "payload fills the record");

struct event_record {
    uint16_t version; /* EVENT_VERSION */
    uint16_t type;    /* enum event_type */
    uint32_t worker;
    uint64_t sequence; /* per worker, +1 each; a gap means loss */
    uint64_t mono_ns;  /* CLOCK_MONOTONIC at the sender */
    struct event_payload payload;
};
RC_STATIC_ASSERT(sizeof(struct event_record) == 64, "EVENT_SIZE");

/* What the layout identity is made of, see layout/identity.h. */
#define EVENT_LAYOUT                                                                             \
    LAYOUT_STRUCT(event_payload, count, generation, address, port, family, unused, code)         \
    LAYOUT_STRUCT(event_record, version, type, worker, sequence, mono_ns, payload)               \
    LAYOUT_NUMBER(EVENT_VERSION) LAYOUT_NUMBER(EVENT_SIZE)

#endif
