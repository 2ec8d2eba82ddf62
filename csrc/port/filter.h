/* The classic BPF programs of a port: what may enter its rings, and which worker gets it.
 *
 * Use: port_filter_program() and port_fanout_program() fill an array of instructions that
 * socket.c attaches, `doctor` and `show ports` print (shared/filters.py), and the tests run
 * in an interpreter. Generated, because classic BPF has no names; classic, because loading eBPF
 * needs rights that a rootless router does not have.
 *
 * Pure functions without state: any process may call them.
 */
#ifndef RC_PORT_FILTER_H
#define RC_PORT_FILTER_H
#include "base/base.h"

/* Kinds of port: who is at the far end of the link. */
enum port_kind {
    PORT_KIND_NETWORK = 0, /* other stations */
    PORT_KIND_HOST = 1,    /* this machine's own stack (rc-host) */
};

struct port_instruction { /* struct sock_filter */
    uint16_t code;
    uint8_t jump_true;
    uint8_t jump_false;
    uint32_t k;
};

enum {
    PORT_BUCKETS = 256,     /* a flow's hash is one of them, and each belongs to a member */
    PORT_PROGRAM_MAX = 720, /* at most: 256 runs of buckets; 166 with 2 workers */
};

/* Accepts IPv4 and IPv6 frames to this station, broadcast or multicast. It asks the kernel for
 * whom a frame was (SKF_AD_PKTTYPE), so a change of the port's MAC needs no new filter. A frame
 * with a VLAN tag belongs to a VLAN device, not to this port; priority tags (VID 0) do not count.
 * PORT_KIND_HOST takes frames to any station: the host stack addresses whatever it takes for its
 * own. Returns the number of instructions, at most PORT_PROGRAM_MAX. */
uint32_t port_filter_program(uint32_t kind, struct port_instruction *out);
/* What that program says of a frame, without a kernel: 1 when it is taken. `vlan`: its tag's ID, 0
 * without; `ethertype`: behind the tag; `station`: enum packet_station of packet.h. */
int port_filter_takes(uint32_t kind, uint32_t ethertype, uint32_t vlan, uint32_t station);
/* Accepts nothing: what a member wears until it has joined its fanout group. */
uint32_t port_closed_program(struct port_instruction *out);
/* Which member of the group gets a packet: member[bucket], the bucket being a hash of addresses,
 * and of ports for TCP and UDP unless a fragment; the same for both directions of a flow, so that
 * its answers meet the same worker and wake no other. A packet too short to have a flow has bucket
 * 0. `member` has PORT_BUCKETS entries, each the index of a member in its group. Runs at the
 * network header: about 70 instructions for IPv4, 90 for IPv6, and one for each halving of the runs.
 * skb->hash would be cheaper, but is 0 for most of what crosses a veth. */
uint32_t port_fanout_program(const uint16_t *member, uint32_t seed, struct port_instruction *out);

#endif
