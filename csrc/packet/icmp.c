/* icmp_build(): builds ICMP errors about packets that could not go on. See packet.h. */
#include "base/address_class.h"
#include "packet/checksum.h"
#include "packet/frame.h"
#include "packet/packet.h"

enum {
    ICMP_HEADER = 8,
    ICMPV4_MAX = 576,  /* RFC 1812 4.3.2.3 */
    ICMPV6_MAX = 1280, /* RFC 4443 2.4 c */
    ICMP_TTL = 64,
    /* RFC 1812 4.3.2.5 asks for precedence 6 in IPv4; that is class selector 6 (RFC 2474), and
     * the same for IPv6, where no RFC asks for anything. ECN stays "not capable". */
    ICMP_CLASS = 0xc0,
    TRANSPORT_QUOTED = 8, /* RFC 792's minimum: enough to find the socket */
};

struct icmp_kind {
    uint8_t type4, code4, type6, code6;
};

static const struct icmp_kind *kind_of(uint32_t what)
{
    static const struct icmp_kind kinds[] = {
        [ICMP_ERROR_NO_ROUTE] = {3, 0, 1, 0},    [ICMP_ERROR_UNREACHABLE] = {3, 1, 1, 3},
        [ICMP_ERROR_PROHIBITED] = {3, 13, 1, 1}, [ICMP_ERROR_TOO_BIG] = {3, 4, 2, 0},
        [ICMP_ERROR_TIME_EXCEEDED] = {11, 0, 3, 0},
    };
    if (what == 0 || what >= sizeof kinds / sizeof kinds[0])
        return NULL;
    return &kinds[what];
}

/* ICMP messages one may answer with an error: the questions and answers. Everything else counts
 * as an error, known or not, so that two routers can not keep a loop of errors alive. */
static bool icmp_is_query(const struct packet *p)
{
    if (p->l4 == 0 || p->l4 >= p->length)
        return false;
    uint8_t type = p->frame[p->l4];
    if (p->protocol == PROTOCOL_ICMPV6) /* RFC 4443 2.1: informational; 137 is redirect */
        return type >= 128 && type != 137;
    switch (type) {
    case 0: case 8:                     /* echo */
    case 9: case 10:                    /* router discovery */
    case 13: case 14:                   /* timestamp */
    case 15: case 16: case 17: case 18: /* information, address mask */
    case 42: case 43:                   /* extended echo, RFC 8335 */
        return true;
    default:
        return false;
    }
}

/* RFC 1812 4.3.2.7 and 1122 3.2.2; RFC 4443 2.4 e. IPv6 would allow errors about later fragments;
 * the first one meets the same fate, so nobody goes without. */
int icmp_may_answer(const struct packet *p)
{
    if (p->verdict != PACKET_FORWARD || p->family == 0 || p->fragment == FRAGMENT_LATER)
        return false;
    /* The verdict already rules out broadcast and multicast, at either layer. The source is
     * checked here because a host port lets every source in. */
    if (address_class(p->family, p->source) != ADDRESS_UNICAST)
        return false;
    /* A chain that was not followed to its end could hide an ICMP error. */
    if (p->family == 6 && p->l4 == 0 && p->protocol != PROTOCOL_NONE)
        return false;
    bool icmp = p->protocol == (p->family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6);
    return !icmp || icmp_is_query(p);
}

static void header4(uint8_t *out, uint32_t length, const struct packet *p, const uint8_t *source)
{
    memset(out, 0, IPV4_HEADER);
    out[0] = 0x45;
    out[1] = ICMP_CLASS;
    put16(out + 2, length);
    /* May be fragmented on its way, so it wants an identification: the quoted packet's own is as
     * unlike its predecessor's as the sender made it; the hash parts his flows. */
    put16(out + 4, (get16(p->frame + p->l3 + 4) ^ p->hash) & 0xffff);
    out[8] = ICMP_TTL;
    out[9] = PROTOCOL_ICMP;
    memcpy(out + 12, source, 4);
    memcpy(out + 16, p->source, 4);
    store_raw16(out + 10, checksum_finish(checksum_partial(out, IPV4_HEADER, 0)));
}

static void header6(uint8_t *out, uint32_t length, const struct packet *p, const uint8_t *source)
{
    put32(out, 6u << 28 | (uint32_t)ICMP_CLASS << 20);
    put16(out + 4, length - IPV6_HEADER);
    out[6] = PROTOCOL_ICMPV6;
    out[7] = ICMP_TTL;
    memcpy(out + 8, source, 16);
    memcpy(out + 24, p->source, 16);
}

uint32_t icmp_build(const struct packet *packet, uint32_t what, uint32_t info,
                    const uint8_t *source_address, uint8_t *out, uint32_t room)
{
    const struct icmp_kind *kind = kind_of(what);
    if (kind == NULL || !icmp_may_answer(packet))
        return 0;
    bool v4 = packet->family == 4;
    uint32_t header = v4 ? IPV4_HEADER : IPV6_HEADER;
    uint32_t quoted_header = v4 ? (uint32_t)(packet->frame[packet->l3] & 15) * 4 : IPV6_HEADER;
    if (room < header + ICMP_HEADER + quoted_header + TRANSPORT_QUOTED)
        return 0;
    uint32_t most = v4 ? ICMPV4_MAX : ICMPV6_MAX;
    if (room > most)
        room = most;

    uint8_t *icmp = out + header;
    uint8_t *quote = icmp + ICMP_HEADER;
    uint32_t quoted = packet_finish_checksum(packet, quote, room - header - ICMP_HEADER);
    if (quoted == 0)
        return 0;
    uint32_t message = ICMP_HEADER + quoted;
    memset(icmp, 0, ICMP_HEADER);
    icmp[0] = v4 ? kind->type4 : kind->type6;
    icmp[1] = v4 ? kind->code4 : kind->code6;
    if (what == ICMP_ERROR_TOO_BIG && v4) /* RFC 1191 4: 16 bits; 4443 3.2: 32 bits */
        put16(icmp + 6, info < 0xffff ? info : 0xffff);
    else if (what == ICMP_ERROR_TOO_BIG)
        put32(icmp + 4, info);

    uint32_t sum = 0;
    if (v4) {
        header4(out, header + message, packet, source_address);
    } else {
        header6(out, header + message, packet, source_address);
        sum = checksum_pseudo(6, source_address, packet->source, PROTOCOL_ICMPV6, message);
    }
    store_raw16(icmp + 2, checksum_finish(checksum_partial(icmp, message, sum)));
    return header + message;
}
