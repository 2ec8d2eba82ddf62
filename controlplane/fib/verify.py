"""`fib verify`: RIB, FIB and real lookups compared; and the same comparison for a takeover.

    for rows, count in differences(rib, fib): ...        # what the FIB should hold instead
    report = await verify(core, samples=100_000, seed=7) # -> dict for the command line

The tables are walked in slices with a turn of the loop between them, so updates go on meanwhile;
a difference is looked at once more, alone, before it is reported. The work on rows is in C
(csrc/verify/verify.c). A difference is a bug or a damaged segment: never repaired here, only told.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.records import adjacency_record
from ribcage.controlplane.rib.segment import Rib
from ribcage.controlplane.values.nexthop import NexthopSet, group_plan
from ribcage.shared.addresses import Network
from ribcage.shared.memory.fields import prefix_of, read_address
from ribcage.shared.memory.rows import ROW_BYTES, new_rows

if TYPE_CHECKING:
    from ribcage.controlplane.fib.aggregation import Aggregation
    from ribcage.controlplane.fib.tables import FibTables
    from ribcage.controlplane.routes.core import Core

SLICE = 2048
MAX_REPORTED = 100
LOOKUPS = 2048  # between two turns of the loop


def rib_slices(rib: Rib) -> Iterator[tuple[Any, int]]:
    """The RIB's candidates as (struct rib_route[], count), in order."""
    cursor, everything = ffi.new("struct rib_cursor *"), ffi.new("struct rib_filter *")
    everything.selected = 1
    routes = ffi.new("struct rib_route[]", SLICE)
    while cursor.state != 2:
        count = lib.rib_walk(rib.handle, cursor, everything, routes, SLICE)
        if count < 0:
            return
        yield routes, count


def _wanted_by(aggregation: "Aggregation | None") -> Any:
    """`struct rib_aggregate *`, NULL while every route is wanted."""
    return ffi.NULL if aggregation is None else aggregation.handle


def _missing(
    rib: Rib, fib: "FibTables", aggregation: "Aggregation | None"
) -> Iterator[tuple[Any, int, int]]:
    """Slices of the RIB: rows the FIB has not or otherwise, how many, how many were seen."""
    out, wanted = new_rows(SLICE), _wanted_by(aggregation)
    for routes, count in rib_slices(rib):
        yield out, lib.verify_routes(fib.writer.handle, wanted, routes, count, out), count


def _surplus(
    rib: Rib, fib: "FibTables", aggregation: "Aggregation | None"
) -> Iterator[tuple[Any, int, int]]:
    """Slices of the FIB: rows the RIB wants otherwise or not at all."""
    out, wanted = new_rows(SLICE), _wanted_by(aggregation)
    for rows, count in fib.writer.walk_rows():
        yield out, lib.verify_rows(rib.handle, wanted, rows, count, out), count


def differences(
    rib: Rib, fib: "FibTables", aggregation: "Aggregation | None" = None
) -> Iterator[tuple[Any, int]]:
    """What the FIB should hold instead, in slices of rows; the caller applies each at once.

    Surplus rows first, so that a full table has room for the missing ones. They are collected
    before any is changed: the FIB's walk does not allow changes beside it.
    """
    wrong: list[bytes] = []
    for out, found, _ in _surplus(rib, fib, aggregation):
        wrong.append(bytes(ffi.buffer(out, found * ROW_BYTES)))
    raw = b"".join(wrong)
    if raw:
        yield ffi.from_buffer("struct route_row[]", bytearray(raw)), len(raw) // ROW_BYTES
    for out, found, _ in _missing(rib, fib, aggregation):
        yield out, found


async def verify(core: "Core", samples: int = 100_000, seed: int = 7) -> dict[str, Any]:
    """The report of `fib verify`: {rib, fib4, fib6, differences, count, samples, seconds}."""
    start = time.monotonic()
    found: list[dict[str, Any]] = []
    stage = core.reconciler.aggregation
    rib_routes = await _compare(core, _missing(core.rib, core.fib, stage), found)
    await _compare(core, _surplus(core.rib, core.fib, stage), found)
    count = len(found) + _check_groups(core, found) + _check_aggregation(core, found)
    count += await _lookups(core, samples, seed, found)
    if not core.fib.writer.check():
        count += 1
        found.append({"what": "digest", "detail": "the FIB's counts do not fit its routes"})
    published = core.fib.writer.published()
    return {
        "rib": rib_routes,
        "fib4": published["routes4"],
        "fib6": published["routes6"],
        "generation": published["generation"],
        "samples": samples,
        "seed": seed,
        "differences": found[:MAX_REPORTED],
        "count": count,
        "seconds": round(time.monotonic() - start, 6),
    }


async def _compare(
    core: "Core", slices: Iterator[tuple[Any, int, int]], found: list[dict[str, Any]]
) -> int:
    """Looks at suspects again at once, in the same turn; one that stays is a difference."""
    total = 0
    for out, suspects, seen in slices:
        total += seen
        for i in range(suspects):
            _recheck(core, out[i], found)
        await asyncio.sleep(0)
    return total


def _recheck(core: "Core", row: Any, found: list[dict[str, Any]]) -> None:
    stage = _wanted_by(core.reconciler.aggregation)
    wanted = int(lib.verify_wanted(core.rib.handle, stage, ffi.addressof(row)))
    has = int(lib.fib_exact(core.fib.writer.handle, ffi.addressof(row)))
    prefix = prefix_of(row)
    if wanted != has and all(one.get("dst") != str(prefix) for one in found):
        found.append(
            {
                "what": "route",
                "dst": str(prefix),
                "rib": set_text(core, wanted) if wanted else _unwanted(core, prefix),
                "fib": set_text(core, has),
            }
        )


def _unwanted(core: "Core", prefix: Network) -> str:
    return "no route" if core.rib.best(prefix) is None else "aggregated: no entry"


def _check_aggregation(core: "Core", found: list[dict[str, Any]]) -> int:
    """What aggregation takes for the routes in force; their groups show in the lookups."""
    if core.reconciler.aggregation is None:
        return 0
    known, selected = core.reconciler.aggregation.counts(), core.rib.counts().selected
    if (known["routes4"], known["routes6"]) == selected:
        return 0
    found.append({"what": "aggregation", "rib": list(selected), "aggregation": known})
    return 1


def _check_groups(core: "Core", found: list[dict[str, Any]]) -> int:
    """Every group and adjacency in the segment against what its set should look like now."""
    count = 0

    def differs(what: str, number: int, rib: str, fib: str) -> None:
        nonlocal count
        count += 1
        found.append({"what": what, "id": number, "rib": rib, "fib": fib})

    forwarding = core.forwarding
    held = dict(core.fib.read_groups())
    for number, nexthops in forwarding.sets.items():
        group = held.get(number)
        previous = group.buckets if group is not None else ()
        wanted = group_plan(
            nexthops,
            core.topology.alive,
            lambda hop: forwarding.adjacency_of(hop) or 0,
            previous,
        )
        if group != wanted:
            differs("group", number, describe(core, nexthops), str(group))
    for number, record in core.fib.read_adjacencies():
        if forwarding.adjacency_of(record.hop) != number:
            continue  # lingering for readers that still hold it
        port = core.topology.ports.get(record.hop.port)
        right = adjacency_record(record.hop, port, core.neighbours.get(record.hop))
        if record != right:
            differs("adjacency", number, str(right), str(record))
    return count


async def _lookups(core: "Core", samples: int, seed: int, found: list[dict[str, Any]]) -> int:
    """Random addresses through the reader's engine and through the RIB's longest match."""
    out = ffi.new("struct lookup_difference[]", MAX_REPORTED)
    state = ffi.new("uint64_t *", seed or 1)
    count, left = 0, samples
    while left > 0:
        slices = rib_slices(core.rib)
        progressed = False
        for routes, known in slices:
            n = min(LOOKUPS, left)
            wrong = lib.verify_lookups(
                core.rib.handle, core.reader.handle, routes, known, state, n, out, MAX_REPORTED
            )
            left -= n
            progressed = True
            count += wrong
            found.extend(_lookup_text(core, out[i]) for i in range(wrong))
            await asyncio.sleep(0)
            if left <= 0:
                break
        if not progressed:
            break
    return count


def _lookup_text(core: "Core", wrong: Any) -> dict[str, Any]:
    return {
        "what": "lookup",
        "address": str(read_address(wrong.address, wrong.family)),
        "rib": set_text(core, wrong.rib),
        "fib": set_text(core, wrong.fib),
    }


def set_text(core: "Core", number: int) -> str:
    """What a next-hop set says, for people: `via 10.0.2.9 dev eth2`, `blackhole`, `no route`."""
    if number == 0:
        return "no route"
    nexthops = core.forwarding.sets.get(number)
    return f"unknown set {number}" if nexthops is None else describe(core, nexthops)


def describe(core: "Core", nexthops: NexthopSet) -> str:
    paths = []
    for path in nexthops.paths:
        name = core.topology.name_of(path.hop.port)
        text = f"via {path.hop.gateway} dev {name}" if path.hop.gateway else f"dev {name}"
        paths.append(f"{text} weight {path.weight}" if len(nexthops.paths) > 1 else text)
    return " | ".join(paths) or nexthops.kind.label
