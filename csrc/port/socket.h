/* Opens a port: one packet socket with a receive ring for one (port, worker).
 *
 * Use: the supervisor calls port_ring_open() and port_socket_join() once per worker, in worker order,
 * and keeps the descriptors; workers get copies over the channel and only map the ring (ring.h).
 * Everything that needs CAP_NET_RAW happens here, so a worker can drop all capabilities.
 *
 *     open: socket(protocol 0) -> V2, VNET_HDR, ring -> closed filter
 *     join: bind -> join fanout -> filter -> locked
 *
 * The first half knows no interface, and the kernel waits for a grace period in it (8 to 60 ms):
 * port_rings_open() makes several in the time of one, before anybody asks for a port. The second
 * takes microseconds.
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

enum { PORT_RINGS_AT_ONCE = 64 };

/* A non-blocking, close-on-exec socket with a ring and a closed filter, of no interface yet. -EPERM
 * without CAP_NET_RAW, -ENOMEM no memory for the ring, -EINVAL or -E2BIG bad geometry. */
int port_ring_open(uint32_t slots, uint32_t slot_bytes);
/* `count` of them at once, PORT_RINGS_AT_ONCE at most: returns how many there are, their descriptors
 * in fd[0] and on. What could not be had is not told: ask port_ring_open(). */
uint32_t port_rings_open(uint32_t slots, uint32_t slot_bytes, uint32_t count, int32_t *fd);
/* Makes a socket of port_ring_open() that of `worker` (0..workers-1) on an interface: it receives.
 * *fanout_id: 0 for the port's first socket, which gets it filled; the others pass it on. It is the
 * whole word of getsockopt(PACKET_FANOUT), so that it can be read back from any member.
 * 0 or -errno: -ENODEV no such interface, -ENETDOWN it is down and this kernel wants it up (try again
 * then). After an error the socket is of no use but to be closed. */
int port_socket_join(int fd, uint32_t ifindex, uint32_t kind, uint32_t worker, uint32_t workers,
                     uint32_t *fanout_id);
/* Closes sockets in the time of one; in whichever order, so only all of a group. */
void port_sockets_close(int32_t *fd, uint32_t count);

#endif
