/* Frames that C tests start from: small, valid, one of each shape the parser knows.
 *
 * Use: build_frames(table) fills SHAPES entries; each is a whole Ethernet frame with the vnet
 * header it would come with. IPv4 header checksums are right; L4 payload is arbitrary.
 */
#ifndef RC_TEST_FRAMES_H
#define RC_TEST_FRAMES_H
#include "check.h"
#include "packet/checksum.h"
#include "packet/packet.h"

enum { SHAPES = 14, SHAPE_ROOM = 512 };

struct shape {
    const char *name;
    struct vnet_header vnet;
    uint32_t length;
    uint8_t bytes[SHAPE_ROOM];
};

static inline void shape_add(struct shape *s, const void *bytes, uint32_t n)
{
    CHECK(s->length + n <= SHAPE_ROOM);
    memcpy(s->bytes + s->length, bytes, n);
    s->length += n;
}

static inline void shape_payload(struct shape *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        s->bytes[s->length++] = (uint8_t)(i * 7 + 1);
}

static inline void shape_start(struct shape *s, const char *name, uint16_t ethertype)
{
    uint8_t ethernet[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, (uint8_t)(ethertype >> 8),
                            (uint8_t)ethertype};
    memset(s, 0, sizeof *s);
    s->name = name;
    shape_add(s, ethernet, 14);
}

static inline void shape_ipv4(struct shape *s, const char *name, uint8_t protocol,
                              uint16_t fragment, const uint8_t *options, uint8_t n_options,
                              uint16_t payload)
{
    uint16_t length = (uint16_t)(20 + n_options + payload);
    uint8_t h[60] = {(uint8_t)(0x40 | (20 + n_options) / 4), 0x2e, (uint8_t)(length >> 8),
                     (uint8_t)length, 0x12, 0x34, (uint8_t)(fragment >> 8), (uint8_t)fragment, 64,
                     protocol, 0, 0, 10, 0, 0, 1, 198, 51, 100, 7};
    shape_start(s, name, 0x0800);
    if (n_options > 0)
        memcpy(h + 20, options, n_options);
    uint16_t check = checksum_finish(checksum_partial(h, 20u + n_options, 0));
    memcpy(h + 10, &check, 2);
    shape_add(s, h, 20u + n_options);
}

static inline void shape_ipv6(struct shape *s, const char *name, uint8_t next, uint16_t payload)
{
    uint8_t h[40] = {0x62, 0xe1, 0x23, 0x45, (uint8_t)(payload >> 8), (uint8_t)payload, next, 64,
                     0x20, 1, 0xd, 0xb8, [23] = 1, [24] = 0x20, 1, 0xd, 0xb8, 1, [39] = 9};
    shape_start(s, name, 0x86dd);
    shape_add(s, h, 40);
}

static inline void shape_tcp(struct shape *s, uint8_t doff)
{
    uint8_t h[60] = {0x30, 0x39, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, (uint8_t)(doff << 4), 0x19, 1, 0};
    shape_add(s, h, doff * 4u);
}

static inline void build_frames(struct shape *t)
{
    static const uint8_t udp[8] = {0x30, 0x39, 0, 53, 0, 28, 0, 0};
    static const uint8_t router_alert[4] = {148, 4, 0, 0};
    static const uint8_t echo[8] = {8, 0, 0, 0, 0, 1, 0, 1};
    static const uint8_t echo6[8] = {128, 0, 0, 0, 0, 1, 0, 1};
    static const uint8_t chain[] = {
        60, 0, 5, 2, 0, 0, 1, 0,   /* hop-by-hop: router alert, pad; next: destination options */
        43, 1, 1, 12, 0, 0, 0, 0,  /* destination options, 16 bytes; next: routing */
        0, 0, 0, 0, 0, 0, 0, 0,    /* */
        44, 0, 4, 0, 0, 0, 0, 0,   /* routing, 0 segments left; next: fragment */
        17, 0, 0, 1, 0, 0, 0, 7,   /* first fragment; next: UDP */
    };
    static const uint8_t later[8] = {17, 0, 1, 0x40, 0, 0, 0, 7};

    shape_ipv4(&t[0], "v4 udp", 17, 0x4000, NULL, 0, 28);
    shape_add(&t[0], udp, 8);
    shape_payload(&t[0], 20);
    shape_ipv4(&t[1], "v4 tcp with options", 6, 0, router_alert, 4, 32 + 11);
    shape_tcp(&t[1], 8);
    shape_payload(&t[1], 11);
    shape_ipv4(&t[2], "v4 first fragment", 17, 0x2000, NULL, 0, 28);
    shape_add(&t[2], udp, 8);
    shape_payload(&t[2], 20);
    shape_ipv4(&t[3], "v4 later fragment", 17, 0x2005, NULL, 0, 16);
    shape_payload(&t[3], 16);
    shape_ipv4(&t[4], "v4 echo", 1, 0, NULL, 0, 9);
    shape_add(&t[4], echo, 8);
    shape_payload(&t[4], 1);
    shape_ipv4(&t[5], "v4 padded", 17, 0, NULL, 0, 8);
    shape_add(&t[5], udp, 8);
    shape_payload(&t[5], 18);
    shape_ipv4(&t[6], "v4 gso", 6, 0x4000, NULL, 0, 20 + 300);
    shape_tcp(&t[6], 5);
    shape_payload(&t[6], 300);
    t[6].vnet = (struct vnet_header){VNET_NEEDS_CSUM, VNET_GSO_TCPV4, 54, 100, 34, 16};
    shape_ipv4(&t[7], "v4 udp partial", 17, 0, NULL, 0, 28);
    shape_add(&t[7], udp, 8);
    shape_payload(&t[7], 20);
    t[7].vnet = (struct vnet_header){VNET_NEEDS_CSUM, 0, 0, 0, 34, 6};
    shape_ipv6(&t[8], "v6 udp", 17, 28);
    shape_add(&t[8], udp, 8);
    shape_payload(&t[8], 20);
    shape_ipv6(&t[9], "v6 chain to a first fragment", 0, sizeof chain + 28);
    shape_add(&t[9], chain, sizeof chain);
    shape_add(&t[9], udp, 8);
    shape_payload(&t[9], 20);
    shape_ipv6(&t[10], "v6 later fragment", 44, 8 + 24);
    shape_add(&t[10], later, 8);
    shape_payload(&t[10], 24);
    shape_ipv6(&t[11], "v6 echo", 58, 8);
    shape_add(&t[11], echo6, 8);
    shape_ipv6(&t[12], "v6 gso", 6, 24 + 400);
    shape_tcp(&t[12], 6);
    shape_payload(&t[12], 400);
    t[12].vnet = (struct vnet_header){VNET_NEEDS_CSUM, VNET_GSO_TCPV6, 78, 150, 54, 16};
    shape_ipv6(&t[13], "v6 udp gso", 17, 8 + 200);
    shape_add(&t[13], udp, 8);
    shape_payload(&t[13], 200);
    t[13].vnet = (struct vnet_header){VNET_NEEDS_CSUM, VNET_GSO_UDP_L4, 62, 64, 54, 6};
}

#endif
