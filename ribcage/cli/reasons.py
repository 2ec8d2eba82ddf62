"""What each drop reason means, why a router does it, and what to do about it.

The text of `ribcage help drop REASON`, and of docs/drops.md, which is written from here. The
names are those of drop_reason_name() in csrc; a test holds the two lists together.
"""

from typing import NamedTuple


class Reason(NamedTuple):
    """what happened; why it is a drop (with the RFC where there is one); what to do."""

    what: str
    why: str
    do: str


REASONS = {
    "no-route": Reason("No prefix of the FIB matches the destination.", "The sender gets ICMP net unreachable (RFC 1812 5.2.7.1) or no route (RFC 4443 3.1).", "`ribcage route get ADDRESS`; add a route or a default route."),
    "blackhole": Reason("A route of type blackhole matches.", "Dropped without a word, as configured.", "`ribcage route get ADDRESS` shows the route."),
    "unreachable": Reason("A route of type unreachable matches, or the next hop has no adjacency.", "The sender gets ICMP host unreachable (RFC 1812 5.2.7.1), address unreachable (RFC 4443 3.1).", "`ribcage explain` says which of the two."),
    "prohibited": Reason("A route of type prohibit matches.", "The sender gets ICMP administratively prohibited (RFC 1812 5.2.7.1, RFC 4443 3.1).", "`ribcage route get ADDRESS` shows the route."),
    "ttl-expired": Reason("TTL or hop limit would become 0.", "The sender gets ICMP time exceeded (RFC 1812 5.3.1, RFC 8200 3). Traceroute lives on it.", "Many of them for one destination: a loop. Compare the next hops of both routers."),
    "too-big": Reason("Larger than the egress MTU, and IPv6 or DF is set.", "The sender gets ICMP with the MTU (RFC 1191, RFC 8201).", "Nothing, if ICMP reaches the sender; else raise the MTU or clamp the MSS."),
    "no-neighbour": Reason("The next hop did not answer ARP or neighbour discovery while the packet waited.", "RFC 1812 3.3.2, RFC 4861 7.2.2.", "Is the next hop up, on that link, with that address?"),
    "neighbour-queue-full": Reason("More packets wait for an unresolved neighbour than [hold] keeps.", "Memory is bounded; RFC 4861 7.2.2 asks for at least one.", "Raise hold.per_neighbour or hold.packets, if the neighbour is only slow."),
    "bad-version": Reason("The IP version is not what the Ethernet type says.", "RFC 1812 5.2.2.", "Capture at the sender: it is broken."),
    "bad-length": Reason("The lengths in the headers do not fit the frame.", "RFC 1812 5.2.2.", "Capture at the sender, or at what cuts frames between."),
    "bad-checksum": Reason("The IPv4 header checksum is wrong.", "RFC 1812 5.2.2.", "A bad cable, memory or driver on the way."),
    "bad-source": Reason("A source address no host may have: loopback, multicast, broadcast, 0/8, or the router's own.", "RFC 1812 5.3.7 and 5.3.8, RFC 4291 2.7.", "Find the sender by its MAC: it is misconfigured or forging."),
    "not-for-us": Reason("The frame was addressed to another station.", "RFC 1812 5.2.1: only frames for our MAC are forwarded. A switch floods, or the port is promiscuous.", "Nothing."),
    "unknown-ethertype": Reason("Neither IPv4 nor IPv6, and nothing the host stack takes.", "A router forwards IP.", "Nothing, unless it is VLAN-tagged: give the VLAN its own interface."),
    "fragment-needed": Reason("IPv4 without DF, larger than the egress MTU.", "This version does not fragment (RFC 791 allows it).", "Equal MTUs, or senders that set DF."),
    "options": Reason("IPv4 source-routing options.", "Refused by default (RFC 7126 4.3 and 4.4).", "Nothing: nobody needs them."),
    "port-down": Reason("The egress interface is down or gone.", "There is no link to send on.", "`ip link`; routes follow the link within milliseconds."),
    "tx-full": Reason("The egress queue was full (EAGAIN, ENOBUFS).", "More comes than the link takes; a router never waits.", "A faster link, or a longer txqueuelen for bursts."),
    "tx-error": Reason("The kernel refused the frame on its way out.", "Not for want of room: the interface vanished, or takes no frame of that size.", "Compare `ip link` (is it up, its MTU) with the configuration."),
    "rx-ring-full": Reason("The kernel found no free slot in the receive ring.", "The worker was too slow, stopped, or did not get the CPU.", "More workers, pinned CPUs, or more rings.slots."),
    "truncated": Reason("The frame was larger than a ring slot.", "Only whole packets are forwarded.", "Raise rings.slot_bytes; 69632 takes every super-frame."),
    "fib-unavailable": Reason("No FIB was mapped, or a lookup found no steady answer.", "At start, before control published.", "If it grows later: `ribcage ps`, is control running?"),
    "worker-restarting": Reason("Was held for a neighbour by a worker that died.", "Held packets are copies in the worker's own memory.", "`ribcage ps` shows how the worker ended."),
    "bad-destination": Reason("A destination no packet may have: 0/8, 127/8, 240/4, ::, ::1.", "RFC 1812 5.3.7, RFC 4291 2.5.", "Find the sender: it is misconfigured."),
    "multicast": Reason("Multicast beyond the link.", "This router has no multicast routing (RFC 1812 5.2.1.2).", "Nothing, or a multicast router."),
    "broadcast": Reason("A network's broadcast address, from another link.", "Directed broadcasts are never forwarded (RFC 2644).", "Nothing: it protects from amplification."),
    "link-local": Reason("A link-local address would cross a link.", "RFC 4291 2.5.6, RFC 3927 2.7.", "Give the hosts addresses that route."),
    "same-host": Reason("From the host port back to the host's own address.", "The kernel delivers those itself.", "Report it with `ribcage drops`: something routes oddly."),
    "quiesced": Reason("Given up at an orderly stop.", "Packets held for a neighbour when the worker was asked to stop.", "Nothing."),
}  # fmt: skip
