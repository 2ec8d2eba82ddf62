/* Steers the frames of a port: which member of its fanout group gets which bucket of flows.
 *
 * Use: the supervisor opens one steering socket per port, after the workers' and thus the last
 * member, and keeps it to itself. Its filter is closed, the program never names it, and it alone is
 * not locked: the sockets that workers hold cannot steer. port_steer() gives all ports one table.
 *
 * The supervisor's, whose one thread it stops for a grace period of the kernel (8 to 25 ms).
 */
#ifndef RC_PORT_STEER_H
#define RC_PORT_STEER_H
#include "base/base.h"
#include "port/filter.h"

enum { PORT_STEER_MAX = 64 }; /* ports at once */

/* Joins the group `fanout_id` (see port_socket_open) of an interface. A descriptor or -errno:
 * -EPERM without CAP_NET_RAW, -EINVAL when there is no such group. */
int port_steer_open(uint32_t ifindex, uint32_t fanout_id);

/* Bucket b of the groups of all these sockets goes to member[b]; PORT_BUCKETS entries. The new table
 * holds at once; when it returns, no frame is on its way by the old one any more. error[i] is 0 or
 * the -errno of fd[i]: -EPERM when that socket is locked, -EINVAL when it is in no group. */
void port_steer(const int32_t *fd, uint32_t count, const uint16_t *member, uint32_t seed,
                int32_t *error);

#endif
