"""The one path from a changed route to the workers: RIB row, best path, FIB word, generation.

    await publisher.submit(rows, count, t0)    # one request among many -> Published
    publisher.commit(rows, count, t0)          # now, with everything pending -> Published
    publisher.touch(t0)                        # a small table changed: publish soon

Each step of a batch is finished before the next begins, so a death between any two loses
nothing acknowledged (the successor repeats what the RIB's journal has open):

    rib.apply      rows stored: acknowledged (t1)
    fib.apply      words stored, inside the writer's semaphore (t2)
    fib.publish    stamp, generation (t3)
    rib.published  the journal closes
    bells          of workers that hold packets; nobody else is woken

Batching: an update that finds the publisher idle is published at once; those that follow within
`max_delay` seconds wait for the next publish, at most `max_batch` rows of them. Flaps of one
prefix inside a batch become at most one change.

Control only, one thread. Nothing here awaits or blocks.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ribcage.shared._core import ffi

from ribcage.controlplane.fib.forwarding import Forwarding
from ribcage.controlplane.fib.publishing import Counters, Published, RouteTable, RouteWriter
from ribcage.controlplane.routes.refusals import fib_refusal, rib_refusal
from ribcage.shared.errors import RibcageError

CHANGES = 8192  # changed prefixes taken from the RIB per step
ROW_BYTES: int = ffi.sizeof("struct route_row")
KEY_BYTES = 18  # prefix, length, family: the first bytes of a row


@dataclass(slots=True)
class _Submission:
    rows: Any
    count: int
    t0: int
    future: "asyncio.Future[Published]"
    error: RibcageError | None = None


class Publisher:
    """See the module's text. `bells` rings the workers that wait; `clock` is monotonic ns;
    `unpublished`: the control before changed words that no generation names, so that the first
    flush makes one;
    `replay` forwards what the RIB's journal has open, after a failure between RIB and FIB."""

    def __init__(
        self,
        table: RouteTable,
        writer: RouteWriter,
        forwarding: Forwarding,
        *,
        bells: Callable[[], int] = lambda: 0,
        max_delay: float = 0.001,
        max_batch: int = 256,
        update_id: int = 0,
        generation: int = 0,
        unpublished: bool = False,
        replay: Callable[[], object] = lambda: None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.table = table
        self.fib = writer
        self.writer = writer  # what changes go through: the FIB's, or aggregation before it
        self.forwarding = forwarding
        self.bells = bells
        self.replay = replay
        self.on_publish: Callable[[], None] = lambda: None
        self.behind = False  # decided changes did not reach the FIB: the journal stays open
        self.max_delay_ns = int(max_delay * 1e9)
        self.max_batch = max_batch
        self.clock = clock
        self.counters = Counters()
        self.last: Published | None = None
        self.generation = generation
        self.update_id = update_id
        self._room = ffi.new("struct route_row[]", CHANGES)
        self._pending: list[_Submission] = []
        self._pending_rows = 0
        # t0 of words written and not published
        self._open_since: int | None = clock() if unpublished else None
        self._words = unpublished  # FIB words changed since the last publish
        self._decided = 0  # t1: when the RIB last chose
        self._last_ns = 0
        self._timer: asyncio.TimerHandle | None = None

    # -- asking

    def submit(self, rows: Any, count: int, t0: int) -> "asyncio.Future[Published]":
        """Applies and publishes rows[0..count), with what else comes within max_delay.

        The future ends with the publish that holds all of them, or with the error of the first
        row refused: E_TABLE_FULL, E_LIMIT, E_CANDIDATES, E_ROW. Needs a running loop; `rows`
        belongs to the publisher until then.
        """
        loop = asyncio.get_running_loop()
        submission = _Submission(rows, count, t0, loop.create_future())
        self._pending.append(submission)
        self._pending_rows += count
        self._schedule(loop)
        return submission.future

    @property
    def waiting(self) -> bool:
        """Whether submissions are accepted that the RIB does not show yet."""
        return bool(self._pending)

    def touch(self, t0: int) -> None:
        """Words were written outside a submission: publish them with the next batch."""
        self._open(t0)
        self._schedule(asyncio.get_running_loop())

    def commit(self, rows: Any, count: int, t0: int) -> Published:
        """Applies and publishes at once. Raises as `submit`, after publishing the rest."""
        self.flush()
        error: RibcageError | None = None
        # One guard: under a lock strategy readers meet all of it or nothing.
        with self.writer.guard():
            try:
                self.apply(rows, count, t0)
            except RibcageError as refused:
                error = refused
            published = self._publish(t0)
        if error is not None:
            raise error
        return published

    def apply(self, rows: Any, count: int, t0: int) -> None:
        """Applies without publishing: one slice of bulk work, which ends with `flush`.

        Raises as `submit`; the rows before the refused one are in force.
        """
        self._open(t0)
        _, error, unfit = self._steps(rows, count)
        if error is not None or unfit:
            raise error or next(iter(unfit.values()))

    def forward(self, changes: Any, count: int, t0: int) -> None:
        """Best-path changes the RIB decided by itself (sweep, reselect, replay): to the FIB."""
        if count:
            self._open(t0)
            self._to_fib(changes, count)

    def write_rows(self, rows: Any, count: int, t0: int) -> int:
        """What the FIB should hold, as rows and not as changes: they pass no aggregation, and
        nothing leaves the RIB for their sake. Returns how many the FIB refused."""
        if count == 0:
            return 0
        self._open(t0)
        refused = at = 0
        self.behind, whole = True, not self.behind
        with self.fib.guard():
            while at < count:
                done = self.fib.apply(rows + at, count - at)
                at += done.applied + (done.error != 0)
                refused += done.error != 0
                self.counters.changes += done.changes
                self._words = self._words or done.changes > 0 or done.error != 0
        self.counters.refused += refused
        self.behind = not whole
        return refused

    def flush(self) -> Published | None:
        """Publishes what is pending or open; None when no word changed and nobody waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pending, self._pending, self._pending_rows = self._pending, [], 0
        pending = [one for one in pending if not one.future.done()]
        if not pending and self._open_since is None and not self.forwarding.changed:
            return None
        if not pending and not self.behind and not self._words and not self.forwarding.changed:
            # What was announced is what was there: no generation for nothing.
            self._open_since = None
            self.table.published(self.table.changed())
            return None
        for one in pending:
            self._open(one.t0)
        try:
            with self.writer.guard():
                if self.behind:
                    self.behind = False
                    self.replay()
                self._apply_all(pending)
                published = self._publish(self._open_since or self.clock())
        except Exception as failure:
            for one in pending:
                one.future.set_exception(failure)
            raise
        for one in pending:
            if one.error is not None:
                one.future.set_exception(one.error)
            else:
                one.future.set_result(published)
        return published

    # -- inside

    def _open(self, t0: int) -> None:
        self._open_since = t0 if self._open_since is None else min(t0, self._open_since)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        wait = self._last_ns + self.max_delay_ns - self.clock()
        if wait <= 0 or self._pending_rows >= self.max_batch:
            self.flush()
        elif self._timer is None:
            self._timer = loop.call_later(wait / 1e9, self.flush)

    def _apply_all(self, pending: Sequence[_Submission]) -> None:
        """All submissions in one pass, so that flaps between them merge in the RIB."""
        todo = deque(pending)
        while todo:
            rows, count = _joined(todo)
            done, error, unfit = self._steps(rows, count)
            if unfit:
                for one in todo:
                    one.error = one.error or _first_unfit(one, unfit)
            if error is None:
                return
            at = 0
            while todo and at <= done:  # up to the submission that owns the refused row
                one = todo.popleft()
                at += one.count
                if done < at:
                    one.error = error

    def _steps(
        self, rows: Any, count: int
    ) -> tuple[int, RibcageError | None, dict[bytes, RibcageError]]:
        """RIB then FIB, CHANGES prefixes at a time. Rows done, the RIB's error about rows[done],
        and the prefixes the FIB had no room for (the RIB has given them up again)."""
        done = 0
        unfit: dict[bytes, RibcageError] = {}
        while done < count:
            applied = self.table.apply(rows + done, count - done, self._room, CHANGES)
            self._decided = self.clock()
            done += applied.applied
            self.counters.rows += applied.applied
            unfit.update(self._to_fib(self._room, applied.changes))
            if applied.error:
                self.counters.refused += 1
                return done, rib_refusal(applied.error, rows[done]), unfit
            if applied.applied == 0 and applied.changes == 0:
                raise RibcageError("E_INTERNAL", "the routing table makes no progress")
        return done, None, unfit

    def _to_fib(self, changes: Any, count: int) -> dict[bytes, RibcageError]:
        """Stores the FIB words; what does not fit leaves the RIB too and is returned."""
        unfit: dict[bytes, RibcageError] = {}
        if count == 0:
            return unfit
        at = 0
        self.behind, whole = True, not self.behind  # until the last word is stored
        with self.writer.guard():
            while at < count:
                done = self.writer.apply(changes + at, count - at)
                at += done.applied
                self.counters.changes += done.changes
                self._words = self._words or done.changes > 0 or done.error != 0
                if done.error:
                    row = changes[at]
                    unfit[_key(row)] = fib_refusal(done.error, row, self.writer.limits())
                    self.counters.refused += 1
                    self._take_back(row)
                    at += 1
        self.behind = not whole
        return unfit

    def _take_back(self, change: Any) -> None:
        """Withdraws from the RIB a winner the FIB cannot hold, and the runners-up after it."""
        rows = ffi.new("struct route_row[2]")
        ffi.memmove(rows, ffi.addressof(change), ROW_BYTES)
        while rows[0].nexthop != 0:
            rows[0].nexthop = 0
            if self.table.apply(rows, 1, rows + 1, 1).changes == 0:
                return
            if self.writer.apply(rows + 1, 1).error == 0:
                return
            ffi.memmove(rows, rows + 1, ROW_BYTES)

    def _publish(self, t0: int) -> Published:
        mark = self.table.changed()
        t1 = max(t0, self._decided)
        self.update_id += 1
        with self.writer.guard():
            self.generation = self.writer.publish(self.update_id, t0, t1)
        t3 = self.clock()
        if not self.behind:
            self.table.published(mark)
        self.forwarding.published()
        self._open_since = None
        self._words = False
        self._last_ns = t3
        self.counters.publishes += 1
        self.counters.publish_ns[min(max(t3 - t0, 1).bit_length() - 1, 39)] += 1
        self.counters.bells += self.bells()
        self.last = Published(self.generation, self.update_id, t0, t1, t3, self.counters.changes)
        self.on_publish()
        return self.last


def _joined(todo: Sequence[_Submission]) -> tuple[Any, int]:
    if len(todo) == 1:
        return todo[0].rows, todo[0].count
    count = sum(one.count for one in todo)
    rows = ffi.new("struct route_row[]", count)
    at = 0
    for one in todo:
        ffi.memmove(rows + at, one.rows, one.count * ROW_BYTES)
        at += one.count
    return rows, count


def _key(row: Any) -> bytes:
    return bytes(ffi.buffer(ffi.addressof(row), KEY_BYTES))


def _first_unfit(one: _Submission, unfit: dict[bytes, RibcageError]) -> RibcageError | None:
    return next((unfit[key] for i in range(one.count) if (key := _key(one.rows[i])) in unfit), None)
