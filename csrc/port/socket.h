/* Opens a port: one packet socket with a receive ring for one (port, worker).
 *
 * Use: the supervisor calls port_socket_open() once per worker, in worker order, and keeps the
 * descriptors; workers get copies over the channel and only map the ring (ring.h). Everything
 * that needs CAP_NET_RAW happens here, so a worker can drop all capabilities.
 *
 *     socket(protocol 0) -> V2, VNET_HDR, ring -> closed filter -> bind -> join fanout -> filter
 *         -> locked
 *
 * The order is the point. Protocol 0 and a filter before bind: no frame of another interface is
 * ever queued. VNET_HDR before the ring: EBUSY after. The closed filter until the socket is in
 * its group: a bound socket outside it would get a second copy of every frame. It gets no frame
 * then either, until the program of the group names it (steer.h): by that time its filter is open
 * and its worker is there.
 *
 * One fanout group per port; member i is worker i because they join in that order, and the member
 * that steers (steer.h) is the last. Closing a member moves the last one into its place and loses
 * what its ring held; an interface that goes down and up again takes all of them out and lets
 * them in in the order they were made. So that both agree, members are closed from the end only.
 */
#ifndef RC_PORT_SOCKET_H
#define RC_PORT_SOCKET_H
#include "base/base.h"
#include "port/filter.h"

struct ring_geometry { /* of a V2 ring: blocks of whole slots */
    uint32_t slot_bytes;
    uint32_t slots;       /* may be more than asked for: whole blocks */
    uint32_t block_bytes;
    uint32_t blocks;
    uint32_t slots_per_block;
    uint32_t unused;
    uint64_t bytes;       /* of the whole ring, what is mapped */
};

enum {
    RING_SLOT_MIN = 256,
    RING_SLOT_MAX = 1 << 20,
    RING_SLOTS_MIN = 2,
    RING_SLOTS_MAX = 1 << 16,
};

/* What a request of slots x slot_bytes becomes; supervisor and worker compute the same.
 * -EINVAL: out of the bounds above, or slot_bytes is not a multiple of 16; -E2BIG: over 2 GiB. */
int ring_geometry(uint32_t slots, uint32_t slot_bytes, struct ring_geometry *out);

/* Opens the socket of `worker` (0..workers-1) on an interface and starts receiving.
 * *fanout_id: 0 for the port's first socket, which gets it filled; the others pass it on. It is the
 * whole word of getsockopt(PACKET_FANOUT), so that it can be read back from any member.
 * Returns a non-blocking, close-on-exec descriptor or -errno: -EPERM without CAP_NET_RAW, -ENODEV
 * no such interface, -ENETDOWN it is down and this kernel wants it up (try again then), -ENOMEM
 * no memory for the ring, -EINVAL bad geometry. */
int port_socket_open(uint32_t ifindex, uint32_t kind, uint32_t slots, uint32_t slot_bytes,
                     uint32_t worker, uint32_t workers, uint32_t *fanout_id);

#endif
