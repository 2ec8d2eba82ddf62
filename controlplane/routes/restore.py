"""Puts the routes of a checkpoint in force: in a router that was just started, before any source.

    restored = await restore(core, checkpoint, sources)
    await sweep(core, restored.stale)            # after a while: what was not announced again goes

In slices, each published, with a turn of the loop between them, as a bulk load. Ports are found
again by name, next-hop sets are interned anew; a route over a port that is not there waits as a
candidate until it is. Routes that were added at run time are as good as new: nobody would announce
them again. Those of all other sources are stale until their source does. Control only.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.publishing import CHANGES
from ribcage.controlplane.rib.checkpoint import Checkpoint
from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.routes.sources.runtime import RUNTIME
from ribcage.controlplane.values.nexthop import NexthopSet, Path
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib_records import Hop
from ribcage.shared.memory.rows import new_rows

SLICE = 4096  # rows between two turns of the loop
PROGRESS = 256  # slices, a million rows
SETS = 128  # next-hop sets between two turns
FULL = ("E_TABLE_FULL", "E_LIMIT")


@dataclass(slots=True)
class Restored:
    """`stale`: source -> its generation, of those whose routes are to be swept."""

    routes: int = 0
    refused: int = 0
    why: str = ""  # of the first refusal
    seconds: float = 0.0
    stale: dict[int, int] = field(default_factory=dict)


async def restore(
    core: Core,
    checkpoint: Checkpoint,
    sources: Iterable[int],
    progress: Callable[[], None] = lambda: None,
) -> Restored:
    """All rows of these sources that the tables can take. Never raises for a row. `progress` is
    called every PROGRESS slices."""
    start, done = time.monotonic_ns(), Restored()
    numbers, pinned = await _intern(core, checkpoint, done)
    mask = sum(1 << source for source in sources)
    try:
        at = 0
        while at < checkpoint.count:
            part = min(SLICE, checkpoint.count - at)
            rows = checkpoint.rows + at
            fit = int(lib.rows_renumber(rows, part, numbers, len(numbers), mask))
            if not _apply(core, rows, fit, start, done):
                done.refused += checkpoint.count - at - fit
                break
            if fit < part:
                done.refused += 1
                done.why = done.why or "a row that is not valid, or without a next hop"
            at += min(part, fit + 1)
            core.publisher.flush()
            if at // SLICE % PROGRESS == 0:
                progress()
            await asyncio.sleep(0)
    finally:
        for number in pinned:
            core.nexthops.unpin(number)
    core.publisher.flush()
    counted = core.rib.counts().source
    for source in sources:
        if source != RUNTIME.number and counted[source]:
            done.stale[source] = core.rib.mark_stale(source)
    done.seconds = (time.monotonic_ns() - start) / 1e9
    return done


async def sweep(core: Core, stale: dict[int, int]) -> int:
    """Withdraws what is stale still; a source that began anew meanwhile sweeps by itself."""
    room, before = new_rows(CHANGES), core.rib.counts().rows
    for source, generation in stale.items():
        slot, more = 0, True
        while more:
            try:
                step = core.rib.sweep(source, generation, room, CHANGES, slot)
            except RibcageError as error:
                if error.code != "E_STALE":
                    raise
                break
            core.publisher.forward(room, step.changes, time.monotonic_ns())
            core.publisher.flush()
            slot, more = step.slot, step.more
            await asyncio.sleep(0)
    return before - core.rib.counts().rows


def _apply(core: Core, rows: Any, count: int, t0: int, done: Restored) -> bool:
    """One slice; False when the tables are full. A refusal is found by going row by row."""
    before = core.publisher.counters.rows
    try:
        core.publisher.apply(rows, count, t0)
        done.routes += count
        return True
    except RibcageError as error:
        done.why = done.why or error.message
        if error.code in FULL:
            taken = core.publisher.counters.rows - before
            done.routes += taken
            done.refused += count - taken
            return False
    for i in range(count):
        try:
            core.publisher.apply(rows + i, 1, t0)
            done.routes += 1
        except RibcageError:
            done.refused += 1
    return True


async def _intern(core: Core, checkpoint: Checkpoint, done: Restored) -> tuple[Any, list[int]]:
    """Old number -> new number, 0 for a set that cannot be had; and what is pinned."""
    most = lib.RIB_MAX_NEXTHOPS
    numbers, pinned = ffi.new("uint32_t[]", most), []
    ports = {index: core.topology.index_for(name) for index, name in checkpoint.ports.items()}
    for i, (old, nexthops) in enumerate(checkpoint.sets):
        try:
            number = core.nexthops.intern(_moved(core, nexthops, ports))
            if not 0 < old < most:
                raise ValueError(f"set {old}")
        except (RibcageError, ValueError, KeyError) as error:
            done.why = done.why or f"a next hop cannot be had: {error}"[:200]
            continue
        core.nexthops.pin(number)
        pinned.append(number)
        numbers[old] = number
        if i % SETS == SETS - 1:
            core.publisher.flush()
            await asyncio.sleep(0)
    return numbers, pinned


def _moved(core: Core, nexthops: NexthopSet, ports: dict[int, int | None]) -> NexthopSet:
    """The same over the ports' numbers of today. KeyError, ValueError: it leads nowhere now."""
    paths = []
    for path in nexthops.paths:
        index, gateway = ports[path.hop.port], path.hop.gateway
        if index is None:
            raise ValueError("no room for another port")
        port = core.topology.ports.get(index)
        if port and gateway and not gateway.is_link_local and port.covers(gateway) is None:
            raise ValueError(f"{gateway} is on no network of {port.name} now")
        paths.append(Path(Hop(index, gateway), path.weight))
    return NexthopSet(nexthops.kind, tuple(sorted(paths, key=Path.order)))
