/* ICMP errors: from which address, with which bytes, back to whom. See decide.h.
 * The message itself is icmp_build()'s. */
#include <errno.h>
#include <string.h>

#include "base/address_class.h"
#include "decide/decide.h"

enum { MAC_LENGTH = 6, ETHERTYPE_AT = 12 };

static bool address_of_port(struct fib_reader *fib, uint32_t index, uint32_t family,
                            uint8_t out[16])
{
    struct fib_port port;
    if (fib_read_port(fib, index, &port) != 0)
        return false;
    uint32_t n = port.addresses < FIB_PORT_ADDRESSES ? port.addresses : FIB_PORT_ADDRESSES;
    for (uint32_t i = 0; i < n; i++) {
        /* A link-local one never leaves its link (RFC 4291 2.5.6, 3927 7); the error has to. */
        if (port.address[i].family != family ||
            address_class(family, port.address[i].address) == ADDRESS_LINK_LOCAL)
            continue;
        memcpy(out, port.address[i].address, sizeof port.address[i].address);
        return true;
    }
    return false;
}

/* RFC 1812 4.3.2.4 asks for an address of the egress or the ingress interface; traceroute and
 * people expect the ingress. A port without a global one of this family borrows any other port's. */
static bool own_address(struct fib_reader *fib, uint32_t ingress, uint32_t family, uint8_t out[16])
{
    if (address_of_port(fib, ingress, family, out))
        return true;
    for (uint32_t port = 0; port < FIB_MAX_PORTS; port++)
        if (address_of_port(fib, port, family, out))
            return true;
    return false;
}

int decide_error(struct fib_reader *fib, const struct work *work, struct own_error *error)
{
    const struct packet *packet = &work->packet;
    uint8_t address[16] = {0};
    if (fib == NULL || !own_address(fib, work->ingress, packet->family, address))
        return -EADDRNOTAVAIL;
    uint32_t length = icmp_build(packet, work->decision.error, work->decision.mtu, address,
                                 error->frame + ETHERNET_LENGTH, ICMP_ROOM);
    if (length == 0)
        return -EMSGSIZE;
    memset(error->frame, 0, ETHERTYPE_AT);
    error->frame[ETHERTYPE_AT] = packet->family == 4 ? 0x08 : 0x86;
    error->frame[ETHERTYPE_AT + 1] = packet->family == 4 ? 0x00 : 0xdd;
    error->length = ETHERNET_LENGTH + length;
    error->ingress = work->ingress;
    error->to_ingress = packet->host_port;
    memcpy(error->source_mac, packet->frame, MAC_LENGTH);
    memcpy(error->target_mac, packet->frame + MAC_LENGTH, MAC_LENGTH);
    return 0;
}

/* Parsed as if it came from the host, so that our addresses are no martians and the fresh TTL
 * stays. */
void decide_own(const struct own_error *error, uint64_t seed, struct work *work)
{
    work->origin = ORIGIN_OWN;
    work->ingress = error->ingress;
    packet_parse(&work->packet, error->frame, error->length, error->length, NULL, STATION_HOST,
                 seed, 1);
}
