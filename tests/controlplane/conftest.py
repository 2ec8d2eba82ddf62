"""Fakes with the behaviour the real RIB and FIB promise, small enough to be obviously right."""

import contextlib
import errno
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

import posix_ipc
import pytest

from ribcage.controlplane.fib.forwarding import Forwarding
from ribcage.controlplane.fib.publisher import Publisher
from ribcage.controlplane.fib.segment.attach import attach_fib
from ribcage.controlplane.fib.segment.create import FibParams
from ribcage.controlplane.fib.segment.guard import WriterGuard
from ribcage.controlplane.fib.segment.tables import FibTables
from ribcage.controlplane.rib.mapping import RibParams
from ribcage.controlplane.rib.segment import Rib
from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.routes.sources.static import STATIC
from ribcage.controlplane.values.nexthop import NexthopSet
from ribcage.controlplane.values.topology import Topology
from ribcage.shared.addresses import network_of
from ribcage.shared.memory.fib import FibReader
from ribcage.shared.memory.fib_records import Adjacency, Group, Port
from ribcage.shared.memory.rows import Applied, Row, rows_of
from ribcage.shared.memory.segment import remove_segment
from ribcage.shared.plan import FibPlan, Plan
from ribcage.shared.process.names import Names

Key = tuple[int, bytes, int]


def key_of(row: Any) -> Key:
    return int(row.family), bytes(row.prefix), int(row.length)


class FakeTable:
    """The RIB: candidates by (prefix, source, metric); best = distance, metric, source."""

    def __init__(self, max_rows: int = 1000) -> None:
        self.candidates: dict[Key, dict[tuple[int, int], tuple[int, int]]] = {}
        self.max_rows = max_rows
        self.mark = 0
        self.done = 0
        self.calls = 0

    def best(self, key: Key) -> tuple[int, int, int, int] | None:
        rows = self.candidates.get(key, {})
        return min(
            ((d, metric, source, n) for (source, metric), (d, n) in rows.items()), default=None
        )

    def apply(self, rows: Any, count: int, changes: Any, room: int) -> Applied:
        self.calls += 1
        before: dict[Key, Any] = {}
        applied, error = 0, 0
        for i in range(count):
            row = rows[i]
            key = key_of(row)
            if key not in before and len(before) >= room:
                break
            mine = self.candidates.setdefault(key, {})
            before.setdefault(key, self.best(key))
            candidate = (int(row.source), int(row.metric))
            if row.nexthop == 0:
                mine.pop(candidate, None)
            elif candidate not in mine and self.rows() >= self.max_rows:
                error = errno.ENOSPC
                break
            else:
                mine[candidate] = (int(row.distance), int(row.nexthop))
            applied += 1
        changed = 0
        for (family, prefix, length), old in before.items():
            new = self.best((family, prefix, length))
            if (old and old[3]) == (new and new[3]):
                continue
            distance, metric, source, nexthop = new or (0, 0, 0, 0)
            changes[changed] = {
                "prefix": prefix,
                "length": length,
                "family": family,
                "source": source,
                "distance": distance,
                "metric": metric,
                "nexthop": nexthop,
            }
            changed += 1
            self.mark += 1
        return Applied(applied, changed, error)

    def rows(self) -> int:
        return sum(len(rows) for rows in self.candidates.values())

    def changed(self) -> int:
        return self.mark

    def published(self, mark: int) -> None:
        assert mark >= self.done
        self.done = mark


class FakeWriter:
    """The FIB: routes, and the order in which things were asked of it."""

    def __init__(self, max_routes: int = 1000) -> None:
        self.routes: dict[Key, int] = {}
        self.max_routes = max_routes
        self.generation = 0
        self.depth = 0
        self.guards = 0  # taken, those inside another not counted
        self.words = 0
        self.journal: list[str] = []

    @contextmanager
    def guard(self) -> Iterator[None]:
        self.guards += self.depth == 0
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    def apply(self, rows: Any, count: int) -> Applied:
        assert self.depth > 0, "FIB words are stored only inside the semaphore"
        changed = 0
        for i in range(count):
            key, group = key_of(rows[i]), int(rows[i].nexthop)
            if group == 0:
                changed += self.routes.pop(key, None) is not None
            elif key not in self.routes and len(self.routes) >= self.max_routes:
                return Applied(i, changed, errno.E2BIG)
            else:
                changed += self.routes.get(key) != group
                self.routes[key] = group
        self.words += changed
        self.journal.append(f"apply {count}")
        return Applied(count, changed)

    def publish(self, update_id: int, t0: int, t1: int) -> int:
        assert self.depth > 0
        assert 0 < t0 <= t1
        self.generation += 1
        self.journal.append(f"publish {self.generation}")
        return self.generation

    def limits(self) -> tuple[int, int]:
        return self.max_routes, self.max_routes


class FakeTables:
    """The small tables, refusing what the real ones refuse."""

    def __init__(self) -> None:
        self.groups: dict[int, Group] = {}
        self.adjacencies: dict[int, Adjacency] = {}
        self.ports: dict[int, Port] = {}
        self.writes: list[str] = []

    def write_group(self, group: int, plan: Group) -> None:
        assert all(entry == 0 or entry in self.adjacencies for entry in plan.buckets)
        self.groups[group] = plan
        self.writes.append(f"group {group}")

    def clear_group(self, group: int) -> None:
        del self.groups[group]
        self.writes.append(f"clear group {group}")

    def write_adjacency(self, adjacency: int, record: Adjacency) -> None:
        self.adjacencies[adjacency] = record
        self.writes.append(f"adjacency {adjacency}")

    def clear_adjacency(self, adjacency: int) -> None:
        named = {entry for plan in self.groups.values() for entry in plan.buckets}
        assert adjacency not in named, "EBUSY: a bucket names it"
        del self.adjacencies[adjacency]
        self.writes.append(f"clear adjacency {adjacency}")

    def write_port(self, record: Port) -> None:
        self.ports[record.index] = record
        self.writes.append(f"port {record.index}")

    def clear_port(self, index: int) -> None:
        del self.ports[index]
        self.writes.append(f"clear port {index}")

    def read_groups(self) -> Iterable[tuple[int, Group]]:
        return list(self.groups.items())

    def read_adjacencies(self) -> Iterable[tuple[int, Adjacency]]:
        return list(self.adjacencies.items())

    def read_ports(self) -> Iterable[Port]:
        return list(self.ports.values())


def two_ports(*addresses: str) -> list[Port]:
    """eth1 and eth2, both up; `{}` in an address stands for the number."""
    return [
        Port(
            index,
            f"eth{index}",
            ifindex=10 + index,
            mac=bytes([2, 0, 0, 0, 0, index]),
            up=True,
            addresses=tuple(ip_interface(text.format(index)) for text in addresses),
        )
        for index in (1, 2)
    ]


class Bench:
    """A publisher over fakes, with two ports."""

    def __init__(self, max_rows: int = 1000, max_routes: int = 1000) -> None:
        self.table = FakeTable(max_rows)
        self.writer = FakeWriter(max_routes)
        self.tables = FakeTables()
        self.topology = Topology()
        for port in two_ports("10.0.{}.1/24"):
            self.topology.put(port)
        self.forwarding = Forwarding(self.tables, self.topology, {})
        self.now = 1_000_000_000
        self.rung = 0
        self.publisher = Publisher(
            self.table, self.writer, self.forwarding, bells=self._ring, clock=self._clock
        )

    def _ring(self) -> int:
        self.rung += 1
        return 1

    def _clock(self) -> int:
        self.now += 1000
        return self.now

    def rows(self, *routes: tuple[str, int] | tuple[str, int, int]) -> tuple[Any, int]:
        """`(prefix, nexthop)` or `(prefix, nexthop, metric)` as rows of source static."""
        rows = (
            Row(ip_network(prefix), nexthop, STATIC.number, 1, *metric)
            for prefix, nexthop, *metric in routes
        )
        return rows_of(rows), len(routes)

    def fib(self) -> dict[str, int]:
        return {text_of(key): group for key, group in self.writer.routes.items()}


def text_of(key: Key) -> str:
    family, prefix, length = key
    return str(network_of(prefix, family, length))


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def make_bench() -> Callable[..., Bench]:
    return Bench


@pytest.fixture
def define(bench: Bench) -> Callable[[int, NexthopSet], None]:
    return bench.forwarding.define


@pytest.fixture
def names(tmp_path: Path) -> Iterator[Names]:
    """An instance of its own; whatever it made is gone afterwards."""
    made = Names(f"t{os.getpid()}-{uuid.uuid4().hex[:8]}", tmp_path)
    made.make_run_dir()
    yield made
    for name in made.segments:
        remove_segment(name)
    with contextlib.suppress(posix_ipc.ExistentialError):
        posix_ipc.unlink_semaphore(made.writer_semaphore)


@dataclass
class Router:
    """A core over real segments, without processes around it."""

    names: Names
    plan: Plan = field(default_factory=lambda: Plan("t"))
    core: Core = field(init=False)

    def start(self) -> Core:
        """What a control process does first: attach, recover, take over."""
        fib_plan = self.plan.fib
        self.guard = WriterGuard(self.names)
        params = RibParams(
            max_rows=2 * (fib_plan.max_routes4 + fib_plan.max_routes6), instance_id=7
        )
        self.rib = Rib.create_or_attach(self.names, params)
        limits = FibParams(max_routes4=fib_plan.max_routes4, max_routes6=fib_plan.max_routes6)
        self.writer = attach_fib(self.names, limits, instance_id=7, guard=self.guard)
        self.reader = FibReader(self.writer.mapped.fd)
        tables = FibTables(self.writer, self.reader)
        self.core = Core(self.plan, self.rib, tables, self.reader)
        self.taken = self.core.takeover(self.writer.outcome != "attached")
        return self.core

    def stop(self) -> None:
        """The process is gone: nothing is undone, the segments stay."""
        self.reader.close()
        self.writer.close()
        self.rib.close()
        self.guard.close()

    def restart(self) -> Core:
        self.stop()
        return self.start()

    def ports(self) -> None:
        for port in two_ports("10.0.{}.1/24", "2001:db8:{}::1/64"):
            self.core.put_port(port)


@pytest.fixture
def router(names: Names) -> Iterator[Router]:
    """Small limits, so that a segment is a few MiB."""
    limits = FibPlan(max_routes4=2000, max_routes6=1000)
    made = Router(names, Plan("t", fib=limits))
    made.start()
    yield made
    made.stop()
