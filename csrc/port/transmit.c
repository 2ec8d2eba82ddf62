/* Sends a batch, one sendmmsg() a port. See transmit.h. */
#include "port/transmit.h"

#include <errno.h>
#include <string.h>

void transmit_begin(struct transmit *transmit)
{
    transmit->count = 0;
    transmit->ports = 0;
    memset(transmit->error, 0, sizeof transmit->error);
}

uint32_t transmit_add(struct transmit *transmit, const struct packet *packet,
                      const struct transmit_way *way, int decrement_ttl)
{
    uint32_t i = transmit->count++;
    uint32_t built = packet_rewrite(packet, way->target_mac, way->source_mac, transmit->scratch[i],
                                    decrement_ttl);
    uint32_t replaced = built - VNET_LENGTH;
    transmit->part[i][0] = (struct iovec){transmit->scratch[i], built};
    transmit->part[i][1] =
        (struct iovec){(void *)(uintptr_t)(packet->frame + replaced), packet->send_length - replaced};
    transmit->bytes[i] = packet->send_length;
    transmit->port[i] = way->port;
    transmit->outcome[i] = DROP_NONE;
    transmit->ports |= 1u << way->port;
    return i;
}

static enum drop_reason reason_of(int error)
{
    switch (error) {
    case EAGAIN: /* the socket's send buffer is full */
    case ENOBUFS: /* the queue of the interface is full */
    case ENOMEM:
        return DROP_TX_FULL;
    case ENETDOWN:
    case ENXIO:
    case ENODEV:
    case EBADF:
        return DROP_PORT_DOWN;
    default:
        return DROP_TX_ERROR;
    }
}

static void send_port(struct transmit *transmit, uint32_t port, int fd, uint32_t n)
{
    uint32_t done = 0;
    uint32_t failures = 0;
    while (done < n) {
        int sent = fd < 0 ? -1 : sendmmsg(fd, transmit->message + done, n - done,
                                          MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            done += (uint32_t)sent;
            failures = 0;
            continue;
        }
        int error = fd < 0 ? ENODEV : errno;
        enum drop_reason reason = reason_of(error);
        transmit->error[port] = error;
        transmit->outcome[transmit->order[done++]] = (uint8_t)reason;
        if (reason == DROP_PORT_DOWN || ++failures == TRANSMIT_FAILURES)
            while (done < n)
                transmit->outcome[transmit->order[done++]] = (uint8_t)reason;
    }
}

void transmit_flush(struct transmit *transmit, const int32_t fd[FIB_MAX_PORTS])
{
    for (uint32_t ports = transmit->ports; ports != 0; ports &= ports - 1) {
        uint32_t port = (uint32_t)__builtin_ctz(ports);
        uint32_t n = 0;
        for (uint32_t i = 0; i < transmit->count; i++) {
            if (transmit->port[i] != port)
                continue;
            transmit->message[n].msg_hdr =
                (struct msghdr){.msg_iov = transmit->part[i], .msg_iovlen = 2};
            transmit->order[n++] = (uint16_t)i;
        }
        send_port(transmit, port, fd[port], n);
    }
    transmit->ports = 0;
}
