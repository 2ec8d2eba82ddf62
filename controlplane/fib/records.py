"""Port and adjacency records of the FIB as values, and what a writer of these tables can do.

    port_record(port); adjacency_record(hop, port, known)    # what the FIB should say
    Tables                                                   # who writes it: tables.py

Pure: nothing is written here. forwarding.py decides when which record is written; `verify` compares
with the same functions.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from ribcage.shared._core import lib

from ribcage.controlplane.values.neighbour import Neighbour
from ribcage.shared.addresses import NO_MAC
from ribcage.shared.memory.fib_records import Adjacency, AdjacencyState, Group, Hop, Port


class Tables(Protocol):
    """The writer of groups, adjacencies and ports, as forwarding.py needs it."""

    def write_group(self, group: int, record: Group) -> None: ...
    def clear_group(self, group: int) -> None: ...
    def write_adjacency(self, adjacency: int, record: Adjacency) -> None: ...
    def clear_adjacency(self, adjacency: int) -> None: ...
    def write_port(self, port: Port) -> None: ...
    def clear_port(self, index: int) -> None: ...
    def read_groups(self) -> Iterable[tuple[int, Group]]: ...
    def read_adjacencies(self) -> Iterable[tuple[int, Adjacency]]: ...
    def read_ports(self) -> Iterable[Port]: ...


def port_record(port: Port) -> Port:
    """What the FIB should say about a port; own global addresses first: they source ICMP."""
    own = sorted(port.addresses, key=lambda address: address.is_link_local)
    mtu = min(port.mtu, 0xFFFF)
    return replace(port, mtu=mtu, addresses=tuple(own[: lib.FIB_PORT_ADDRESSES]))


def adjacency_record(hop: Hop, port: Port | None, known: Neighbour | None) -> Adjacency:
    """What the FIB should say about a hop, from its port and what the kernel knows of it."""
    mac = known.mac if known is not None and hop.gateway is not None else None
    return Adjacency(
        hop,
        AdjacencyState.INCOMPLETE if mac is None else AdjacencyState.RESOLVED,
        min(port.mtu, 0xFFFF) if port is not None else 0,
        port.mac if port is not None else NO_MAC,
        NO_MAC if mac is None else mac,
    )
