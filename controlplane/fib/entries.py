"""Which routes have an entry in the FIB: all of them, or those that aggregation leaves.

    entries = Entries(rib, fib)
    entries.aggregate(True)                   # from now on changes go through aggregation
    Publisher(rib, entries, ...)              # it is the publisher's RouteWriter either way
    entries.open_changes()                    # the RIB's journal, as the FIB has to take it
    entries.redundant(network)                # in force without an entry

The RIB's segment says which of the two its FIB was left in (whole, between, aggregated), so that
a successor with another setting than its predecessor's does not take routes left out for routes
lost. How a FIB comes from one to the other is reconcile.py's matter. Control only, one thread.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.aggregation import Aggregation
from ribcage.controlplane.fib.publishing import CHANGES, RouteWriter
from ribcage.controlplane.fib.segment.tables import FibTables
from ribcage.controlplane.rib.records import Route
from ribcage.controlplane.rib.segment import Rib
from ribcage.shared.addresses import Address, Network
from ribcage.shared.memory.rows import ROW_BYTES, Applied, new_rows


class Entries:
    """See the module's text. `writer` is what changes go through; `aggregation` is None while
    every route has its entry."""

    def __init__(self, rib: Rib, fib: FibTables) -> None:
        self.rib = rib
        self.fib = fib
        self.aggregation: Aggregation | None = None
        self.writer: RouteWriter = fib

    # -- the setting

    def aggregate(self, on: bool) -> Aggregation:
        """From now on changes go through aggregation; off: it lets every route pass."""
        if self.aggregation is not None:
            self.aggregation.close()
        self.aggregation = self.writer = stage = Aggregation(self.rib, self.fib)
        stage.suppress(on)
        return stage

    def plain(self) -> None:
        """Changes go to the FIB as they are."""
        self.writer = self.fib
        if self.aggregation is not None:
            self.aggregation.close()
            self.aggregation = None

    @property
    def handle(self) -> Any:
        """`struct rib_aggregate *`, NULL while every route is wanted."""
        return ffi.NULL if self.aggregation is None else self.aggregation.handle

    # -- RouteWriter

    def guard(self) -> AbstractContextManager[None]:
        return self.fib.guard()

    def apply(self, rows: Any, count: int) -> Applied:
        return self.writer.apply(rows, count)

    def publish(self, update_id: int, t0: int, t1: int) -> int:
        return self.fib.publish(update_id, t0, t1)

    def limits(self) -> tuple[int, int]:
        return self.fib.limits()

    # -- the journal

    def open_changes(self) -> Iterator[tuple[Any, int, bool]]:
        """(rows, count, exact): each prefix that the FIB may lack, with its best next hop now.

        `exact`: rows of the FIB in the order that leads from any content of it to the right one,
        so they pass by `apply`. The caller applies each slice before it takes the next.
        """
        if self.aggregation is None:
            for rows, count in self._pending():
                yield rows, count, False
            return
        rows, count = self.aggregation.repeat(*_joined(self._pending()), self.room())
        yield rows, count, True

    def _pending(self) -> Iterator[tuple[Any, int]]:
        changes, cursor = new_rows(CHANGES), 0
        while True:
            filled, cursor = self.rib.pending(changes, CHANGES, cursor)
            if filled == 0:
                return
            yield changes, filled

    def room(self) -> tuple[int, int]:
        """How many more routes of each family the FIB takes."""
        limits, published = self.limits(), self.fib.writer.published()
        return (
            max(0, limits[0] - published["routes4"]),
            max(0, limits[1] - published["routes6"]),
        )

    # -- asking

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


def _joined(slices: Iterator[tuple[Any, int]]) -> tuple[Any, int]:
    raw = b"".join(bytes(ffi.buffer(rows, count * ROW_BYTES)) for rows, count in slices)
    count = len(raw) // ROW_BYTES
    rows = new_rows(count)
    ffi.memmove(rows, raw, len(raw))
    return rows, count
