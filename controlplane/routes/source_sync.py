"""Brings all routes of a source into the RIB: mark the old ones, announce, sweep the rest.

    sync = SourceSync(inputs, rib, nexthops, publisher, log)
    await sync.sync(STATIC)            # afterwards the RIB holds of it what it wants now
    sync.rejections.all()              # what was asked for and cannot be had now

In slices, each published, with a turn of the loop between them; one pass a source at a time.
Unchanged routes are only refreshed and cost no FIB word. A pass is not one step for readers: new
routes appear slice by slice, and old ones stay until the sweep. Control only.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ribcage.controlplane.fib.publisher import Publisher
from ribcage.controlplane.fib.publishing import CHANGES
from ribcage.controlplane.rib.segment import Rib
from ribcage.controlplane.routes.nexthops import Nexthops
from ribcage.controlplane.routes.sources.contract import Inputs, Source
from ribcage.controlplane.values.wanted import Rejected, Wanted
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.rows import Row, new_rows, rows_of

SLICE = 512  # wanted routes announced between two turns of the loop


@dataclass(slots=True)
class Rejections:
    """Routes a source asked for and cannot have now, by the source's number."""

    rows: dict[int, list[Rejected]] = field(default_factory=dict)

    def all(self) -> list[Rejected]:
        return [row for rows in self.rows.values() for row in rows]


class SourceSync:
    """See the module's text."""

    def __init__(
        self,
        inputs: Inputs,
        rib: Rib,
        nexthops: Nexthops,
        publisher: Publisher,
        log: Callable[..., None],
    ) -> None:
        self.rejections = Rejections()
        self._inputs = inputs
        self._rib = rib
        self._nexthops = nexthops
        self._publisher = publisher
        self._log = log
        self._room = new_rows(CHANGES)
        self._locks: dict[int, asyncio.Lock] = {}

    def wanted(self, source: Source) -> Sequence[Wanted]:
        """What a source wants now; rejections are kept for listings."""
        if source.offer is None:
            raise ValueError(f"source {source.name} has no plan")
        offer = source.offer(self._inputs)
        if offer.left_out:
            self._log("warning", f"{source.name}s.limit", left_out=offer.left_out)
        self.rejections.rows[source.number] = list(offer.rejected)
        return offer.wanted

    async def sync(self, source: Source) -> int:
        """Mark, announce, sweep: afterwards the RIB holds of `source` what it wants now.

        Unchanged routes are only refreshed and cost no FIB word. Returns the routes refused.
        """
        lock = self._locks.setdefault(source.number, asyncio.Lock())
        async with lock:
            t0 = time.monotonic_ns()
            generation = self._rib.mark_stale(source.number)
            wanted = self.wanted(source)
            source.announcing(self._inputs, wanted)
            refused = 0
            for at in range(0, len(wanted), SLICE):
                part = [one for one in wanted[at : at + SLICE] if source.still(self._inputs, one)]
                refused += self._announce(source, part, t0)
                self._publisher.flush()
                await asyncio.sleep(0)
            await self._sweep(source, generation, t0)
            self._publisher.flush()
            if refused:
                self._log("error", "source.refused", source=source.name, routes=refused)
            return refused

    def _announce(self, source: Source, wanted: Sequence[Wanted], t0: int) -> int:
        """Applies a slice; what is refused is listed with its reason and the rest goes on."""
        ready: list[Wanted] = []
        asked: list[Row] = []
        refused: list[tuple[Wanted, RibcageError]] = []
        for route in wanted:
            try:
                number = self._nexthops.intern(route.nexthops, popular=source.popular)
                asked.append(route.row(number))
                ready.append(route)
            except RibcageError as error:
                refused.append((route, error))
        rows = rows_of(asked)
        try:
            self._publisher.apply(rows, len(rows), t0)
        except RibcageError:
            # Rare and slow: find out which of the slice's routes it was.
            for i, route in enumerate(ready):
                try:
                    self._publisher.apply(rows + i, 1, t0)
                except RibcageError as error:
                    refused.append((route, error))
        for route, why in refused:
            row = Rejected(str(route.prefix), route.source, why.code, why.message)
            self.rejections.rows.setdefault(route.source, []).append(row)
        return len(refused)

    async def _sweep(self, source: Source, generation: int, t0: int) -> None:
        slot, more = 0, True
        while more:
            step = self._rib.sweep(source.number, generation, self._room, CHANGES, slot)
            self._publisher.forward(self._room, step.changes, t0)
            slot, more = step.slot, step.more
            if more:
                self._publisher.flush()
                await asyncio.sleep(0)
