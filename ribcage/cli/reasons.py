"""What each drop reason means and what to do about it: the text of `ribcage help drop REASON`.

The names are those of drop_reason_name() in csrc; a test holds the two lists together.
"""

REASONS = {
    "no-route": "No prefix of the FIB matches the destination. `ribcage route get ADDRESS`.",
    "blackhole": "A route of type blackhole matches: dropped without a word, as configured.",
    "unreachable": "A route of type unreachable matches; the sender gets ICMP host unreachable.",
    "prohibited": "A route of type prohibit matches; the sender gets ICMP prohibited.",
    "ttl-expired": "TTL or hop limit would become 0 (RFC 1812 5.3.1). Traceroute, or a loop.",
    "too-big": "Larger than the egress MTU and not to be fragmented (IPv6, or DF). The sender"
    " gets ICMP with the MTU.",
    "no-neighbour": "The next hop did not answer ARP or neighbour discovery while packets waited.",
    "neighbour-queue-full": "More packets for an unresolved neighbour than [hold] keeps.",
    "bad-version": "The IP version is not what the Ethernet type says.",
    "bad-length": "The lengths in the headers do not fit the frame.",
    "bad-checksum": "The IPv4 header checksum is wrong.",
    "bad-source": "A source address no host may have (RFC 1812 5.3.7): loopback, multicast, ...",
    "not-for-us": "The frame was addressed to another station's MAC.",
    "unknown-ethertype": "Neither IPv4 nor IPv6, and nothing the host stack takes.",
    "fragment-needed": "IPv4 without DF, larger than the egress MTU, and not fragmented here.",
    "options": "Source-routing options, which routers have refused for long (RFC 7126 4.3).",
    "port-down": "The egress interface is down or gone.",
    "tx-full": "The egress queue was full (EAGAIN, ENOBUFS): more comes than the link takes.",
    "tx-error": "The kernel refused the frame on its way out; see the log for the errno.",
    "rx-ring-full": "The kernel found no free slot in the receive ring: the worker was too slow."
    " More [rings] slots, or more workers.",
    "truncated": "The frame was larger than a ring slot; see slot_bytes under [rings].",
    "fib-unavailable": "No FIB was mapped, or a lookup found no steady answer.",
    "worker-restarting": "Was held by a worker that died.",
    "bad-destination": "A destination no packet may have: 0/8, 127/8, 240/4, ::, ::1.",
    "multicast": "Multicast is not forwarded.",
    "broadcast": "Limited and directed broadcasts are never forwarded (RFC 2644).",
    "link-local": "A link-local address never crosses a link (RFC 4291 2.5.6, RFC 3927 2.7).",
    "same-host": "From the host port back to the host's own address.",
    "quiesced": "Given up at an orderly stop.",
}
