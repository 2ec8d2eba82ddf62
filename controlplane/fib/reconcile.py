"""What the FIB should hold, and the ways in which it comes to hold it besides single changes.

    reconciler.begin(aggregate); reconciler.compare(t0) or .replay(t0); reconciler.begun(aggregate)
    await reconciler.switch(True)    # fib.aggregate of a new plan, while routes change

replay: the RIB's journal once more. compare: the whole RIB against the whole FIB. With aggregation
both write their rows in the order in which each address goes from its old answer to its new one
at once, whatever the FIB held (rib_aggregate_order); without, row by row as they are found.

The RIB's segment says what its FIB may hold (whole, between, aggregated), so that a successor with
another setting than its predecessor's does not take routes left out for routes lost.

Nothing is published here: the caller flushes, but for `switch`. Control only, one thread.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.aggregation import Aggregation
from ribcage.controlplane.fib.publisher import CHANGES, Publisher
from ribcage.controlplane.fib.tables import FibTables
from ribcage.controlplane.fib.verify import differences, rib_slices
from ribcage.controlplane.rib.records import Route
from ribcage.controlplane.rib.segment import Rib
from ribcage.shared.addresses import Address, Network
from ribcage.shared.memory.rows import ROW_BYTES, new_rows


class Reconciler:
    """See the module's text. `aggregation` is None while every route is in the FIB."""

    def __init__(
        self, rib: Rib, fib: FibTables, publisher: Publisher, log: Callable[..., None]
    ) -> None:
        self.rib = rib
        self.fib = fib
        self.publisher = publisher
        self.log = log
        self.aggregation: Aggregation | None = None
        self._switching = asyncio.Lock()

    def redundant(self, prefix: Network) -> bool:
        """Whether a prefix in force needs no entry: the route that covers it says the same."""
        if self.aggregation is None:
            return False
        return self.rib.best(prefix) is not None and self.aggregation.wanted(self.rib, prefix) == 0

    def meant(self, address: Address, entry: Network) -> Route | None:
        """The route for which the FIB's `entry` answers: with aggregation perhaps a longer one."""
        return self.rib.best(entry) if self.aggregation is None else self.rib.match(address)

    def report(self) -> dict[str, Any]:
        """Routes in force (entries without aggregation), entries now, and what it costs."""
        selected, published = self.rib.counts().selected, self.fib.writer.published()
        stage = self.aggregation
        states = {lib.RIB_FIB_WHOLE: "off", lib.RIB_FIB_AGGREGATED: "on"}
        return {
            "state": states.get(self.rib.fib_state(), "switching"),
            "routes4": selected[0],
            "routes6": selected[1],
            "entries4": published["routes4"],
            "entries6": published["routes6"],
            "private_bytes": stage.counts()["private_bytes"] if stage is not None else 0,
            "refused": stage.refused if stage is not None else 0,
        }

    # -- takeover

    def begin(self, aggregate: bool) -> bool:
        """Before any change; True when the FIB was left in another state than is wanted now,
        so that the tables have to be compared."""
        found = self.rib.fib_state()
        if aggregate or found != lib.RIB_FIB_WHOLE:
            self._load(aggregate)
        if found == _state(aggregate):
            return False
        self.rib.set_fib_state(lib.RIB_FIB_BETWEEN)
        return self.rib.recovery.rows > 0

    def begun(self, aggregate: bool) -> None:
        """The FIB holds what is wanted."""
        if self.rib.fib_state() != _state(aggregate):
            self._finish(aggregate)

    def replay(self, t0: int) -> int:
        """The journal's open changes, once more: each prefix and its best next hop now."""
        if self.aggregation is not None:
            rows, count = self.aggregation.repeat(*_joined(self._pending()), self._room())
            self._write_rows(rows, count, t0)
            return count
        total = 0
        for rows, count in self._pending():
            self.publisher.forward(rows, count, t0)
            total += count
        return total

    def compare(self, t0: int) -> int:
        """The whole RIB against the whole FIB; only what differs is written."""
        found = differences(self.rib, self.fib, self.aggregation)
        if self.aggregation is not None:
            raw = b"".join(_raw(rows, count) for rows, count in found)
            rows, total = self.aggregation.ordered(raw, self._room())
            self._write_rows(rows, total, t0)
            return total
        total = 0
        for rows, count in found:
            self.publisher.forward(rows, count, t0)
            total += count
        return total

    def reload(self) -> None:
        """Aggregation from the RIB anew, for a repair that trusts nothing."""
        if self.aggregation is not None:
            self.aggregation.close()
            self._load(self.rib.fib_state() == lib.RIB_FIB_AGGREGATED)

    # -- a new plan

    async def switch(self, aggregate: bool) -> int:
        """Takes redundant routes out of the FIB or puts them back, slice by slice; no lookup
        changes at any moment, and other changes go on meanwhile. Returns how many it were."""
        async with self._switching:
            if self.rib.fib_state() == _state(aggregate):
                return 0
            self.publisher.flush()
            self.rib.set_fib_state(lib.RIB_FIB_BETWEEN)
            stage = self.aggregation or self._load(aggregate)
            stage.suppress(aggregate)
            total = refused = 0
            for routes, known in rib_slices(self.rib):
                rows, count = stage.redundant(routes, known)
                refused += self.publisher.write_rows(rows, count, time.monotonic_ns())
                self.publisher.flush()
                total += count
                await asyncio.sleep(0)
            if refused:  # some are missing: changes have to go on minding them
                self.log("error", "aggregate.refused", routes=refused)
            else:
                self._finish(aggregate)
            return total

    # -- inside

    def _load(self, aggregate: bool) -> Aggregation:
        """From now on changes go through aggregation."""
        self.aggregation = stage = Aggregation(self.rib, self.fib)
        stage.suppress(aggregate)
        self.publisher.writer = stage
        return stage

    def _finish(self, aggregate: bool) -> None:
        if not aggregate and self.aggregation is not None:
            self.publisher.writer = self.fib
            self.aggregation.close()
            self.aggregation = None
        self.rib.set_fib_state(_state(aggregate))

    def _write_rows(self, rows: Any, count: int, t0: int) -> None:
        refused = 0
        for at in range(0, count, CHANGES):
            refused += self.publisher.write_rows(rows + at, min(CHANGES, count - at), t0)
        if refused:
            self.log("error", "fib.refused", rows=refused)

    def _pending(self) -> Iterator[tuple[Any, int]]:
        changes, cursor = new_rows(CHANGES), 0
        while True:
            filled, cursor = self.rib.pending(changes, CHANGES, cursor)
            if filled == 0:
                return
            yield changes, filled

    def _room(self) -> tuple[int, int]:
        limits, published = self.fib.limits(), self.fib.writer.published()
        return (
            max(0, limits[0] - published["routes4"]),
            max(0, limits[1] - published["routes6"]),
        )


def _state(aggregate: bool) -> int:
    return int(lib.RIB_FIB_AGGREGATED if aggregate else lib.RIB_FIB_WHOLE)


def _raw(rows: Any, count: int) -> bytes:
    return bytes(ffi.buffer(rows, count * ROW_BYTES))


def _joined(slices: Iterator[tuple[Any, int]]) -> tuple[Any, int]:
    raw = b"".join(_raw(rows, count) for rows, count in slices)
    count = len(raw) // ROW_BYTES
    rows = new_rows(count)
    ffi.memmove(rows, raw, len(raw))
    return rows, count
