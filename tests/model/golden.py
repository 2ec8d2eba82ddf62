"""The FIB as anyone would write it first: dictionaries and a loop. Slow, and plainly right.

Use: `Golden().apply(row_of(...))`, then `lookup(address)`; tests compare the fast table with it.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from ribcage.shared.addresses import Address, Network
from ribcage.shared.memory.rows import Row


@dataclass(slots=True)
class Golden:
    """Routes by prefix; groups by id as (kind, buckets); adjacencies as (port, mtu); port MTUs."""

    routes: dict[Network, int] = field(default_factory=dict)
    groups: dict[int, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    adjacencies: dict[int, tuple[int, int]] = field(default_factory=dict)
    ports: dict[int, int] = field(default_factory=dict)

    def copy(self) -> "Golden":
        return Golden(
            dict(self.routes), dict(self.groups), dict(self.adjacencies), dict(self.ports)
        )

    def apply(self, route: Row) -> None:
        if route.nexthop:
            self.routes[route.prefix] = route.nexthop
        else:
            self.routes.pop(route.prefix, None)

    def apply_all(self, routes: Iterable[Row]) -> None:
        for route in routes:
            self.apply(route)

    def match(self, address: str) -> Row | None:
        """The longest prefix that holds the address, found by looking at every one."""
        ip = ipaddress.ip_address(address)
        best: Network | None = None
        for network in self.routes:
            longer = best is None or network.prefixlen > best.prefixlen
            if network.version == ip.version and longer and ip in network:
                best = network
        return None if best is None else Row(best, self.routes[best])

    def lookup(self, address: str) -> int:
        found = self.match(address)
        return found.nexthop if found else 0

    def answer(self, address: str, flow: int = 0) -> tuple[int, int, int]:
        """(group, adjacency, mtu) as a packet of this flow would get them."""
        group = self.lookup(address)
        _, buckets = self.groups.get(group, (0, ()))
        adjacency = buckets[flow & (len(buckets) - 1)] if buckets else 0
        return group, adjacency, self.adjacencies.get(adjacency, (0, 0))[1]

    def listed(self) -> list[Row]:
        """Every route in order of family, address, length."""
        order = sorted(
            self.routes, key=lambda n: (n.version, n.network_address.packed, n.prefixlen)
        )
        return [Row(network, self.routes[network]) for network in order]

    def borders(self) -> list[str]:
        """The addresses where answers can change: first and last of each prefix, and those
        just outside."""
        found: set[Address] = set()
        for network in self.routes:
            first, last = int(network.network_address), int(network.broadcast_address)
            top = 2**network.max_prefixlen - 1
            kind = type(network.network_address)
            found |= {kind(n) for n in (first - 1, first, last, last + 1) if 0 <= n <= top}
        return [str(address) for address in sorted(found, key=lambda a: (a.version, a))]
