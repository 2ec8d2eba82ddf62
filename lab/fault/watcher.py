"""Looks at a running router while something happens to it, and notes what changes, with times.

    watcher = Watcher(names)
    watcher.note("you", "SIGKILL to worker 0 (pid 12)")     # the story's moment zero
    watcher.watch(10.0)             # until it is whole again, and a moment longer
    watcher.events                  # [{"t_ms", "who", "what"}, ...]

Processes are seen in /proc (their titles, letters, ends), states and counters by asking control;
that nobody answers is an observation, too. Looks are LOOK apart, so times are that exact.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any

from ribcage.lab.chaos.cast import Actor, Cast
from ribcage.shared.errors import RibcageError
from ribcage.shared.management import ManagementClient
from ribcage.shared.process.names import Names

LOOK = 0.003  # seconds between two looks at /proc
ASK = 0.02  # seconds between two questions to control
BEFORE = 0.2  # seconds in which is seen which workers have traffic, before anything is done
BUSY = 2  # packets between two looks that make a worker's share worth following
COUNT = 0.08  # seconds between two looks at the workers' counters
STILL = 0.25  # seconds without a packet, of a worker that had some, that are worth telling
QUIET = 0.5  # seconds without anything new, after which the story is over
ANSWER = 0.25  # seconds to wait for an answer while something is broken
LETTERS = {"T": "stands still (SIGSTOP)", "t": "is held by a debugger"}


class Watcher:
    """See the module's text. RibcageError when the router does not answer at the beginning."""

    def __init__(self, names: Names) -> None:
        self._client = ManagementClient(names.control_socket, ANSWER)
        self.rows = self._rows()
        # Any of its processes shows the namespace; titles tell the instance.
        self.cast = Cast(int(self.rows[0]["pid"]), names.instance)
        earlier = _received(self._client.call("stats.show", timeout=5.0))
        time.sleep(BEFORE)
        self.stats_before = self._client.call("stats.show", timeout=5.0)
        self._actors = {actor.pid: actor for actor in self.cast.everybody()}
        self._states = self._states_of(self.rows)
        # What was there shall be there again; a supervisor that runs alone has no guardian.
        self._wanted = {
            key for key, state in self._states.items() if key[0] == "worker" or state == "ready"
        }
        self._counts = _received(self.stats_before)
        now = time.monotonic()  # worker -> when its counter last moved
        self._moved = {
            n: now for n, count in self._counts.items() if count - earlier.get(n, count) >= BUSY
        }
        self._still: set[int] = set()
        self._counted = 0.0
        self._answers = True
        self._origin = time.monotonic()
        self._last = self._origin
        self.events: list[dict[str, Any]] = []
        self.stats_after: dict[str, Any] | None = None

    def begin(self) -> None:
        """This moment is zero."""
        self._origin = self._last = time.monotonic()

    def note(self, who: str, what: str) -> None:
        self._last = time.monotonic()
        t_ms = round((self._last - self._origin) * 1e3, 1)
        self.events.append({"t_ms": t_ms, "who": who, "what": what})

    def watch(self, seconds: float) -> None:
        """Until all is as before and QUIET for a while, or so many seconds."""
        self.watch_until(lambda: self.whole() and time.monotonic() - self._last > QUIET, seconds)
        with contextlib.suppress(RibcageError):
            self.stats_after = self._client.call("stats.show", timeout=5.0)

    def watch_until(self, over: Callable[[], bool], seconds: float) -> None:
        """Until `over` says so, or so many seconds."""
        deadline = time.monotonic() + seconds
        asked = 0.0
        while (now := time.monotonic()) < deadline and not over():
            self._look()
            if now - asked > ASK:
                asked = now
                self._ask()
            time.sleep(LOOK)

    def whole(self) -> bool:
        """Control answers; it and all that were ready before (and every worker) are ready."""
        ready = {key for key, state in self._states.items() if state == "ready"}
        return self._answers and self._wanted | {("control", 0)} <= ready

    def _look(self) -> None:
        now = {actor.pid: actor for actor in self.cast.everybody()}
        for pid, actor in self._actors.items():
            if pid not in now or now[pid].start != actor.start:
                self.note(actor.name, f"pid {pid} is gone")
            else:
                self._compare(actor, now[pid])
        for pid, actor in now.items():
            known = self._actors.get(pid)
            if known is None or known.start != actor.start:
                self.note(actor.name, f"a new process, pid {pid}")
        self._actors = now

    def _compare(self, before: Actor, after: Actor) -> None:
        if before.name != after.name:
            self.note(before.name, f"pid {after.pid} is {after.name} now")
        if before.letter != after.letter:
            if after.letter in LETTERS:
                self.note(after.name, f"pid {after.pid} {LETTERS[after.letter]}")
            elif before.letter in LETTERS:
                self.note(after.name, f"pid {after.pid} runs again")

    def _ask(self) -> None:
        try:
            rows = self._rows()
        except RibcageError as error:
            self._client.close()
            if self._answers:
                self._answers = False
                self.note("control", f"does not answer ({error.code})")
            return
        if not self._answers:
            self._answers = True
            self.note("control", "answers")
        states = self._states_of(rows)
        exits = {(r["role"], r.get("index", 0)): r.get("last_exit") for r in rows}
        before = {(r["role"], r.get("index", 0)): r.get("last_exit") for r in self.rows}
        for key, state in states.items():
            name = f"{key[0]} {key[1]}" if key[0] == "worker" else key[0]
            if exits.get(key) and exits[key] != before.get(key):
                self.note("supervisor", f"says how {name} ended: {exits[key]}")
            if state != self._states.get(key):
                self.note("supervisor", f"says {name} is {state}")
        for key in self._states.keys() - states.keys():
            self.note("supervisor", f"has no {key[0]} for the moment")
        self._states = states
        self.rows = rows if rows else self.rows
        if time.monotonic() - self._counted > COUNT:
            self._count()

    def _count(self) -> None:
        """Which workers take packets: whose flows stand still, and who takes them over."""
        self._counted = now = time.monotonic()
        try:
            counts = _received(self._client.call("stats.show"))
        except RibcageError:
            self._client.close()
            return
        for worker, count in counts.items():
            if count - self._counts.get(worker, count) >= BUSY:
                self._moved[worker] = now
                if worker in self._still:
                    self._still.discard(worker)
                    self.note(f"worker {worker}", "takes packets again")
            elif worker in self._moved and now - self._moved[worker] > STILL:
                del self._moved[worker]
                self._still.add(worker)
                self.note(f"worker {worker}", "takes no packets any more")
        self._counts = counts

    def _rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._client.call("process.list")["processes"]
        return rows

    @staticmethod
    def _states_of(rows: list[dict[str, Any]]) -> dict[tuple[str, int], str]:
        return {(str(r["role"]), int(r.get("index", 0))): str(r.get("state")) for r in rows}


def _received(stats: dict[str, Any]) -> dict[int, int]:
    return {int(row["worker"]): int(row["rx"]) for row in stats["workers"]}
