/* One frame, examined once: parse, flow hash, rewrite, size check, ICMP errors.
 *
 *   ring slot:  | vnet 10 | Ethernet 14 | IPv4/IPv6 (+ options) | L4 | payload | padding |
 *                          ^frame        ^l3                     ^l4           ^send_length
 *
 * Use: packet_parse() fills a struct packet from one RX ring slot; every later step reads that
 * record and none parses again. A frame that is to go on is looked up, packet_rewrite() builds
 * its new headers in scratch memory, and the rest of it is sent from the slot:
 *
 *     switch (packet_parse(&p, frame, captured, wire, vnet, pkttype, seed, is_host_port)) {
 *     case PACKET_FORWARD: look up; ttl <= 1 and not a host port: TIME_EXCEEDED; too big: ...
 *         built = packet_rewrite(&p, target_mac, source_mac, scratch, !p.host_port);
 *         replaced = built - VNET_LENGTH;
 *         iov = {scratch, built}, {frame + replaced, p.send_length - replaced}
 *     case PACKET_DELIVER: count as delivered, the host stack has its own copy
 *     case PACKET_LOCAL:   look up; FIB_KIND_RECEIVE or FIB_KIND_BROADCAST: delivered, else p.drop
 *     case PACKET_DROP:    count p.drop
 *     }
 *
 * Pure functions: no sockets, no shared memory, no clock, no allocation. A frame is never
 * written to, because a worker's successor may have to read the batch again. Nothing is read
 * outside frame[0..captured). Frames may start at any address (loads are memcpy).
 * L4 checksums are not verified (RFC 1812 5.2.2 asks for the IP header only), IPv6 extension
 * headers beyond PACKET_EXTENSIONS are not followed, VLAN tags are an unknown ethertype.
 */
#ifndef RC_PACKET_H
#define RC_PACKET_H
#include "base/base.h"

enum {
    BATCH_MAX = 256,          /* packets that are handled together at most */
    VNET_LENGTH = 10,         /* struct vnet_header, in front of every frame of a ring slot */
    ETHERNET_LENGTH = 14,
    PACKET_REWRITE_ROOM = 160, /* scratch one packet_rewrite() may use */
    PACKET_EXTENSIONS = 8,    /* IPv6 extension headers followed at most */
    ICMP_ROOM = 1280,         /* room that any icmp_build() fits into */
};

/* struct virtio_net_hdr as PACKET_VNET_HDR gives and takes it (host byte order). */
struct vnet_header {
    uint8_t flags;        /* VNET_NEEDS_CSUM, VNET_DATA_VALID */
    uint8_t gso_type;     /* enum vnet_gso, with VNET_GSO_ECN or-ed in */
    uint16_t hdr_len;
    uint16_t gso_size;    /* payload bytes of one segment */
    uint16_t csum_start;  /* offset from the Ethernet header */
    uint16_t csum_offset; /* from csum_start */
};
RC_STATIC_ASSERT(sizeof(struct vnet_header) == VNET_LENGTH, "the kernel's layout");

enum vnet_flag { VNET_NEEDS_CSUM = 1, VNET_DATA_VALID = 2 };
enum vnet_gso {
    VNET_GSO_NONE = 0,
    VNET_GSO_TCPV4 = 1,
    VNET_GSO_UDP = 3,    /* cut into IP fragments (UFO) */
    VNET_GSO_TCPV6 = 4,
    VNET_GSO_UDP_L4 = 5, /* cut into datagrams */
    VNET_GSO_ECN = 0x80,
};

/* sockaddr_ll.sll_pkttype: whom the frame was addressed to. */
enum packet_station {
    STATION_HOST = 0,
    STATION_BROADCAST = 1,
    STATION_MULTICAST = 2,
    STATION_OTHER = 3,
};

enum packet_verdict {
    PACKET_FORWARD = 0, /* a candidate: the lookup decides; TTL and size are not checked yet */
    PACKET_DELIVER = 1, /* the host stack's business (ARP, link-scope multicast, DHCP, ...) */
    PACKET_DROP = 2,    /* `drop` says why */
    PACKET_LOCAL = 3,   /* must not be forwarded, but may be for this host (directed broadcast,
                           frame cut by a small slot): look up; receive or broadcast routes count
                           as delivered, everything else as `drop` */
};

enum packet_fragment { FRAGMENT_NONE = 0, FRAGMENT_FIRST = 1, FRAGMENT_LATER = 2 };

struct packet {
    const uint8_t *frame;  /* Ethernet header, in the ring slot; read only */
    uint32_t length;       /* captured bytes */
    uint32_t wire_length;  /* bytes on the wire; larger: the slot cut the frame */
    uint32_t send_length;  /* Ethernet header + IP packet: what goes out, padding left behind */
    uint32_t l3_length;    /* IP packet with its header; of the whole super-frame when GSO */
    uint32_t hash;         /* flow hash, flow_hash() */
    struct vnet_header vnet;
    uint16_t l3;           /* offset of the IP header from frame */
    uint16_t l4;           /* of the transport header; 0: none found (later fragment, no room) */
    uint16_t source_port;  /* host order; 0 without ports */
    uint16_t target_port;
    uint8_t l4_header;     /* bytes of the TCP/UDP header; 0: unknown */
    uint8_t family;        /* 4, 6; 0: not IP (the fields of IP are zero then) */
    uint8_t protocol;      /* of the transport header, after extension headers */
    uint8_t ttl;           /* TTL or hop limit as received */
    uint8_t traffic_class; /* DSCP and ECN */
    uint8_t fragment;      /* enum packet_fragment */
    uint8_t dont_fragment; /* 1: IPv4 with DF, and every IPv6 packet */
    uint8_t station;       /* enum packet_station */
    uint8_t host_port;     /* 1: came in on a host port */
    uint8_t verdict;       /* enum packet_verdict */
    uint8_t drop;          /* enum drop_reason; DROP_NONE unless verdict is DROP or LOCAL */
    uint8_t unused[3];
    uint8_t source[16];    /* network order; IPv4 in the first four bytes, the rest zero */
    uint8_t target[16];
};

/* Examines one frame and fills every field of *packet. `vnet` points to the 10 bytes in front of
 * the frame, at any alignment, or is NULL (no offloads). `host_port`: not 0 when the port's far
 * end is this machine's host stack; martian sources and foreign MACs are let through there.
 * Returns packet->verdict. RFC 1812 5.2.2, 5.3.7; RFC 8200 3; RFC 4291 2. */
int packet_parse(struct packet *packet, const void *frame, uint32_t captured, uint32_t wire_length,
                 const void *vnet, uint32_t station, uint64_t seed, int host_port);

/* Seeded hash of a flow. The 5-tuple, or (protocol and ports 0) the addresses alone, which is
 * what any fragment hashes to. Not symmetric. `explain` and tests call it with their own words. */
uint32_t flow_hash(uint64_t seed, uint32_t family, const uint8_t *source, const uint8_t *target,
                   uint32_t protocol, uint32_t source_port, uint32_t target_port);

/* Builds [vnet][Ethernet][IP header with options] from one station to another in out, which has
 * PACKET_REWRITE_ROOM bytes; returns the bytes built. They stand for the first (built -
 * VNET_LENGTH) bytes of the frame; the frame's bytes from there to send_length follow unchanged.
 * `decrement_ttl` not 0: TTL - 1 with the checksum adjusted (RFC 1624 eqn. 3); the caller has
 * made sure that ttl > 1. DSCP and ECN are kept; partial checksums and GSO pass through. */
uint32_t packet_rewrite(const struct packet *packet, const uint8_t target_mac[6],
                        const uint8_t source_mac[6], uint8_t *out, int decrement_ttl);

/* Bytes of the largest IP packet this frame is on the wire: l3_length, or for GSO one segment. */
uint32_t packet_wire_size(const struct packet *packet);
/* 1 when packet_wire_size() exceeds the MTU of the egress link. */
int packet_too_big(const struct packet *packet, uint32_t mtu);

/* The IP packet as it would be on the wire, cut to `room`, into out: a partial checksum is
 * finished, of a GSO frame the first segment is taken (lengths, flags and checksums its own).
 * Returns the bytes written; 0 when the frame is not a parsed IP packet. */
uint32_t packet_finish_checksum(const struct packet *packet, uint8_t *out, uint32_t room);

/* ICMP errors, one word for both families. */
enum icmp_error {
    ICMP_ERROR_NO_ROUTE = 1,      /* 3/0 net unreachable; 1/0 no route */
    ICMP_ERROR_UNREACHABLE = 2,   /* 3/1 host unreachable; 1/3 address unreachable */
    ICMP_ERROR_PROHIBITED = 3,    /* 3/13; 1/1 administratively prohibited */
    ICMP_ERROR_TOO_BIG = 4,       /* 3/4 fragmentation needed; 2/0 packet too big; info = MTU */
    ICMP_ERROR_TIME_EXCEEDED = 5, /* 11/0; 3/0 */
};
/* 1 when an ICMP error about this packet is allowed at all (RFC 1812 4.3.2.7, RFC 4443 2.4 e).
 * A few ns: ask before a rate limiter's token is spent. */
int icmp_may_answer(const struct packet *packet);
/* Builds the whole IP packet (no Ethernet header) of an ICMP error about `packet`, from
 * source_address to the packet's source. The quote is packet_finish_checksum()'s, at most 576
 * bytes in all (RFC 1812 4.3.2.3) or 1280 (RFC 4443 2.4 c). Returns its length, or 0 unless
 * icmp_may_answer(), or when `room` is too small for the headers plus 8 bytes of transport. */
uint32_t icmp_build(const struct packet *packet, uint32_t what, uint32_t info,
                    const uint8_t *source_address, uint8_t *out, uint32_t room);

#endif
