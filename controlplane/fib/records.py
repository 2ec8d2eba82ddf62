"""The records of the FIB's small tables as values, and the writer's side of the tables.

    port_record(port); adjacency_record(hop, port, known)    # what the FIB should say
    Tables                                                   # who writes it: fib_tables.py

Pure: nothing is written here. forwarding.py decides when which record is written; `verify` compares
with the same functions.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ribcage.shared._core import lib

from ribcage.controlplane.values.neighbour import Neighbour
from ribcage.controlplane.values.nexthop import GroupPlan, Hop
from ribcage.controlplane.values.topology import Interface, Port

NO_MAC = bytes(6)


@dataclass(frozen=True, slots=True)
class AdjacencyRecord:
    """The content of one struct fib_adjacency; `gateway` is in the hop."""

    hop: Hop
    state: int
    mtu: int
    source_mac: bytes
    target_mac: bytes


@dataclass(frozen=True, slots=True)
class PortRecord:
    """The content of one struct fib_port."""

    index: int
    name: str
    ifindex: int
    mtu: int
    flags: int
    mac: bytes
    addresses: tuple[Interface, ...]


class Tables(Protocol):
    """The writer's side of the small tables, as this file needs it."""

    def write_group(self, group: int, plan: GroupPlan) -> None: ...
    def clear_group(self, group: int) -> None: ...
    def write_adjacency(self, adjacency: int, record: AdjacencyRecord) -> None: ...
    def clear_adjacency(self, adjacency: int) -> None: ...
    def write_port(self, record: PortRecord) -> None: ...
    def clear_port(self, index: int) -> None: ...
    def read_groups(self) -> Iterable[tuple[int, GroupPlan]]: ...
    def read_adjacencies(self) -> Iterable[tuple[int, AdjacencyRecord]]: ...
    def read_ports(self) -> Iterable[PortRecord]: ...


def port_record(port: Port) -> PortRecord:
    """What the FIB should say about a port; own global addresses first: they source ICMP."""
    flags = (lib.PORT_UP if port.up else 0) | (lib.PORT_HOST if port.host else 0)
    own = sorted(port.addresses, key=lambda address: address.is_link_local)
    return PortRecord(
        port.index,
        port.name,
        port.ifindex,
        min(port.mtu, 0xFFFF),
        flags,
        port.mac,
        tuple(own[: lib.FIB_PORT_ADDRESSES]),
    )


def adjacency_record(hop: Hop, port: Port | None, known: Neighbour | None) -> AdjacencyRecord:
    """What the FIB should say about a hop, from its port and what the kernel knows of it."""
    mac = known.mac if known is not None else None
    resolved = mac is not None and hop.gateway is not None
    return AdjacencyRecord(
        hop,
        lib.ADJACENCY_RESOLVED if resolved else lib.ADJACENCY_INCOMPLETE,
        min(port.mtu, 0xFFFF) if port is not None else 0,
        port.mac if port is not None else NO_MAC,
        mac if resolved and mac is not None else NO_MAC,
    )
