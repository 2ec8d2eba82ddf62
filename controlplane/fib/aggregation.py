"""Prefix aggregation between the RIB and the FIB: the publisher's writer when it is on.

    stage = Aggregation(rib, fib)          # loads what is in force
    stage.apply(changes, count)            # what the RIB decided -> FIB rows, in a safe order
    rows, count = stage.repeat(changes, n) # a successor's changes, as rows for fib.apply
    stage.suppress(False)                  # on the way back to a FIB with every route

A route whose covering route has the same next-hop group is left out of the FIB: no lookup changes
its meaning, also not between two words (csrc/rib/aggregate/aggregate.h says why, and what is
written when).
The limits of the FIB go on counting routes, so that the FIB can hold all of them at any time.

Not atomic by itself: the rows of one change can be many, and each is in force when it is stored;
one generation tells of all. Control only, one thread; private memory, made again by every
successor.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.publishing import RouteWriter
from ribcage.controlplane.rib.segment import Rib
from ribcage.shared.addresses import Network
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.rows import ROW_BYTES, Applied, key_of, new_rows

SLICE: int = lib.RIB_AGGREGATE_ROWS


class Aggregation:
    """See the module's text. Stands before `fib`, and is a RouteWriter itself."""

    def __init__(self, rib: Rib, fib: RouteWriter, slice_rows: int = SLICE) -> None:
        """`slice_rows`: FIB rows staged at a time, 1..SLICE. E_AGGREGATE: no memory."""
        self.fib = fib
        self.refused = 0  # redundant rows the FIB could not withdraw: they say the same
        limit4, limit6 = fib.limits()
        handle = lib.rib_aggregate_open(rib.handle, limit4, limit6)
        if handle == ffi.NULL:
            raise RibcageError(
                "E_AGGREGATE",
                "no memory for fib.aggregate, which takes 30 to 60 bytes a route",
                "set fib.aggregate = false",
            )
        self.handle = ffi.gc(handle, lib.rib_aggregate_close)
        self._rows = new_rows(slice_rows)
        self._slice = slice_rows

    def close(self) -> None:
        ffi.release(self.handle)

    def suppress(self, on: bool) -> None:
        """False: from now on every route is wanted in the FIB; those left out come by
        `redundant` or with the next change near them."""
        lib.rib_aggregate_suppress(self.handle, on)

    # -- RouteWriter

    def guard(self) -> AbstractContextManager[None]:
        return self.fib.guard()

    def publish(self, update_id: int, t0: int, t1: int) -> int:
        return self.fib.publish(update_id, t0, t1)

    def limits(self) -> tuple[int, int]:
        return self.fib.limits()

    def apply(self, rows: Any, count: int) -> Applied:
        """Best-path changes, in the order in which the RIB returned them.

        Stops before the first that the FIB has no room for, itself or for the routes under it
        that need a row of their own now: it and what follows are not in force.
        """
        words = 0
        for staged, step in self._slices(rows, count):
            done = 0
            while done < staged:
                result = self.fib.apply(self._rows + done, staged - done)
                words += result.changes
                done += result.applied
                if not result.error:
                    continue
                row = self._rows[done]
                number = int(row.metric)
                if row.nexthop == 0 and not _same_prefix(row, rows[number]):
                    self.refused += 1
                    done += 1
                    continue
                self._give_up(rows, number)
                return Applied(number, words, result.error)
            if step.error:
                return Applied(int(step.at), words, int(step.error))
        return Applied(count, words)

    def _give_up(self, rows: Any, number: int) -> None:
        """The change was not put in force: what was installed for its sake goes again."""
        lib.rib_aggregate_revert(self.handle, rows, number)
        again = new_rows(1)
        ffi.memmove(again, rows + number, ROW_BYTES)
        again[0].nexthop = lib.rib_aggregate_group(self.handle, again)
        for staged, _ in self._slices(again, 1):
            done = 0
            while done < staged:
                result = self.fib.apply(self._rows + done, staged - done)
                done += result.applied + (result.error != 0)

    def _slices(self, rows: Any, count: int) -> Iterator[tuple[int, Any]]:
        """Fills self._rows with what comes next; (rows there, struct rib_aggregate_step)."""
        step = ffi.new("struct rib_aggregate_step *")
        while step.at < count and not step.error:
            lib.rib_aggregate(self.handle, rows, count, step, self._rows, self._slice)
            yield int(step.rows), step

    # -- rows that pass by `apply`

    def repeat(self, rows: Any, count: int, room: tuple[int, int]) -> tuple[Any, int]:
        """Prefixes with their best next hop now -> FIB rows for them and their children.

        In the order that leads from any content of the FIB to the right one, see
        rib_aggregate_order; for the FIB itself, not for `apply`.
        """
        lib.rib_aggregate_take(self.handle, rows, count)
        parts = [
            bytes(ffi.buffer(self._rows, staged * ROW_BYTES))
            for staged, _ in self._slices(rows, count)
        ]
        return self.ordered(b"".join(parts), room)

    def ordered(self, raw: bytes, room: tuple[int, int]) -> tuple[Any, int]:
        """Packed FIB rows, sorted likewise; `room` is how many more routes the FIB can take."""
        count = len(raw) // ROW_BYTES
        rows = new_rows(max(1, count))
        ffi.memmove(rows, raw, len(raw))
        if lib.rib_aggregate_order(rows, count, *room):
            raise RibcageError("E_AGGREGATE", f"no memory to sort {count} rows")
        return rows, count

    # -- asking

    def wanted(self, rib: Rib, prefix: Network) -> int:
        """The group the FIB should hold for exactly this prefix; 0: no entry."""
        return int(lib.verify_wanted(rib.handle, self.handle, key_of(prefix)))

    def redundant(self, routes: Any, count: int) -> tuple[Any, int]:
        """Of a slice of routes in force those whose cover has the same group, as FIB rows:
        withdrawn, or after suppress(False) installed."""
        rows = new_rows(max(1, count))
        return rows, int(lib.rib_aggregate_redundant(self.handle, routes, count, rows))

    def counts(self) -> dict[str, int]:
        """Routes known per family, and the bytes of private memory this takes."""
        found = ffi.new("struct rib_aggregate_counts *")
        lib.rib_aggregate_count(self.handle, found)
        return {
            "routes4": int(found.routes[0]),
            "routes6": int(found.routes[1]),
            "private_bytes": int(found.bytes),
        }


def _same_prefix(a: Any, b: Any) -> bool:
    return bool(
        a.length == b.length and a.family == b.family and bytes(a.prefix) == bytes(b.prefix)
    )
