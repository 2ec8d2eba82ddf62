"""How the FIB comes to hold what it should, besides single changes.

    reconcile.begin(aggregate)        # then reconcile.compare(t0), or publisher.replay(t0)
    reconcile.begun(aggregate)
    await reconcile.switch(True)      # fib.aggregate of a new plan, while routes change

compare: the whole RIB against the whole FIB; replay: the RIB's journal once more. With
aggregation both write their rows in the order in which each address goes from its old answer to
its new one at once, whatever the FIB held (rib_aggregate_order); without, as they are found.

Nothing is published here: the caller flushes, but for `switch`. Control only, one thread.
"""

import asyncio
import time
from collections.abc import Callable

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.compare import differences, rib_slices
from ribcage.controlplane.fib.entries import Entries
from ribcage.controlplane.fib.publisher import Publisher
from ribcage.shared.memory.rows import ROW_BYTES


class Reconcile:
    """See the module's text."""

    def __init__(self, entries: Entries, publisher: Publisher, log: Callable[..., None]) -> None:
        self.entries = entries
        self.rib = entries.rib
        self.publisher = publisher
        self.log = log
        self._switching = asyncio.Lock()

    # -- takeover

    def begin(self, aggregate: bool) -> bool:
        """Before any change; True when the FIB was left in another state than is wanted now,
        so that the tables have to be compared."""
        found = self.rib.fib_state()
        if aggregate or found != lib.RIB_FIB_WHOLE:
            self.entries.aggregate(aggregate)
        if found == _state(aggregate):
            return False
        self.rib.set_fib_state(lib.RIB_FIB_BETWEEN)
        return self.rib.counts().rows > 0

    def begun(self, aggregate: bool) -> None:
        """The FIB holds what is wanted."""
        if self.rib.fib_state() != _state(aggregate):
            self._finish(aggregate)

    def compare(self, t0: int) -> int:
        """The whole RIB against the whole FIB; only what differs is written."""
        found = differences(self.entries)
        stage = self.entries.aggregation
        if stage is not None:
            raw = b"".join(bytes(ffi.buffer(rows, count * ROW_BYTES)) for rows, count in found)
            rows, total = stage.ordered(raw, self.entries.room())
            if refused := self.publisher.write_rows(rows, total, t0):
                self.log("error", "fib.refused", rows=refused)
            return total
        total = 0
        for rows, count in found:
            self.publisher.forward(rows, count, t0)
            total += count
        return total

    # -- a new plan

    async def switch(self, aggregate: bool) -> int:
        """Takes redundant routes out of the FIB or puts them back, slice by slice; no lookup
        changes at any moment, and other changes go on meanwhile. Returns how many it were."""
        async with self._switching:
            if self.rib.fib_state() == _state(aggregate):
                return 0
            self.publisher.flush()
            self.rib.set_fib_state(lib.RIB_FIB_BETWEEN)
            stage = self.entries.aggregation or self.entries.aggregate(aggregate)
            stage.suppress(aggregate)
            total = refused = 0
            for routes, known in rib_slices(self.entries):
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

    def _finish(self, aggregate: bool) -> None:
        if not aggregate:
            self.entries.plain()
        self.rib.set_fib_state(_state(aggregate))


def _state(aggregate: bool) -> int:
    return int(lib.RIB_FIB_AGGREGATED if aggregate else lib.RIB_FIB_WHOLE)
