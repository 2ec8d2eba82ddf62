"""Measures what prefix aggregation saves and costs on a table: entries and bytes.

    python -m ribcage.lab.bench.aggregate --nexthops 4 --default

Loads the same rows twice, through a RIB into two FIB segments of their own: one gets every route,
one goes through fib.aggregate. Prints entries and live bytes of both as the writers count them,
seconds of a whole load, of a successor's loading of the routes in force, and of the dearest change
there is, a default route that turns from one group to another and back. Then as many random
addresses as `--lookups` are asked of both: they have to agree, or the exit status is 1.

How much is saved depends on how many next hops the table has and how they nest. `--nexthops N`
folds the file's next-hop ids into N groups; `--default` adds a default route of group 1.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

import posix_ipc
from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.aggregation import Aggregation
from ribcage.controlplane.fib.publishing import RouteWriter
from ribcage.controlplane.fib.segment.attach import attach_fib
from ribcage.controlplane.fib.segment.create import FibParams
from ribcage.controlplane.fib.segment.tables import FibTables
from ribcage.controlplane.rib.mapping import RibParams
from ribcage.controlplane.rib.segment import Rib
from ribcage.controlplane.values.nexthop import host
from ribcage.lab.bench.tcp import machine
from ribcage.lab.tables import SampleTable, find_table
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib import FibReader
from ribcage.shared.memory.fib_records import FibKind, Group
from ribcage.shared.memory.rows import Applied, Row, new_rows, rows_of
from ribcage.shared.memory.segment import remove_segment
from ribcage.shared.process.names import Names

SLICE = 8192
SOURCE = 3  # any but 0


@dataclass(slots=True)
class Half:
    """A RIB and a FIB; `entry` is what changes go through."""

    rib: Rib
    tables: FibTables
    entry: RouteWriter
    stage: Aggregation | None = None

    def put(self, rows: Any, count: int) -> float:
        """Applies and publishes in slices, as control does. Seconds in the FIB and before it."""
        changes, took = new_rows(SLICE), 0.0
        for at in range(0, count, SLICE):
            applied = self.rib.apply(rows + at, min(SLICE, count - at), changes, SLICE)
            assert applied.error == 0
            start = time.perf_counter()
            with self.tables.guard():
                done = self.entry.apply(changes, applied.changes)
                self.tables.publish(1, 1, 1)
            took += time.perf_counter() - start
            assert done.error == 0, "the FIB is full"
            self.rib.published(self.rib.changed())
        return took


class Nowhere:
    """A FIB that takes everything and holds nothing: what is left is the work of aggregation."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def guard(self) -> AbstractContextManager[None]:
        return nullcontext()

    def publish(self, update_id: int, t0: int, t1: int) -> int:
        return 1

    def limits(self) -> tuple[int, int]:
        return self.limit, self.limit

    def apply(self, rows: Any, count: int) -> Applied:
        return Applied(count, 0)


def stage_seconds(rows: Any, count: int, groups: int) -> float:
    """A whole load through aggregation alone."""
    rib = rib_of(groups, count + 1)
    stage = Aggregation(rib, Nowhere(count + 1))
    start = time.perf_counter()
    for at in range(0, count, SLICE):
        stage.apply(rows + at, min(SLICE, count - at))
    took = time.perf_counter() - start
    stage.close()
    rib.close()
    return took


@contextmanager
def half(rib: Rib, name: str, folder: Path, groups: int, routes: int) -> Iterator[Half]:
    """A FIB in a segment of its own, which is gone afterwards."""
    names = Names(name, folder)
    names.make_run_dir()
    writer = attach_fib(names, FibParams(routes + 1000, routes + 1000))
    reader = FibReader(writer.mapped.fd)
    try:
        with writer.batch():
            for group in range(1, groups + 1):
                writer.set_group(group, Group(FibKind.BLACKHOLE))
        tables = FibTables(writer, reader)
        yield Half(rib, tables, tables)
    finally:
        reader.close()
        writer.close()
        remove_segment(names.fib)
        posix_ipc.unlink_semaphore(names.writer_semaphore)


def table_rows(table: SampleTable, nexthops: int) -> tuple[Any, int, int]:
    """The table as rows, how many, and the number of groups they name."""
    text = ("\n".join(table.lines) + "\n").encode()
    rows, result = new_rows(len(table.lines)), ffi.new("struct row_parse *")
    none = ffi.NULL
    error = lib.rows_parse(text, len(text), 1, rows, len(table.lines), none, 0, none, result)
    if error:
        raise RibcageError("E_PREFIX", f"line {result.line} of {table.source} is not a row")
    count, groups = int(result.rows), 0
    for i in range(count):
        row = rows[i]
        if nexthops:
            row.nexthop = 1 + row.nexthop % nexthops
        groups = max(groups, row.nexthop)
        row.source, row.distance = SOURCE, 1
    return rows, count, groups


def rib_of(groups: int, routes: int) -> Rib:
    rib = Rib.private(RibParams(max_rows=routes + 10))
    for group in range(1, groups + 1):
        gateway = IPv4Address(f"192.0.{2 + (group >> 8)}.{group & 255}")
        assert rib.nexthop_intern(host(0, gateway)) == group
    return rib


def report(one: Half, loaded: float, swing: float) -> dict[str, Any]:
    published = one.tables.writer.published()
    return {
        "entries": published["routes4"] + published["routes6"],
        "live_bytes": one.tables.writer.memory()["live"],
        "load_seconds": loaded,
        "default_change_seconds": swing,
        "private_bytes": one.stage.counts()["private_bytes"] if one.stage else 0,
    }


def agree(one: Half, other: Half, family: int, rows: Any, count: int, lookups: int) -> int:
    """Addresses, half of them inside routes of the table, that the two answer differently."""
    rng, wrong, width = random.Random(7), 0, 4 if family == 4 else 16
    for i in range(lookups):
        address = rng.randbytes(width)
        if i % 2:
            row = rows[rng.randrange(count)]
            whole = int(row.length) // 8
            address = bytes(row.prefix)[:whole] + address[whole:]
        wrong += (
            one.tables.reader.lookup(address).group != other.tables.reader.lookup(address).group
        )
    return wrong


def measure(table: SampleTable, nexthops: int, default: bool, lookups: int) -> dict[str, Any]:
    """One document: {table, routes, plain, aggregated, successor_seconds, lookups, differences}."""
    rows, count, groups = table_rows(table, nexthops)
    groups = max(groups, 2)
    everywhere = ip_network("0.0.0.0/0" if table.family == 4 else "::/0")
    results: dict[str, dict[str, Any]] = {}
    turns = [rows_of([Row(everywhere, group, SOURCE, 1)]) for group in (1, 2, 0)]
    successor = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ribs = [rib_of(groups, count + 1) for _ in range(2)]
        with (
            half(ribs[0], "aggregate-plain", folder, groups, count) as plain,
            half(ribs[1], "aggregate-on", folder, groups, count) as on,
        ):
            on.entry = on.stage = Aggregation(on.rib, on.tables)
            for label, one in (("plain", plain), ("aggregated", on)):
                loaded = one.put(turns[0], 1) if default else 0.0
                loaded += one.put(rows, count)
                one.put(turns[0], 1)
                swing = max(one.put(turns[1], 1), one.put(turns[0], 1))
                if not default:
                    one.put(turns[2], 1)
                results[label] = report(one, loaded, swing)
            start = time.perf_counter()
            Aggregation(on.rib, on.tables).close()
            successor = time.perf_counter() - start
            wrong = agree(plain, on, table.family, rows, count, lookups)
            on.stage.close()
        for rib in ribs:
            rib.close()
    return {
        "table": table.source,
        "family": table.family,
        "routes": count + default,
        "nexthops": groups,
        "default": default,
        **results,
        "stage_seconds": stage_seconds(rows, count, groups),
        "successor_seconds": successor,
        "lookups": lookups,
        "differences": wrong,
        "machine": machine(),
    }


def text(result: dict[str, Any]) -> str:
    lines = [
        f"{result['table']}: {result['routes']} IPv{result['family']} routes, "
        f"{result['nexthops']} next hops{', with a default route' if result['default'] else ''}",
        f"{'FIB':<12}{'ENTRIES':>10}{'LIVE BYTES':>14}{'LOAD s':>10}{'DEFAULT s':>12}",
    ]
    for label in ("plain", "aggregated"):
        one = result[label]
        lines.append(
            f"{label:<12}{one['entries']:>10}{one['live_bytes']:>14}{one['load_seconds']:>10.3f}"
            f"{one['default_change_seconds']:>12.4f}"
        )
    lines.append(
        f"aggregation alone {result['stage_seconds']:.3f} s a load; "
        f"{result['aggregated']['private_bytes']} private bytes, made again by a successor in "
        f"{result['successor_seconds']:.3f} s\n{result['lookups']} lookups in both: "
        f"{result['differences']} differ"
    )
    return "\n".join(lines)


def main() -> int:
    """Command-line face."""
    parser = argparse.ArgumentParser(description="Entries and bytes with and without aggregation.")
    parser.add_argument(
        "--table", type=Path, help="lines PREFIX/LEN ID; else the real one if there"
    )
    parser.add_argument("--family", type=int, choices=(4, 6), default=4)
    parser.add_argument("--routes", type=int, default=100_000, help="of a synthetic table")
    parser.add_argument("--nexthops", type=int, default=0, help="fold the ids into so many")
    parser.add_argument("--default", action="store_true", help="add a default route of group 1")
    parser.add_argument("--lookups", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    table = find_table(args.family, args.routes) if args.table is None else read_table(args)
    result = measure(table, args.nexthops, args.default, args.lookups)
    print(json.dumps(result) if args.json else text(result))
    return 1 if result["differences"] else 0


def read_table(args: argparse.Namespace) -> SampleTable:
    """A plain or .xz file."""
    import lzma

    opener = lzma.open if args.table.suffix == ".xz" else open
    with opener(args.table, "rt", encoding="ascii") as file:
        lines = file.read().splitlines()
    return SampleTable(6 if ":" in lines[0] else 4, lines, str(args.table))


if __name__ == "__main__":
    raise SystemExit(main())
