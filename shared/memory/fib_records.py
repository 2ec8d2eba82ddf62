"""What the FIB holds, as Python values: groups, adjacencies, ports, answers, stamps.

Use: `Group(FibKind.FORWARD, (1, 1, 2, 2))`, `Adjacency(Hop(0, gateway), AdjacencyState.RESOLVED,
1500, ...)`; the reader (fib.py) returns these, the writer (fib/segment/writer.py) takes them
under an id. `to_c`/`from_c` are the only places that know the C structs. Plain values, any
process.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.shared.addresses import NO_MAC, Address, Interface
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.fields import read_address, read_interface, read_mac, set_address


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
class Hop:
    """What an adjacency is for: a port, and the neighbour on it (None: the destination itself)."""

    port: int
    gateway: Address | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """`buckets`: adjacency ids, a power of two of them (weights are repetitions); none is
    allowed for the kinds that do not forward."""

    kind: FibKind
    buckets: tuple[int, ...] = ()
    flags: int = 0

    def to_c(self, id: int) -> Any:
        """Memory that holds a `struct fib_group` and its buckets: cast it. E_GROUP when they
        are too many."""
        if len(self.buckets) > lib.FIB_MAX_BUCKETS:
            raise RibcageError(
                "E_GROUP",
                f"group {id} has {len(self.buckets)} buckets, the limit is {lib.FIB_MAX_BUCKETS}",
                exit_code=Exit.CONFIG,
            )
        room = ffi.new("uint64_t[]", lib.fib_group_room() // 8)
        group = ffi.cast("struct fib_group *", room)
        group.kind, group.id, group.flags = self.kind, id, self.flags
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
        return cls(FibKind(group.kind), ids, group.flags)


@dataclass(frozen=True, slots=True)
class Adjacency:
    """How a packet leaves over a hop: MTU of the port, and both MACs once they are known."""

    hop: Hop
    state: AdjacencyState
    mtu: int
    source_mac: bytes = NO_MAC
    target_mac: bytes = NO_MAC

    def to_c(self, id: int) -> Any:
        record = ffi.new("struct fib_adjacency *")
        record.id, record.state = id, self.state
        record.port, record.mtu = self.hop.port, self.mtu
        ffi.memmove(record.source_mac, self.source_mac, 6)
        ffi.memmove(record.target_mac, self.target_mac, 6)
        if self.hop.gateway is not None:
            record.family = set_address(record.nexthop, self.hop.gateway)
        return record

    @classmethod
    def from_c(cls, record: Any) -> "Adjacency":
        return cls(
            Hop(record.port, read_address(record.nexthop, record.family)),
            AdjacencyState(record.state),
            record.mtu,
            read_mac(record.source_mac),
            read_mac(record.target_mac),
        )


@dataclass(frozen=True, slots=True)
class Port:
    """One interface the router forwards on. `up`: administratively up with carrier; `host`: the
    host stack is behind it. `addresses`: own ones; the first of a family is the ICMP source."""

    index: int
    name: str
    ifindex: int = 0
    mtu: int = 1500
    mac: bytes = NO_MAC
    up: bool = False
    host: bool = False
    addresses: tuple[Interface, ...] = ()

    @property
    def kind(self) -> str:
        """The word of the channel and of listings."""
        return "host" if self.host else "port"

    def covers(self, address: Address) -> Interface | None:
        """The own address whose network holds `address`, the longest first."""
        best: Interface | None = None
        for own in self.addresses:
            if (
                own.version == address.version
                and address in own.network
                and (best is None or own.network.prefixlen > best.network.prefixlen)
            ):
                best = own
        return best

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
        ffi.memmove(record.mac, self.mac, 6)
        record.name = self.name.encode()[:15]
        record.addresses = len(self.addresses)
        for entry, own in zip(record.address, self.addresses, strict=False):
            entry.family = set_address(entry.address, own.ip)
            entry.length = own.network.prefixlen
        return record

    @classmethod
    def from_c(cls, record: Any) -> "Port":
        """ValueError when somebody wrote into it."""
        if record.addresses > lib.FIB_PORT_ADDRESSES:
            raise ValueError(f"a port of {record.addresses} addresses")
        own = (record.address[i] for i in range(record.addresses))
        return cls(
            record.index,
            ffi.string(record.name).decode(errors="replace"),
            record.ifindex,
            record.mtu,
            read_mac(record.mac),
            bool(record.flags & lib.PORT_UP),
            bool(record.flags & lib.PORT_HOST),
            tuple(read_interface(a.address, a.family, a.length) for a in own),
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
    source_mac: bytes
    target_mac: bytes
    nexthop: Address | None

    @classmethod
    def from_c(cls, answer: Any) -> "Answer":
        return cls(
            answer.group,
            FibKind(answer.kind),
            answer.adjacency,
            AdjacencyState(answer.state),
            answer.port,
            answer.mtu,
            read_mac(answer.source_mac),
            read_mac(answer.target_mac),
            read_address(answer.nexthop, answer.family),
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
