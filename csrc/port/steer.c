/* Steering sockets: open one, give groups a table. See steer.h. */
#include "port/steer.h"
#include "port/together.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <unistd.h>

struct change {
    int32_t fd;
    int32_t error;
    const struct sock_fprog *program;
};

static int join(int fd, uint32_t ifindex, uint32_t fanout_id)
{
    struct port_instruction closed[1];
    struct sock_fprog program = {.len = (unsigned short)port_closed_program(closed),
                                 .filter = (struct sock_filter *)closed};
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(ETH_P_ALL),
                                  .sll_ifindex = (int)ifindex};
    int id = (int)fanout_id;
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &id, sizeof id) != 0)
        return -errno;
    return 0;
}

int port_steer_open(uint32_t ifindex, uint32_t fanout_id)
{
    if (ifindex == 0 || ifindex > INT32_MAX || fanout_id == 0)
        return -EINVAL;
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int error = join(fd, ifindex, fanout_id);
    if (error != 0) {
        close(fd);
        return error;
    }
    return fd;
}

static void *steer_one(void *argument)
{
    struct change *change = argument;
    int done = setsockopt(change->fd, SOL_PACKET, PACKET_FANOUT_DATA, change->program,
                          sizeof *change->program);
    change->error = done == 0 ? 0 : -errno;
    return NULL;
}

/* The kernel waits for a grace period in each call: they share one. */
void port_steer(const int32_t *fd, uint32_t count, const uint16_t *member, uint32_t seed,
                int32_t *error)
{
    struct port_instruction code[PORT_PROGRAM_MAX];
    struct sock_fprog program = {.filter = (struct sock_filter *)code};
    struct change change[PORT_STEER_MAX];
    program.len = (unsigned short)port_fanout_program(member, seed, code);
    uint32_t n = count < PORT_STEER_MAX ? count : PORT_STEER_MAX;
    for (uint32_t i = 0; i < n; i++)
        change[i] = (struct change){.fd = fd[i], .program = &program};
    port_together(steer_one, change, sizeof change[0], n);
    for (uint32_t i = 0; i < count; i++)
        error[i] = i < n ? change[i].error : -E2BIG;
}
