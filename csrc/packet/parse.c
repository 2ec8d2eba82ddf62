/* packet_parse(): one ring slot in, one struct packet with its verdict out. See packet.h.
 *
 * Order: Ethernet, header checks (version, lengths, checksum, options), transport header for the
 * flow hash, then the verdict by addresses (classify.c). A field of *packet is set only
 * once it was read from captured bytes; `family` not 0 means the IP header was captured whole,
 * `l3_length` not 0 that it passed its length checks.
 */
#include "packet/checksum.h"
#include "packet/frame.h"
#include "packet/packet.h"
#include "packet/steps.h"

/* `needed` bytes from the IP header on were not captured: cut by the slot, or never there. */
static int too_short(struct packet *p, uint32_t needed)
{
    return packet_drop(p, p->wire_length - p->l3 >= needed ? DROP_TRUNCATED : DROP_BAD_LENGTH);
}

/* The end of what may be read: of the IP packet, or of the capture when the slot cut it. */
static uint32_t readable(const struct packet *p)
{
    uint32_t end = p->l3 + p->l3_length;
    return end < p->length ? end : p->length;
}

static bool is_gso_tcp(const struct packet *p)
{
    uint32_t type = p->vnet.gso_type & ~(uint32_t)VNET_GSO_ECN;
    return p->vnet.gso_size != 0 && (type == VNET_GSO_TCPV4 || type == VNET_GSO_TCPV6);
}

/* The length field against what arrived. More bytes than the field says is Ethernet padding. A
 * super-frame above 64 KiB has no number for its length and says 0 (Linux "BIG TCP"). */
static int check_length(struct packet *p, uint32_t header, uint32_t length, bool field_is_zero)
{
    uint32_t arrived = p->wire_length - p->l3;
    if (field_is_zero && is_gso_tcp(p))
        length = arrived;
    if (length < header || length > arrived)
        return packet_drop(p, DROP_BAD_LENGTH);
    p->l3_length = length;
    p->send_length = p->l3 + length;
    return PACKET_FORWARD;
}

/* Ports and header length, as far as they are inside the packet and captured. */
static void parse_transport(struct packet *p, uint32_t at)
{
    uint32_t end = readable(p);
    if (at >= end)
        return;
    p->l4 = (uint16_t)at;
    const uint8_t *h = p->frame + at;
    uint32_t room = end - at;
    switch (p->protocol) {
    case PROTOCOL_TCP:
        if (room >= TCP_HEADER && (h[12] >> 4) * 4 >= TCP_HEADER &&
            (uint32_t)(h[12] >> 4) * 4 <= room)
            p->l4_header = (uint8_t)((h[12] >> 4) * 4);
        break;
    case PROTOCOL_UDP:
    case PROTOCOL_UDPLITE:
        p->l4_header = room >= UDP_HEADER ? UDP_HEADER : 0;
        break;
    case PROTOCOL_SCTP:
    case PROTOCOL_DCCP:
        break;
    default:
        return;
    }
    if (room >= 4) {
        p->source_port = get16(h);
        p->target_port = get16(h + 2);
    }
}

/* RFC 791 options. Source routes are refused (RFC 6274 3.13.2.3); so is an area that cannot be
 * read, where one could hide. Everything else passes unread. */
static bool options_pass(const uint8_t *option, uint32_t length)
{
    enum { END = 0, NOP = 1, LSRR = 131, SSRR = 137 };
    for (uint32_t i = 0; i < length;) {
        uint8_t type = option[i];
        if (type == END)
            return true;
        if (type == NOP) {
            i++;
            continue;
        }
        if (type == LSRR || type == SSRR || length - i < 2)
            return false;
        uint32_t size = option[i + 1];
        if (size < 2 || size > length - i)
            return false;
        i += size;
    }
    return true;
}

/* RFC 1812 5.2.2. */
static int parse_ipv4(struct packet *p)
{
    if (p->length - p->l3 < IPV4_HEADER)
        return too_short(p, IPV4_HEADER);
    const uint8_t *h = p->frame + p->l3;
    if (h[0] >> 4 != 4)
        return packet_drop(p, DROP_BAD_VERSION);
    uint32_t header = (uint32_t)(h[0] & 15) * 4;
    if (header < IPV4_HEADER)
        return packet_drop(p, DROP_BAD_LENGTH);
    if (p->length - p->l3 < header)
        return too_short(p, header);
    p->family = 4;
    p->traffic_class = h[1];
    p->ttl = h[8];
    p->protocol = h[9];
    memcpy(p->source, h + 12, 4);
    memcpy(p->target, h + 16, 4);
    if (checksum_finish(checksum_partial(h, header, 0)) != 0)
        return packet_drop(p, DROP_BAD_CHECKSUM);
    uint32_t length = get16(h + 2);
    if (check_length(p, header, length, length == 0) != PACKET_FORWARD)
        return PACKET_DROP;

    uint32_t fragment = get16(h + 6);
    p->dont_fragment = fragment >> 14 & 1;
    if (fragment & 0x1fff)
        p->fragment = FRAGMENT_LATER;
    else if (fragment & 0x2000)
        p->fragment = FRAGMENT_FIRST;
    if (header > IPV4_HEADER && !options_pass(h + IPV4_HEADER, header - IPV4_HEADER))
        return packet_drop(p, DROP_OPTIONS);
    if (p->fragment != FRAGMENT_LATER)
        parse_transport(p, p->l3 + header);
    return PACKET_FORWARD;
}

/* Follows the chain to the transport header, at most PACKET_EXTENSIONS long. A router leaves
 * the chain alone (RFC 8200 4), so one that ends nowhere only means that the flow hashes
 * without ports; the hop-by-hop header is the exception and has to be inside the packet. */
static int parse_extensions(struct packet *p)
{
    uint32_t at = (uint32_t)p->l3 + IPV6_HEADER, end = readable(p);
    for (uint32_t i = 0; i < PACKET_EXTENSIONS; i++) {
        const uint8_t *h = p->frame + at;
        uint32_t size = end - at >= 8 ? ((uint32_t)h[1] + 1) * 8 : 8;
        switch (p->protocol) {
        case PROTOCOL_HOP_BY_HOP:
        case PROTOCOL_ROUTING:
        case PROTOCOL_DESTINATION:
        case PROTOCOL_MOBILITY:
        case PROTOCOL_HIP:
        case PROTOCOL_SHIM6:
            break;
        case PROTOCOL_AH:
            size = end - at >= 8 ? ((uint32_t)h[1] + 2) * 4 : 8;
            break;
        case PROTOCOL_FRAGMENT:
            size = 8;
            break;
        default:
            parse_transport(p, at);
            return PACKET_FORWARD;
        }
        if (size > end - at) {
            if (p->protocol == PROTOCOL_HOP_BY_HOP && i == 0 && end == p->send_length)
                return packet_drop(p, DROP_BAD_LENGTH);
            return PACKET_FORWARD;
        }
        if (p->protocol == PROTOCOL_FRAGMENT) {
            /* Offset 0 without M is an atomic fragment (RFC 6946), a whole packet. */
            uint32_t fragment = get16(h + 2);
            if (fragment >> 3 != 0)
                p->fragment = FRAGMENT_LATER;
            else if (fragment & 1)
                p->fragment = FRAGMENT_FIRST;
        }
        p->protocol = h[0];
        at += size;
        if (p->fragment == FRAGMENT_LATER)
            return PACKET_FORWARD;
    }
    return PACKET_FORWARD;
}

/* RFC 8200 3. */
static int parse_ipv6(struct packet *p)
{
    if (p->length - p->l3 < IPV6_HEADER)
        return too_short(p, IPV6_HEADER);
    const uint8_t *h = p->frame + p->l3;
    if (h[0] >> 4 != 6)
        return packet_drop(p, DROP_BAD_VERSION);
    p->family = 6;
    p->traffic_class = (uint8_t)(h[0] << 4 | h[1] >> 4);
    p->ttl = h[7];
    p->protocol = h[6];
    p->dont_fragment = 1;
    memcpy(p->source, h + 8, 16);
    memcpy(p->target, h + 24, 16);
    uint32_t payload = get16(h + 4);
    if (check_length(p, IPV6_HEADER, IPV6_HEADER + payload, payload == 0) != PACKET_FORWARD)
        return PACKET_DROP;
    return parse_extensions(p);
}

static int parse_frame(struct packet *p, uint64_t seed)
{
    if (p->length < ETHERNET_LENGTH)
        return packet_drop(p, DROP_BAD_LENGTH);
    if (p->station == STATION_OTHER && !p->host_port)
        return packet_drop(p, DROP_NOT_FOR_US);
    p->l3 = ETHERNET_LENGTH;
    int verdict;
    switch (get16(p->frame + 12)) {
    case ETHERTYPE_IPV4:
        verdict = parse_ipv4(p);
        break;
    case ETHERTYPE_IPV6:
        verdict = parse_ipv6(p);
        break;
    case ETHERTYPE_ARP:
        return PACKET_DELIVER;
    default:
        return packet_drop(p, DROP_UNKNOWN_ETHERTYPE);
    }
    if (verdict != PACKET_FORWARD)
        return verdict;
    /* All fragments of a packet take one path, and only the first has ports. */
    bool whole = p->fragment == FRAGMENT_NONE;
    p->hash = flow_hash(seed, p->family, p->source, p->target, whole ? p->protocol : 0,
                        whole ? p->source_port : 0, whole ? p->target_port : 0);
    return packet_classify(p);
}

int packet_parse(struct packet *packet, const void *frame, uint32_t captured, uint32_t wire_length,
                 const void *vnet, uint32_t station, uint64_t seed, int host_port)
{
    memset(packet, 0, sizeof *packet);
    packet->frame = frame;
    packet->length = captured;
    packet->wire_length = wire_length > captured ? wire_length : captured;
    packet->station = (uint8_t)(station < STATION_OTHER ? station : STATION_OTHER);
    packet->host_port = host_port != 0;
    if (vnet != NULL)
        memcpy(&packet->vnet, vnet, VNET_LENGTH);
    packet->verdict = (uint8_t)parse_frame(packet, seed);
    return packet->verdict;
}
