"""Whole sources: what each wants now, made so in the RIB by mark, announce, sweep.

    sync = SourceSync(core)
    await sync.sync(SOURCE_STATIC)     # afterwards the RIB holds of it what it wants now
    sync.rejections.all()              # what was asked for and cannot be had now

In slices, each published, with a turn of the loop between them; one pass a source at a time.
Unchanged routes are only refreshed and cost no FIB word. A pass is not one step for readers: new
routes appear slice by slice, and old ones stay until the sweep. Part of core.py; control only.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ribcage.controlplane.fib.publisher import CHANGES
from ribcage.controlplane.routes.sources import (
    SOURCE_CONNECTED,
    SOURCE_NAMES,
    SOURCE_NEIGHBOUR,
    SOURCE_STATIC,
    Rejected,
    Wanted,
)
from ribcage.controlplane.routes.sources.connected import connected_routes
from ribcage.controlplane.routes.sources.neighbour import neighbour_routes
from ribcage.controlplane.routes.sources.static import static_routes
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.rows import Row, new_rows, rows_of

if TYPE_CHECKING:
    from ribcage.controlplane.routes.core import Core

SLICE = 512  # wanted routes announced between two turns of the loop


@dataclass(slots=True)
class Rejections:
    """Routes a source asked for and cannot have now, by source."""

    rows: dict[int, list[Rejected]] = field(default_factory=dict)

    def all(self) -> list[Rejected]:
        return [row for rows in self.rows.values() for row in rows]


class SourceSync:
    """See the module's text."""

    def __init__(self, core: "Core") -> None:
        self.core = core
        self.rejections = Rejections()
        self._room = new_rows(CHANGES)
        self._locks: dict[int, asyncio.Lock] = {}

    def wanted(self, source: int) -> list[Wanted]:
        """What a source wants now; rejections are kept for listings."""
        if source == SOURCE_CONNECTED:
            return connected_routes(self.core.topology.ports.values(), self.core.topology.local)
        if source == SOURCE_NEIGHBOUR:
            wanted, left_out = neighbour_routes(
                self.core.neighbours, self.core.topology, self.core.plan.neighbours.max
            )
            if left_out:
                self.core.log("warning", "neighbours.limit", left_out=left_out)
            return wanted
        if source == SOURCE_STATIC:
            wanted, rejected = static_routes(self.core.plan.routes, self.core.topology)
            self.rejections.rows[source] = rejected
            return wanted
        raise ValueError(f"source {source} has no plan")

    async def sync(self, source: int) -> int:
        """Mark, announce, sweep: afterwards the RIB holds of `source` what it wants now.

        Unchanged routes are only refreshed and cost no FIB word. Returns the routes refused.
        """
        lock = self._locks.setdefault(source, asyncio.Lock())
        async with lock:
            t0 = time.monotonic_ns()
            generation = self.core.rib.mark_stale(source)
            wanted = self.wanted(source)
            if source == SOURCE_NEIGHBOUR:
                self.core.hosts = {route.nexthops.paths[0].hop for route in wanted}
            refused = 0
            for at in range(0, len(wanted), SLICE):
                part = wanted[at : at + SLICE]
                if source == SOURCE_NEIGHBOUR:  # some may have gone since the first slice
                    part = [one for one in part if one.nexthops.paths[0].hop in self.core.hosts]
                refused += self._announce(part, t0)
                self.core.publisher.flush()
                await asyncio.sleep(0)
            await self._sweep(source, generation, t0)
            self.core.publisher.flush()
            if refused:
                name = SOURCE_NAMES.get(source, str(source))
                self.core.log("error", "source.refused", source=name, routes=refused)
            return refused

    def _announce(self, wanted: Sequence[Wanted], t0: int) -> int:
        """Applies a slice; what is refused is listed with its reason and the rest goes on."""
        ready: list[Wanted] = []
        asked: list[Row] = []
        refused: list[tuple[Wanted, RibcageError]] = []
        for route in wanted:
            try:
                popular = route.source != SOURCE_NEIGHBOUR
                number = self.core.nexthops.intern(route.nexthops, popular=popular)
                asked.append(route.row(number))
                ready.append(route)
            except RibcageError as error:
                refused.append((route, error))
        rows = rows_of(asked)
        try:
            self.core.publisher.apply(rows, len(rows), t0)
        except RibcageError:
            # Rare and slow: find out which of the slice's routes it was.
            for i, route in enumerate(ready):
                try:
                    self.core.publisher.apply(rows + i, 1, t0)
                except RibcageError as error:
                    refused.append((route, error))
        for route, why in refused:
            row = Rejected(str(route.prefix), route.source, why.code, why.message)
            self.rejections.rows.setdefault(route.source, []).append(row)
        return len(refused)

    async def _sweep(self, source: int, generation: int, t0: int) -> None:
        slot, more = 0, True
        while more:
            step = self.core.rib.sweep(source, generation, self._room, CHANGES, slot)
            self.core.publisher.forward(self._room, step.changes, t0)
            slot, more = step.slot, step.more
            if more:
                self.core.publisher.flush()
                await asyncio.sleep(0)
