"""What the FIB holds, as Python values: groups, adjacencies, ports, answers, stamps.

Use: `Group(3, FibKind.FORWARD, (1, 1, 2, 2))`, `Adjacency(1, AdjacencyState.RESOLVED, port=0,
...)`; the reader (fib.py) returns these, the writer (controlplane/fib/segment/writer.py) takes
them. `to_c`/`from_c` are the only places that know the C structs. Plain values, any process.
"""

import ipaddress
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.rows import address_bytes, address_text, family_of, mac_bytes, mac_text


class FibKind(IntEnum):
    """What a group says about a packet; `.label` is the word users see."""

    NONE = lib.FIB_KIND_NONE
    FORWARD = lib.FIB_KIND_FORWARD
    RECEIVE = lib.FIB_KIND_RECEIVE
    GLEAN = lib.FIB_KIND_GLEAN
    BLACKHOLE = lib.FIB_KIND_BLACKHOLE
    UNREACHABLE = lib.FIB_KIND_UNREACHABLE
    PROHIBIT = lib.FIB_KIND_PROHIBIT
    BROADCAST = lib.FIB_KIND_BROADCAST

    @property
    def label(self) -> str:
        return self.name.lower()


class AdjacencyState(IntEnum):
    NONE = lib.ADJACENCY_NONE
    RESOLVED = lib.ADJACENCY_RESOLVED
    INCOMPLETE = lib.ADJACENCY_INCOMPLETE


@dataclass(frozen=True, slots=True)
class Group:
    """`buckets`: adjacency ids, a power of two of them (weights are repetitions); none is
    allowed for the kinds that do not forward."""

    id: int
    kind: FibKind
    buckets: tuple[int, ...] = ()
    flags: int = 0

    def to_c(self) -> Any:
        """Memory that holds a `struct fib_group` and its buckets: cast it. E_GROUP when they
        are too many."""
        if len(self.buckets) > lib.FIB_MAX_BUCKETS:
            raise RibcageError(
                "E_GROUP",
                f"group {self.id} has {len(self.buckets)} buckets, the limit is "
                f"{lib.FIB_MAX_BUCKETS}",
                exit_code=Exit.CONFIG,
            )
        room = ffi.new("uint64_t[]", lib.fib_group_room() // 8)
        group = ffi.cast("struct fib_group *", room)
        group.kind, group.id, group.flags = self.kind, self.id, self.flags
        group.paths = len(set(self.buckets))
        group.buckets = len(self.buckets)
        buckets = ffi.cast("uint32_t *", ffi.addressof(group, "bucket"))
        for i, adjacency in enumerate(self.buckets):
            buckets[i] = adjacency
        return room

    @classmethod
    def from_c(cls, group: Any) -> "Group":
        buckets = ffi.cast("uint32_t *", ffi.addressof(group, "bucket"))
        ids = tuple(ffi.unpack(buckets, group.buckets)) if group.buckets else ()
        return cls(group.id, FibKind(group.kind), ids, group.flags)


@dataclass(frozen=True, slots=True)
class Adjacency:
    """MACs as `02:00:00:00:00:01`; `nexthop` None: the destination itself (glean)."""

    id: int
    state: AdjacencyState
    port: int
    mtu: int
    source_mac: str = "00:00:00:00:00:00"
    target_mac: str = "00:00:00:00:00:00"
    nexthop: str | None = None

    def to_c(self) -> Any:
        record = ffi.new("struct fib_adjacency *")
        record.id, record.state = self.id, self.state
        record.port, record.mtu = self.port, self.mtu
        ffi.memmove(record.source_mac, mac_bytes(self.source_mac), 6)
        ffi.memmove(record.target_mac, mac_bytes(self.target_mac), 6)
        if self.nexthop is not None:
            raw = address_bytes(self.nexthop)
            record.family = family_of(raw)
            ffi.memmove(record.nexthop, raw, len(raw))
        return record

    @classmethod
    def from_c(cls, record: Any) -> "Adjacency":
        return cls(
            record.id,
            AdjacencyState(record.state),
            record.port,
            record.mtu,
            mac_text(record.source_mac),
            mac_text(record.target_mac),
            address_text(record.nexthop, record.family),
        )


@dataclass(frozen=True, slots=True)
class Port:
    """`addresses`: own ones as "192.0.2.1/24"; the first of a family is the ICMP source."""

    index: int
    name: str
    ifindex: int
    mtu: int
    mac: str = "00:00:00:00:00:00"
    up: bool = True
    host: bool = False
    addresses: tuple[str, ...] = ()

    def to_c(self) -> Any:
        if len(self.addresses) > lib.FIB_PORT_ADDRESSES:
            raise RibcageError(
                "E_PORT",
                f"port {self.name} has {len(self.addresses)} addresses, the limit is "
                f"{lib.FIB_PORT_ADDRESSES}",
                exit_code=Exit.CONFIG,
            )
        record = ffi.new("struct fib_port *")
        record.index, record.ifindex, record.mtu = self.index, self.ifindex, self.mtu
        record.flags = (lib.PORT_UP if self.up else 0) | (lib.PORT_HOST if self.host else 0)
        ffi.memmove(record.mac, mac_bytes(self.mac), 6)
        record.name = self.name.encode()[:15]
        record.addresses = len(self.addresses)
        for i, text in enumerate(self.addresses):
            interface = ipaddress.ip_interface(text)
            entry = record.address[i]
            entry.family = interface.version
            entry.length = interface.network.prefixlen
            ffi.memmove(entry.address, interface.ip.packed, len(interface.ip.packed))
        return record

    @classmethod
    def from_c(cls, record: Any) -> "Port":
        own = (record.address[i] for i in range(record.addresses))
        return cls(
            record.index,
            ffi.string(record.name).decode(errors="replace"),
            record.ifindex,
            record.mtu,
            mac_text(record.mac),
            bool(record.flags & lib.PORT_UP),
            bool(record.flags & lib.PORT_HOST),
            tuple(f"{address_text(a.address, a.family)}/{a.length}" for a in own),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """One lookup, everything a packet needs. group 0: no route."""

    group: int
    kind: FibKind
    adjacency: int
    state: AdjacencyState
    port: int
    mtu: int
    source_mac: str
    target_mac: str
    nexthop: str | None

    @classmethod
    def from_c(cls, answer: Any) -> "Answer":
        return cls(
            answer.group,
            FibKind(answer.kind),
            answer.adjacency,
            AdjacencyState(answer.state),
            answer.port,
            answer.mtu,
            mac_text(answer.source_mac),
            mac_text(answer.target_mac),
            address_text(answer.nexthop, answer.family),
        )


@dataclass(frozen=True, slots=True)
class Stamp:
    """The times of one publish, CLOCK_MONOTONIC ns; see struct fib_stamp."""

    generation: int
    update_id: int
    t0: int
    t1: int
    t2: int
    t3: int
    changes: int
