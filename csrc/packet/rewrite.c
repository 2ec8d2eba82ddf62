/* Builds the new headers of a forwarded packet, and says its size on the wire. See packet.h. */
#include "packet/checksum.h"
#include "packet/frame.h"
#include "packet/packet.h"

/* IPv4 header with options, or the fixed IPv6 header: what changes is in there. */
static uint32_t ip_header(const struct packet *p)
{
    return p->family == 4 ? (uint32_t)(p->frame[p->l3] & 15) * 4 : IPV6_HEADER;
}

static void decrement4(uint8_t *header)
{
    uint16_t before = load_raw16(header + 8);
    header[8]--;
    store_raw16(header + 10, checksum_update(load_raw16(header + 10), before,
                                             load_raw16(header + 8)));
}

uint32_t packet_rewrite(const struct packet *packet, const uint8_t target_mac[6],
                        const uint8_t source_mac[6], uint8_t *out, int decrement_ttl)
{
    if (packet->family == 0)
        return 0;
    /* csum_start and hdr_len count from the Ethernet header, whose size stays: they hold as they
     * are. DATA_VALID is the receiver's finding and means nothing to a sender. */
    struct vnet_header vnet = packet->vnet;
    vnet.flags &= VNET_NEEDS_CSUM;
    memcpy(out, &vnet, VNET_LENGTH);

    uint8_t *ethernet = out + VNET_LENGTH;
    memcpy(ethernet, target_mac, 6);
    memcpy(ethernet + 6, source_mac, 6);
    memcpy(ethernet + 12, packet->frame + 12, 2);

    uint8_t *header = ethernet + ETHERNET_LENGTH;
    uint32_t length = ip_header(packet);
    memcpy(header, packet->frame + packet->l3, length);
    if (decrement_ttl && packet->family == 4)
        decrement4(header);
    else if (decrement_ttl)
        header[7]--;
    return VNET_LENGTH + ETHERNET_LENGTH + length;
}

uint32_t packet_wire_size(const struct packet *packet)
{
    uint32_t network = (uint32_t)(packet->l4 - packet->l3), size;
    if (packet->vnet.gso_size == 0 || packet->l4 == 0)
        return packet->l3_length;
    switch (packet->vnet.gso_type & ~(uint32_t)VNET_GSO_ECN) {
    case VNET_GSO_TCPV4:
    case VNET_GSO_TCPV6:
    case VNET_GSO_UDP_L4:
        if (packet->l4_header == 0)
            return packet->l3_length;
        size = network + packet->l4_header + packet->vnet.gso_size;
        break;
    case VNET_GSO_UDP: /* fragments; IPv6 ones carry 8 bytes more that say so */
        size = network + packet->vnet.gso_size + (packet->family == 6 ? 8u : 0u);
        break;
    default:
        return packet->l3_length;
    }
    return size < packet->l3_length ? size : packet->l3_length;
}

int packet_too_big(const struct packet *packet, uint32_t mtu)
{
    return packet_wire_size(packet) > mtu;
}
