/* The drop reasons, once: number, the word users see, what happened, why it is a drop (with the RFC
 * where there is one), what to do about it.
 *
 *   REASON(DROP_NO_ROUTE, 1, "no-route", "What happened.", "Why.", "What to do.")
 *
 * Included where REASON is defined: for the enum (stats_layout.h) and for the texts
 * (report/stats.c), from which `ribcage drops`, `ribcage help drop` and docs/drops.md come. No
 * guard, since it is included more than once. The list is closed: a new reason gets the next
 * number, none is reused.
 */
REASON(DROP_NO_ROUTE, 1, "no-route",
       "No prefix of the FIB matches the destination.",
       "The sender gets ICMP net unreachable (RFC 1812 5.2.7.1) or no route (RFC 4443 3.1).",
       "`ribcage route get ADDRESS`; add a route or a default route.")
REASON(DROP_BLACKHOLE, 2, "blackhole",
       "A route of type blackhole matches.",
       "Dropped without a word, as configured.",
       "`ribcage route get ADDRESS` shows the route.")
REASON(DROP_UNREACHABLE, 3, "unreachable",
       "A route of type unreachable matches, or the next hop has no adjacency.",
       "The sender gets ICMP host unreachable (RFC 1812 5.2.7.1), address unreachable (RFC "
       "4443 3.1).",
       "`ribcage explain` says which of the two.")
REASON(DROP_PROHIBITED, 4, "prohibited",
       "A route of type prohibit matches.",
       "The sender gets ICMP administratively prohibited (RFC 1812 5.2.7.1, RFC 4443 3.1).",
       "`ribcage route get ADDRESS` shows the route.")
REASON(DROP_TTL_EXPIRED, 5, "ttl-expired",
       "TTL or hop limit would become 0.",
       "The sender gets ICMP time exceeded (RFC 1812 5.3.1, RFC 8200 3). Traceroute lives on "
       "it.",
       "Many of them for one destination: a loop. Compare the next hops of both routers.")
REASON(DROP_TOO_BIG, 6, "too-big",
       "Larger than the egress MTU, and IPv6 or DF is set.",
       "The sender gets ICMP with the MTU (RFC 1191, RFC 8201).",
       "Nothing, if ICMP reaches the sender; else raise the MTU or clamp the MSS.")
REASON(DROP_NO_NEIGHBOUR, 7, "no-neighbour",
       "The next hop did not answer ARP or neighbour discovery while the packet waited.",
       "RFC 1812 3.3.2, RFC 4861 7.2.2.",
       "Is the next hop up, on that link, with that address?")
REASON(DROP_NEIGHBOUR_QUEUE_FULL, 8, "neighbour-queue-full",
       "More packets wait for an unresolved neighbour than [hold] keeps.",
       "Memory is bounded; RFC 4861 7.2.2 asks for at least one.",
       "Raise hold.per_neighbour or hold.packets, if the neighbour is only slow.")
REASON(DROP_BAD_VERSION, 9, "bad-version",
       "The IP version is not what the Ethernet type says.",
       "RFC 1812 5.2.2.",
       "Capture at the sender: it is broken.")
REASON(DROP_BAD_LENGTH, 10, "bad-length",
       "The lengths in the headers do not fit the frame.",
       "RFC 1812 5.2.2.",
       "Capture at the sender, or at what cuts frames between.")
REASON(DROP_BAD_CHECKSUM, 11, "bad-checksum",
       "The IPv4 header checksum is wrong.",
       "RFC 1812 5.2.2.",
       "A bad cable, memory or driver on the way.")
REASON(DROP_BAD_SOURCE, 12, "bad-source",
       "A source address no host may have: loopback, multicast, broadcast, 0/8, or the "
       "router's own.",
       "RFC 1812 5.3.7 and 5.3.8, RFC 4291 2.7.",
       "Find the sender by its MAC: it is misconfigured or forging.")
REASON(DROP_NOT_FOR_US, 13, "not-for-us",
       "The frame was addressed to another station.",
       "RFC 1812 5.2.1: only frames for our MAC are forwarded. A switch floods, or the port "
       "is promiscuous.",
       "Nothing.")
REASON(DROP_UNKNOWN_ETHERTYPE, 14, "unknown-ethertype",
       "Neither IPv4 nor IPv6, and nothing the host stack takes.",
       "A router forwards IP.",
       "Nothing, unless it is VLAN-tagged: give the VLAN its own interface.")
REASON(DROP_FRAGMENT_NEEDED, 15, "fragment-needed",
       "IPv4 without DF, larger than the egress MTU.",
       "This version does not fragment (RFC 791 allows it).",
       "Equal MTUs, or senders that set DF.")
REASON(DROP_OPTIONS, 16, "options",
       "IPv4 source-routing options.",
       "Refused by default (RFC 7126 4.3 and 4.4).",
       "Nothing: nobody needs them.")
REASON(DROP_PORT_DOWN, 17, "port-down",
       "The egress interface is down or gone.",
       "There is no link to send on.",
       "`ip link`; routes follow the link within milliseconds.")
REASON(DROP_TX_FULL, 18, "tx-full",
       "The egress queue was full (EAGAIN, ENOBUFS).",
       "More comes than the link takes; a router never waits.",
       "A faster link, or a longer txqueuelen for bursts.")
REASON(DROP_TX_ERROR, 19, "tx-error",
       "The kernel refused the frame on its way out.",
       "Not for want of room: the interface vanished, or takes no frame of that size.",
       "Compare `ip link` (is it up, its MTU) with the configuration.")
REASON(DROP_RX_RING_FULL, 20, "rx-ring-full",
       "The kernel found no free slot in the receive ring.",
       "The worker was too slow, stopped, or did not get the CPU.",
       "More workers, pinned CPUs, or more rings.slots.")
REASON(DROP_TRUNCATED, 21, "truncated",
       "The frame was larger than a ring slot.",
       "Only whole packets are forwarded.",
       "Raise rings.slot_bytes; 69632 takes every super-frame.")
REASON(DROP_FIB_UNAVAILABLE, 22, "fib-unavailable",
       "No FIB was mapped, or a lookup found no steady answer.",
       "At start, before control published.",
       "If it grows later: `ribcage ps`, is control running?")
REASON(DROP_WORKER_RESTARTING, 23, "worker-restarting",
       "Was held for a neighbour by a worker that died.",
       "Held packets are copies in the worker's own memory.",
       "`ribcage ps` shows how the worker ended.")
REASON(DROP_BAD_DESTINATION, 24, "bad-destination",
       "A destination no packet may have: 0/8, 127/8, 240/4, ::, ::1.",
       "RFC 1812 5.3.7, RFC 4291 2.5.",
       "Find the sender: it is misconfigured.")
REASON(DROP_MULTICAST, 25, "multicast",
       "Multicast beyond the link.",
       "This router has no multicast routing (RFC 1812 5.2.1.2).",
       "Nothing, or a multicast router.")
REASON(DROP_BROADCAST, 26, "broadcast",
       "A network's broadcast address, from another link.",
       "Directed broadcasts are never forwarded (RFC 2644).",
       "Nothing: it protects from amplification.")
REASON(DROP_LINK_LOCAL, 27, "link-local",
       "A link-local address would cross a link.",
       "RFC 4291 2.5.6, RFC 3927 2.7.",
       "Give the hosts addresses that route.")
REASON(DROP_SAME_HOST, 28, "same-host",
       "From the host port back to the host's own address.",
       "The kernel delivers those itself.",
       "Report it with `ribcage drops`: something routes oddly.")
REASON(DROP_QUIESCED, 29, "quiesced",
       "Given up at an orderly stop.",
       "Packets held for a neighbour when the worker was asked to stop.",
       "Nothing.")
REASON(DROP_SET_ASIDE, 30, "set-aside",
       "Two workers died with this frame, the second with it alone.",
       "A third would die likewise, and the flows of its slot with it.",
       "`ribcage drops` shows its first bytes: report them. If somebody killed both workers by hand "
       "just then, the frame is innocent.")
