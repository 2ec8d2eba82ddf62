/* packet_finish_checksum(): makes a packet what the wire would show. See packet.h.
 *
 * Inside a machine, Linux leaves two things to the last hop: the L4 checksum (the field holds the
 * folded pseudo-header sum, the vnet header says where), and cutting a super-frame (GSO). An ICMP
 * error that quotes such a packet needs both first, for the bytes it quotes. The rules are those
 * of the kernel's skb_checksum_help() and tcp_gso_segment(), so that the sender's stack recognises
 * its own segment: first segment, FIN and PSH left to the last one.
 */
#include "packet/checksum.h"
#include "packet/frame.h"
#include "packet/packet.h"

enum { TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_CHECKSUM_AT = 16, UDP_CHECKSUM_AT = 6 };

/* Both families write words into a copy that may have been cut anywhere. */
static void patch(uint8_t *out, uint32_t written, uint32_t at, const uint8_t *bytes, uint32_t n)
{
    for (uint32_t i = 0; i < n && at + i < written; i++)
        out[at + i] = bytes[i];
}

static bool partial_checksum(const struct packet *p, uint32_t *field)
{
    uint32_t start = p->vnet.csum_start;
    *field = start + p->vnet.csum_offset;
    return (p->vnet.flags & VNET_NEEDS_CSUM) && start >= p->l3 && *field + 2 <= p->send_length;
}

/* A sum of 0 would say "no checksum" in UDP; 0xffff is the same number (RFC 768). */
static uint16_t finish_nonzero(uint32_t sum)
{
    uint16_t check = checksum_finish(sum);
    return check != 0 ? check : 0xffff;
}

static void finish_whole(const struct packet *p, uint8_t *out, uint32_t written)
{
    uint32_t field;
    if (!partial_checksum(p, &field))
        return;
    uint32_t start = p->vnet.csum_start;
    uint16_t check = finish_nonzero(checksum_partial(p->frame + start, p->send_length - start, 0));
    patch(out, written, field - p->l3, (const uint8_t *)&check, 2);
}

static uint32_t length_sum(uint32_t length)
{
    uint8_t bytes[4];
    put32(bytes, length);
    return checksum_partial(bytes, 4, 0);
}

/* The sum the segment's checksum starts from. A partial field holds it for the whole super-frame
 * (with a routing header only the sender knew the final address), so only the length changes. */
static uint32_t segment_pseudo(const struct packet *p, uint32_t check_at, uint32_t l4_length)
{
    uint32_t field, whole = p->send_length - p->l4;
    if (!partial_checksum(p, &field) || field != p->l4 + check_at)
        return checksum_pseudo(p->family, p->source, p->target, p->protocol, l4_length);
    uint32_t sum = load_raw16(p->frame + field);
    sum += (uint16_t)~checksum_fold(length_sum(whole));
    return sum + checksum_fold(length_sum(l4_length));
}

static void finish_segment(const struct packet *p, uint32_t segment, uint8_t *out,
                           uint32_t written)
{
    bool tcp = p->protocol == PROTOCOL_TCP;
    uint32_t network = (uint32_t)(p->l4 - p->l3);
    uint32_t l4_length = segment - network, header = p->l4_header;
    uint32_t check_at = tcp ? TCP_CHECKSUM_AT : UDP_CHECKSUM_AT;

    uint8_t l4[60]; /* the longest TCP header */
    memcpy(l4, p->frame + p->l4, header);
    bool has_checksum = tcp || load_raw16(l4 + check_at) != 0;
    if (tcp)
        l4[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
    else
        put16(l4 + 4, l4_length);
    if (has_checksum) {
        store_raw16(l4 + check_at, 0);
        uint32_t sum = segment_pseudo(p, check_at, l4_length);
        sum = checksum_partial(l4, header, sum);
        sum = checksum_partial(p->frame + p->l4 + header, l4_length - header, sum);
        store_raw16(l4 + check_at, finish_nonzero(sum));
    }
    patch(out, written, network, l4, header);

    uint8_t length[2];
    if (p->family == 6) {
        put16(length, segment - IPV6_HEADER);
        patch(out, written, 4, length, 2);
        return;
    }
    const uint8_t *h = p->frame + p->l3;
    put16(length, segment);
    uint16_t check = checksum_update(load_raw16(h + 10), load_raw16(h + 2), load_raw16(length));
    patch(out, written, 2, length, 2);
    patch(out, written, 10, (const uint8_t *)&check, 2);
}

uint32_t packet_finish_checksum(const struct packet *packet, uint8_t *out, uint32_t room)
{
    /* Nothing to sum over when the slot cut the frame. */
    if (packet->family == 0 || packet->l3_length == 0 || packet->send_length > packet->length)
        return 0;
    /* UFO stays a datagram: its fragments exist on no wire before ours, and the sender knows the
     * datagram. */
    uint32_t type = packet->vnet.gso_type & ~(uint32_t)VNET_GSO_ECN;
    uint32_t segment = type == VNET_GSO_UDP ? packet->l3_length : packet_wire_size(packet);
    uint32_t written = segment < room ? segment : room;
    memcpy(out, packet->frame + packet->l3, written);
    if (segment < packet->l3_length)
        finish_segment(packet, segment, out, written);
    else
        finish_whole(packet, out, written);
    return written;
}
