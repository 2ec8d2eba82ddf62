"""What control knows about the links: ports, their addresses, and who is connected to what.

It is a plain value: control feeds it from the kernel's events, the sources and the routes read
it. A port's index is its place in the FIB and in every worker's tables. It is chosen once a name
(`index_for`) and recovered by name after a restart, so that a worker never sees a port change its
meaning.

    topology.put(Port(...)); topology.egress(gateway) -> Port | None; topology.alive(hop) -> bool

Belongs to the control process. Promises nothing about the kernel's state: it is the last word
that was heard.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ribcage.shared._core import lib

from ribcage.controlplane.values.nexthop import NexthopSet
from ribcage.shared.addresses import Address, Network
from ribcage.shared.memory.fib_records import Hop, Port

MAX_PORTS: int = lib.FIB_MAX_PORTS


@dataclass(slots=True)
class Topology:
    """Ports by index and by name. Every change is a `put` or a `drop` of a whole port."""

    ports: dict[int, Port] = field(default_factory=dict)
    indices: dict[str, int] = field(default_factory=dict)  # also of ports that left
    # Addresses of interfaces that are no ports (a loopback's, a daemon's): the kernel answers.
    local: set[Address] = field(default_factory=set)

    def index_for(self, name: str) -> int | None:
        """The index of a name, the lowest free one when it is new; None when all are taken."""
        if name in self.indices:
            return self.indices[name]
        taken = set(self.indices.values())
        for index in range(MAX_PORTS):
            if index not in taken:
                self.indices[name] = index
                return index
        return self._recycle(name)

    def _recycle(self, name: str) -> int | None:
        for old, index in self.indices.items():
            if index not in self.ports:
                del self.indices[old]
                self.indices[name] = index
                return index
        return None

    def put(self, port: Port) -> None:
        self.indices[port.name] = port.index
        self.ports[port.index] = port

    def drop(self, index: int) -> None:
        """The link is gone; its index stays reserved for its name."""
        self.ports.pop(index, None)

    def by_name(self, name: str) -> Port | None:
        index = self.indices.get(name)
        return self.ports.get(index) if index is not None else None

    def by_ifindex(self, ifindex: int) -> Port | None:
        return next((port for port in self.ports.values() if port.ifindex == ifindex), None)

    def name_of(self, index: int) -> str:
        port = self.ports.get(index)
        if port is not None:
            return port.name
        return next((name for name, i in self.indices.items() if i == index), f"port{index}")

    def describe(self, nexthops: NexthopSet) -> str:
        """A next-hop set for people: `via 10.0.2.9 dev eth2 | via ...`, or its kind."""
        paths = []
        for path in nexthops.paths:
            name = self.name_of(path.hop.port)
            text = f"via {path.hop.gateway} dev {name}" if path.hop.gateway else f"dev {name}"
            paths.append(f"{text} weight {path.weight}" if len(nexthops.paths) > 1 else text)
        return " | ".join(paths) or nexthops.kind.label

    def connected(self) -> Iterator[tuple[Network, Port]]:
        """Networks of the ports, each with its port; point-to-point hosts included."""
        for port in self.ports.values():
            for own in port.addresses:
                yield own.network, port

    def egress(self, gateway: Address) -> Port | None:
        """The port of the longest connected network that holds `gateway`; up ports first."""
        best: tuple[bool, int, int] | None = None
        found: Port | None = None
        for network, port in self.connected():
            if network.version == gateway.version and gateway in network:
                rank = (port.up, network.prefixlen, -port.index)
                if best is None or rank > best:
                    best, found = rank, port
        return found

    def owner(self, address: Address) -> str | None:
        """The name of the port that has `address` as its own; "the host" for local ones."""
        for port in self.ports.values():
            if any(own.ip == address for own in port.addresses):
                return port.name
        return "the host" if address in self.local else None

    def alive(self, hop: Hop) -> bool:
        """Whether a packet can leave over this hop: the port is up and still connected to it."""
        port = self.ports.get(hop.port)
        if port is None or not port.up:
            return False
        gateway = hop.gateway
        if gateway is None or port.host:
            return True
        if gateway.version == 6 and gateway.is_link_local:
            return True
        return port.covers(gateway) is not None


def networks_text(topology: Topology, version: int | None = None) -> str:
    """`10.0.1.0/24 (eth1), 10.0.2.0/24 (eth2)`: for the hint of a refused next hop."""
    listed = sorted(
        (network.version, int(network.network_address), f"{network} ({port.name})")
        for network, port in topology.connected()
        if (version is None or network.version == version)
        and not port.host
        and network.prefixlen < network.max_prefixlen
        and not network.is_link_local
    )
    return ", ".join(dict.fromkeys(text for _, _, text in listed)) or "none"
