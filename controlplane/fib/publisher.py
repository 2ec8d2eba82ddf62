"""The one path from a changed route to the workers: RIB row, best path, FIB word, generation.

    await publisher.submit(rows, count, t0)    # one request among many -> Published
    publisher.commit(rows, count, t0)          # now, with everything pending -> Published
    publisher.touch(t0)                        # a port or a group changed: publish soon

Each step of a batch is finished before the next begins, so a death between any two loses
nothing acknowledged (the successor repeats what the RIB's journal has open):

    rib.apply      rows stored: acknowledged (t1)              both in steps.py
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
from ribcage.controlplane.fib.publishing import (
    OpenChanges,
    PublishCounters,
    Published,
    RouteTable,
    RouteWriter,
)
from ribcage.controlplane.fib.steps import Steps, row_key
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.rows import ROW_BYTES, new_rows


@dataclass(slots=True)
class _Submission:
    rows: Any
    count: int
    t0: int
    future: "asyncio.Future[Published]"
    error: RibcageError | None = None


class Publisher:
    """See the module's text. `writer` is what changes go through, `fib` the FIB itself, which is
    the same but under aggregation; `clock` is monotonic ns; `open_changes` gives what the RIB's
    journal has open; `unpublished`: the control before changed words that no generation names, so
    that the first flush makes one. After each publish `bells` rings the workers that wait, then
    `on_publish` is called."""

    def __init__(
        self,
        table: RouteTable,
        writer: RouteWriter,
        forwarding: Forwarding,
        *,
        fib: RouteWriter | None = None,
        open_changes: Callable[[], OpenChanges] = lambda: iter(()),
        bells: Callable[[], int] = lambda: 0,
        on_publish: Callable[[], None] = lambda: None,
        max_delay: float = 0.001,
        max_batch: int = 256,
        update_id: int = 0,
        generation: int = 0,
        unpublished: bool = False,
        clock: Callable[[], int] = time.monotonic_ns,
        log: Callable[..., None] = lambda *_, **__: None,
    ) -> None:
        self.counters = PublishCounters()
        self.last: Published | None = None
        self.generation = generation
        self.update_id = update_id
        self.table = table
        self._writer = writer
        self._forwarding = forwarding
        self._steps = Steps(table, writer, fib or writer, self.counters, clock)
        self._steps.words = unpublished
        self._open_changes = open_changes
        self._bells = bells
        self._on_publish = on_publish
        self._clock = clock
        self._log = log
        self.limit(max_delay, max_batch)
        self._pending: list[_Submission] = []
        self._pending_rows = 0
        # t0 of words written and not published
        self._open_since: int | None = clock() if unpublished else None
        self._last_ns = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def behind(self) -> bool:
        """Decided changes did not reach the FIB: the next flush replays the journal."""
        return self._steps.behind

    def touch_all(self, t0: int) -> None:
        """A whole table was written: the next flush publishes it, whoever waits or not."""
        self._open(t0)
        self._steps.words = True

    def limit(self, max_delay: float, max_batch: int) -> None:
        """How long an update may wait for others, and how many rows may wait."""
        self._max_delay_ns = int(max_delay * 1e9)
        self._max_batch = max_batch

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
        try:
            self._schedule(loop)
        except RibcageError:  # whoever waits for the future gets it there
            if not submission.future.done():
                raise
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
        with self._writer.guard():
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
        _, error, unfit = self._steps.apply(rows, count)
        if error is not None or unfit:
            raise error or next(iter(unfit.values()))

    def forward(self, changes: Any, count: int, t0: int) -> None:
        """Best-path changes the RIB decided by itself (sweep, reselect): to the FIB."""
        if count:
            self._open(t0)
            self._steps.forward(changes, count)

    def write_rows(self, rows: Any, count: int, t0: int) -> int:
        """What the FIB should hold, as rows and not as changes: they pass no aggregation, and
        nothing leaves the RIB for their sake. Returns how many the FIB refused."""
        if count == 0:
            return 0
        self._open(t0)
        return self._steps.write_rows(rows, count)

    def replay(self, t0: int) -> int:
        """The journal's open changes, once more: each prefix and its best next hop now."""
        total = 0
        for rows, count, exact in self._open_changes():
            if not exact:
                self.forward(rows, count, t0)
            elif refused := self.write_rows(rows, count, t0):
                self._log("error", "fib.refused", rows=refused)
            total += count
        return total

    def flush(self) -> Published | None:
        """Publishes what is pending or open; None when no word changed and nobody waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        steps = self._steps
        pending, self._pending, self._pending_rows = self._pending, [], 0
        pending = [one for one in pending if not one.future.done()]
        if not pending and self._open_since is None and not self._forwarding.changed:
            return None
        if not pending and not steps.behind and not steps.words and not self._forwarding.changed:
            # What was announced is what was there: no generation for nothing.
            self._open_since = None
            self.table.published(self.table.changed())
            return None
        for one in pending:
            self._open(one.t0)
        try:
            with self._writer.guard():
                if steps.behind:
                    steps.behind = False
                    self.replay(self._clock())
                self._apply_all(pending)
                published = self._publish(self._open_since or self._clock())
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
        wait = self._last_ns + self._max_delay_ns - self._clock()
        if wait <= 0 or self._pending_rows >= self._max_batch:
            self.flush()
        elif self._timer is None:
            self._timer = loop.call_later(wait / 1e9, self._due)

    def _due(self) -> None:
        try:
            self.flush()
        except RibcageError as error:  # whoever waits has it; what is open goes with the next
            self._log("error", "fib.not-published", code=error.code, why=error.message)

    def _apply_all(self, pending: Sequence[_Submission]) -> None:
        """All submissions in one pass, so that flaps between them merge in the RIB."""
        todo = deque(pending)
        while todo:
            rows, count = _joined(todo)
            done, error, unfit = self._steps.apply(rows, count)
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

    def _publish(self, t0: int) -> Published:
        mark = self.table.changed()
        t1 = max(t0, self._steps.decided)
        self.update_id += 1
        with self._writer.guard():
            self.generation = self._writer.publish(self.update_id, t0, t1)
        t3 = self._clock()
        if not self._steps.behind:
            self.table.published(mark)
        self._forwarding.published()
        self._open_since = None
        self._steps.words = False
        self._last_ns = t3
        self.counters.publishes += 1
        self.counters.publish_ns[min(max(t3 - t0, 1).bit_length() - 1, 39)] += 1
        self.counters.bells += self._bells()
        self.last = Published(self.generation, self.update_id, t0, t1, t3, self.counters.changes)
        self._on_publish()
        return self.last


def _joined(todo: Sequence[_Submission]) -> tuple[Any, int]:
    if len(todo) == 1:
        return todo[0].rows, todo[0].count
    count = sum(one.count for one in todo)
    rows = new_rows(count)
    at = 0
    for one in todo:
        ffi.memmove(rows + at, one.rows, one.count * ROW_BYTES)
        at += one.count
    return rows, count


def _first_unfit(one: _Submission, unfit: dict[bytes, RibcageError]) -> RibcageError | None:
    keys = (row_key(one.rows[i]) for i in range(one.count))
    return next((unfit[key] for key in keys if key in unfit), None)
