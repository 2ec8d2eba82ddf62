"""The FIB's writer as the publisher and the forwarding tables want it.

Between values of this plane (hops, plans of groups, ports) and the records of shared/fib_records;
`guard()` may be nested, the writer's semaphore may not. Control only, one thread.
"""

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_interface
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.publishing import Applied
from ribcage.controlplane.fib.records import AdjacencyRecord, PortRecord
from ribcage.controlplane.fib.segment.writer import ApplyError, FibWriter
from ribcage.controlplane.values.nexthop import GroupPlan, Hop
from ribcage.shared.memory.fib import FibReader
from ribcage.shared.memory.fib_records import Adjacency, AdjacencyState, FibKind, Group, Port

_ERRNO = {"E_TABLE_FULL": errno.E2BIG, "E_FIB_FULL": errno.ENOSPC}


class FibTables:
    """See the module's text. `reader` looks at the same segment."""

    def __init__(self, writer: FibWriter, reader: FibReader) -> None:
        self.writer = writer
        self.reader = reader
        self._depth = 0
        geometry = writer.geometry()
        self._limits = (geometry["max_routes4"], geometry["max_routes6"])

    @contextmanager
    def guard(self) -> Iterator[None]:
        """The writer's batch, entered once however deep the calls nest."""
        if self._depth:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
            return
        with self.writer.batch():
            self._depth = 1
            try:
                yield
            finally:
                self._depth = 0

    # -- routes

    def apply(self, rows: Any, count: int) -> Applied:
        try:
            done = self.writer.apply(rows, count)
        except ApplyError as error:
            return Applied(error.applied, 0, _ERRNO.get(error.code, errno.EINVAL))
        return Applied(done.applied, done.changed)

    def publish(self, update_id: int, t0: int, t1: int) -> int:
        return self.writer.publish(update_id, t0, t1)

    def limits(self) -> tuple[int, int]:
        return self._limits

    # -- small tables

    def write_group(self, group: int, plan: GroupPlan) -> None:
        self.writer.set_group(Group(group, FibKind(plan.kind), plan.buckets))

    def clear_group(self, group: int) -> None:
        self.writer.clear_group(group)

    def write_adjacency(self, adjacency: int, record: AdjacencyRecord) -> None:
        gateway = record.hop.gateway
        self.writer.set_adjacency(
            Adjacency(
                adjacency,
                AdjacencyState(record.state),
                record.hop.port,
                record.mtu,
                record.source_mac.hex(":"),
                record.target_mac.hex(":"),
                str(gateway) if gateway is not None else None,
            )
        )

    def clear_adjacency(self, adjacency: int) -> None:
        self.writer.clear_adjacency(adjacency)

    def write_port(self, record: PortRecord) -> None:
        self.writer.set_port(
            Port(
                record.index,
                record.name,
                record.ifindex,
                record.mtu,
                record.mac.hex(":"),
                bool(record.flags & lib.PORT_UP),
                bool(record.flags & lib.PORT_HOST),
                tuple(str(address) for address in record.addresses),
            )
        )

    def clear_port(self, index: int) -> None:
        self.writer.clear_port(index)

    # -- what is there: read once, at takeover

    def read_groups(self) -> Iterable[tuple[int, GroupPlan]]:
        for number in self._ids(lib.FIB_MAX_GROUPS, "groups"):
            group = self.reader.group(number)
            if group is not None:
                kind = int(group.kind)
                yield number, GroupPlan(kind, group.buckets, len(set(group.buckets)))

    def read_adjacencies(self) -> Iterable[tuple[int, AdjacencyRecord]]:
        for number in self._ids(lib.FIB_MAX_ADJACENCIES, "adjacencies"):
            found = self.reader.adjacency(number)
            if found is not None:
                gateway = ip_address(found.nexthop) if found.nexthop is not None else None
                yield (
                    number,
                    AdjacencyRecord(
                        Hop(found.port, gateway),
                        int(found.state),
                        found.mtu,
                        bytes.fromhex(found.source_mac.replace(":", "")),
                        bytes.fromhex(found.target_mac.replace(":", "")),
                    ),
                )

    def read_ports(self) -> Iterable[PortRecord]:
        for index in range(lib.FIB_MAX_PORTS):
            found = self.reader.port(index)
            if found is not None:
                flags = (lib.PORT_UP if found.up else 0) | (lib.PORT_HOST if found.host else 0)
                yield PortRecord(
                    found.index,
                    found.name,
                    found.ifindex,
                    found.mtu,
                    flags,
                    bytes.fromhex(found.mac.replace(":", "")),
                    tuple(ip_interface(text) for text in found.addresses),
                )

    def _ids(self, limit: int, counted: str) -> Iterator[int]:
        """Ids whose directory word is set: 65,536 looks at a word, not 65,536 calls."""
        geometry = self.writer.geometry()
        at = geometry[f"{counted}_at"] * lib.FIB_BLOCK
        words = ffi.cast("uint32_t *", self.writer.mapped.address + at)
        for number in range(1, min(limit, geometry[f"max_{counted}"])):
            if words[number] != 0:
                yield number
