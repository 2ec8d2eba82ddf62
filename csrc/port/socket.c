/* Opens packet sockets. See socket.h for the order and why. */
#include "port/socket.h"
#include "port/together.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000 /* Linux 5.16 */
#endif

enum {
    BLOCK_MIN = 1 << 16,
    SLOTS_A_BLOCK = 8, /* at least: what a power of two wastes stays below an eighth */
    SEND_BUFFER = 8 << 20, /* a batch of 64 KiB super-frames */
};

RC_STATIC_ASSERT(sizeof(struct port_instruction) == sizeof(struct sock_filter), "the kernel's");

int ring_geometry(uint32_t slots, uint32_t slot_bytes, struct ring_geometry *out)
{
    memset(out, 0, sizeof *out);
    if (slots < RING_SLOTS_MIN || slots > RING_SLOTS_MAX || slot_bytes < RING_SLOT_MIN ||
        slot_bytes > RING_SLOT_MAX || slot_bytes % TPACKET_ALIGNMENT != 0)
        return -EINVAL;
    uint32_t block = BLOCK_MIN;
    while (block < slot_bytes * SLOTS_A_BLOCK)
        block *= 2;
    out->slot_bytes = slot_bytes;
    out->block_bytes = block;
    out->slots_per_block = block / slot_bytes;
    out->blocks = (slots + out->slots_per_block - 1) / out->slots_per_block;
    out->slots = out->blocks * out->slots_per_block;
    out->bytes = (uint64_t)block * out->blocks;
    return out->bytes > (uint64_t)2 << 30 ? -E2BIG : 0;
}

static int set_packet(int fd, int option, int value)
{
    return setsockopt(fd, SOL_PACKET, option, &value, sizeof value) == 0 ? 0 : -errno;
}

static int make_ring(int fd, const struct ring_geometry *geometry)
{
    struct tpacket_req request = {
        .tp_block_size = geometry->block_bytes,
        .tp_block_nr = geometry->blocks,
        .tp_frame_size = geometry->slot_bytes,
        .tp_frame_nr = geometry->slots,
    };
    int error = set_packet(fd, PACKET_VERSION, TPACKET_V2);
    if (error == 0)
        error = set_packet(fd, PACKET_VNET_HDR, 1);
    if (error == 0)
        error = set_packet(fd, PACKET_IGNORE_OUTGOING, 1);
    if (error == 0 &&
        setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) != 0)
        error = -errno;
    return error;
}

static int attach(int fd, int level, int option, struct port_instruction *code, uint32_t length)
{
    struct sock_fprog program = {.len = (unsigned short)length,
                                 .filter = (struct sock_filter *)code};
    return setsockopt(fd, level, option, &program, sizeof program) == 0 ? 0 : -errno;
}

/* A fanout id is what getsockopt(PACKET_FANOUT) says: id, type and flags, just what the next
 * member has to give setsockopt. It is never 0, because the type is not. */
static int set_fanout(int fd, uint32_t flags, uint32_t id)
{
    uint32_t mode = PACKET_FANOUT_CBPF | flags;
    return set_packet(fd, PACKET_FANOUT, (int)((mode << 16) | (id & 0xffff)));
}

static int make_group(int fd, uint32_t *fanout_id)
{
    int error = set_fanout(fd, PACKET_FANOUT_FLAG_UNIQUEID | PACKET_FANOUT_FLAG_IGNORE_OUTGOING, 0);
    if (error == -EINVAL) /* before Linux 5.16 */
        error = set_fanout(fd, PACKET_FANOUT_FLAG_UNIQUEID, 0);
    if (error != 0)
        return error;
    int value = 0;
    socklen_t length = sizeof value;
    if (getsockopt(fd, SOL_PACKET, PACKET_FANOUT, &value, &length) != 0)
        return -errno;
    /* Until somebody steers there is no program: all goes to the first member, and who joins gets
     * nothing. The first program is put in without a grace period, as it replaces none. */
    *fanout_id = (uint32_t)value;
    return 0;
}

static int join_fanout(int fd, uint32_t *fanout_id)
{
    return *fanout_id == 0 ? make_group(fd, fanout_id)
                           : set_packet(fd, PACKET_FANOUT, (int)*fanout_id);
}

static void raise_send_buffer(int fd)
{
    int size = SEND_BUFFER;
    /* Without CAP_NET_ADMIN the second form gives what net.core.wmem_max allows. */
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

/* Whoever holds a copy of the descriptor can neither open the filter nor steer the group: from now
 * on the kernel refuses SO_ATTACH_FILTER, SO_DETACH_FILTER and PACKET_FANOUT_DATA on it. */
static int lock_filter(int fd)
{
    int on = 1;
    return setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof on) == 0 ? 0 : -errno;
}

static int closed_ring(int fd, const struct ring_geometry *geometry)
{
    struct port_instruction code[PORT_PROGRAM_MAX];
    int error = make_ring(fd, geometry);
    if (error == 0)
        error = attach(fd, SOL_SOCKET, SO_ATTACH_FILTER, code, port_closed_program(code));
    if (error == 0)
        raise_send_buffer(fd);
    return error;
}

int port_ring_open(uint32_t slots, uint32_t slot_bytes)
{
    struct ring_geometry geometry;
    int error = ring_geometry(slots, slot_bytes, &geometry);
    if (error != 0)
        return error;
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    error = closed_ring(fd, &geometry);
    if (error != 0) {
        close(fd);
        return error;
    }
    return fd;
}

struct ring_wanted {
    uint32_t slots;
    uint32_t slot_bytes;
    int32_t fd;
};

static void *open_one(void *argument)
{
    struct ring_wanted *wanted = argument;
    wanted->fd = port_ring_open(wanted->slots, wanted->slot_bytes);
    return NULL;
}

uint32_t port_rings_open(uint32_t slots, uint32_t slot_bytes, uint32_t count, int32_t *fd)
{
    struct ring_wanted wanted[PORT_RINGS_AT_ONCE];
    uint32_t n = count < PORT_RINGS_AT_ONCE ? count : PORT_RINGS_AT_ONCE;
    for (uint32_t i = 0; i < n; i++)
        wanted[i] = (struct ring_wanted){.slots = slots, .slot_bytes = slot_bytes};
    port_together(open_one, wanted, sizeof wanted[0], n);
    uint32_t made = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (wanted[i].fd >= 0)
            fd[made++] = wanted[i].fd;
    }
    return made;
}

static void *close_one(void *argument)
{
    const int32_t *fd = argument;
    (void)close(*fd);
    return NULL;
}

void port_sockets_close(int32_t *fd, uint32_t count)
{
    port_together(close_one, fd, sizeof *fd, count);
}

int port_socket_join(int fd, uint32_t ifindex, uint32_t kind, uint32_t worker, uint32_t workers,
                     uint32_t *fanout_id)
{
    struct port_instruction code[PORT_PROGRAM_MAX];
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(ETH_P_ALL),
                                  .sll_ifindex = (int)ifindex};
    if (worker >= workers || ifindex == 0 || ifindex > INT32_MAX)
        return -EINVAL;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return -errno;
    /* Binding to an interface that is down leaves ENETDOWN on the socket; before Linux 6.5 such a
     * socket cannot join a group either. Read here, so that the worker's first send is not it. */
    int pending = 0;
    socklen_t length = sizeof pending;
    (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &pending, &length);
    uint32_t id = *fanout_id;
    int error = join_fanout(fd, &id);
    if (error == -EINVAL && pending == ENETDOWN)
        error = -ENETDOWN;
    if (error == 0)
        error = attach(fd, SOL_SOCKET, SO_ATTACH_FILTER, code, port_filter_program(kind, code));
    if (error == 0)
        error = lock_filter(fd);
    if (error == 0)
        *fanout_id = id;
    return error;
}
