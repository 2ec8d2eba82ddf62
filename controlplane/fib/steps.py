"""The first two steps of a batch: rows into the RIB, the best paths that changed into the FIB.

    done, error, unfit = steps.apply(rows, count)    # RIB, then FIB
    steps.forward(changes, count)                    # FIB alone: the RIB decided by itself
    refused = steps.write_rows(rows, count)          # FIB alone: rows as they have to be there

What the FIB has no room for leaves the RIB too, so that both go on agreeing. `behind`: decided
changes did not all reach the FIB (a failure in between), so the journal stays open and the next
flush replays it. Used by publisher.py, which publishes. Control only; nothing here blocks.
"""

from collections.abc import Callable
from typing import Any

from ribcage.shared._core import ffi

from ribcage.controlplane.fib.publishing import CHANGES, PublishCounters, RouteTable, RouteWriter
from ribcage.controlplane.rib.results import rib_refusal
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fields import prefix_or_parts
from ribcage.shared.memory.rows import ROW_BYTES, new_rows
from ribcage.shared.refusals import refused

KEY_BYTES = 18  # prefix, length, family: the first bytes of a row

Unfit = dict[bytes, RibcageError]


def row_key(row: Any) -> bytes:
    """The prefix of a row, to find it by."""
    return bytes(ffi.buffer(ffi.addressof(row), KEY_BYTES))


class Steps:
    """See the module's text. `words`: FIB words changed since the last publish; `decided`: when
    the RIB last chose (t1). The publisher resets them."""

    def __init__(
        self,
        table: RouteTable,
        writer: RouteWriter,
        fib: RouteWriter,
        counters: PublishCounters,
        clock: Callable[[], int],
    ) -> None:
        self.behind = False
        self.words = False
        self.decided = 0
        self._table = table
        self._writer = writer
        self._fib = fib
        self._counters = counters
        self._clock = clock
        self._room = new_rows(CHANGES)

    def apply(self, rows: Any, count: int) -> tuple[int, RibcageError | None, Unfit]:
        """RIB then FIB, CHANGES prefixes at a time. Rows done, the RIB's error about rows[done],
        and the prefixes the FIB had no room for (the RIB has given them up again)."""
        done = 0
        unfit: Unfit = {}
        while done < count:
            applied = self._table.apply(rows + done, count - done, self._room, CHANGES)
            self.decided = self._clock()
            done += applied.applied
            self._counters.rows += applied.applied
            unfit.update(self.forward(self._room, applied.changes))
            if applied.error:
                self._counters.refused += 1
                error = rib_refusal(applied.error, prefix_or_parts(rows[done]))
                return done, error, unfit
            if applied.applied == 0 and applied.changes == 0:
                raise RibcageError("E_INTERNAL", "the routing table makes no progress")
        return done, None, unfit

    def forward(self, changes: Any, count: int) -> Unfit:
        """Stores the FIB words; what does not fit leaves the RIB too and is returned."""
        unfit: Unfit = {}
        if count == 0:
            return unfit
        at = 0
        self.behind, whole = True, not self.behind  # until the last word is stored
        with self._writer.guard():
            while at < count:
                done = self._writer.apply(changes + at, count - at)
                at += done.applied
                self._counters.changes += done.changes
                self.words = self.words or done.changes > 0 or done.error != 0
                if done.error:
                    row = changes[at]
                    unfit[row_key(row)] = self._no_room(done.error, row)
                    self._counters.refused += 1
                    self._take_back(row)
                    at += 1
        self.behind = not whole
        return unfit

    def _no_room(self, error: int, row: Any) -> RibcageError:
        limits = dict(zip((4, 6), self._writer.limits(), strict=True))
        return refused(
            "fib_apply",
            error,
            prefix=prefix_or_parts(row),
            group=row.nexthop,
            family=row.family,
            limit=limits.get(row.family, 0),
        )

    def write_rows(self, rows: Any, count: int) -> int:
        """Rows for the FIB itself; how many it refused. One guard a CHANGES of them."""
        refused = 0
        for at in range(0, count, CHANGES):
            refused += self._write_rows(rows + at, min(CHANGES, count - at))
        return refused

    def _write_rows(self, rows: Any, count: int) -> int:
        refused = at = 0
        self.behind, whole = True, not self.behind
        with self._fib.guard():
            while at < count:
                done = self._fib.apply(rows + at, count - at)
                at += done.applied + (done.error != 0)
                refused += done.error != 0
                self._counters.changes += done.changes
                self.words = self.words or done.changes > 0 or done.error != 0
        self._counters.refused += refused
        self.behind = not whole
        return refused

    def _take_back(self, change: Any) -> None:
        """Withdraws from the RIB a winner the FIB cannot hold, and the runners-up after it."""
        rows = new_rows(2)
        ffi.memmove(rows, ffi.addressof(change), ROW_BYTES)
        while rows[0].nexthop != 0:
            rows[0].nexthop = 0
            if self._table.apply(rows, 1, rows + 1, 1).changes == 0:
                return
            if self._writer.apply(rows + 1, 1).error == 0:
                return
            ffi.memmove(rows, rows + 1, ROW_BYTES)
