"""The workers as control sees them: mapped stats objects, bells, states.

    workers.attach(message)              # attach and `workers` messages bring descriptors
    workers.watches()                    # who to wait for, see visible.py
    workers.counted()                    # whose counters make the totals: those gone, too
    workers.ring()                       # bells of those that hold packets; after each publish

Reads only: a stats object is mapped O_RDONLY, a bell is written to and never read. Control only.
"""

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ribcage.controlplane.workers.visible import Look
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.stats import StatsReader
from ribcage.shared.process.message import Message

ONE = (1).to_bytes(8, "little")
ASLEEP = ("polling", "quiesced")
ALIVE = ("ready", "running", "quiesced")
SILENT_NS = 500_000_000  # a worker at work tells that it lives many times in this


@dataclass(slots=True)
class WorkerSlot:
    """One slot. `state` is the supervisor's word ("ready"); `stats` outlives the process."""

    index: int
    stats: StatsReader | None = None
    bell: int = -1
    pid: int = 0
    state: str = "unknown"
    restarts: int = 0
    table: int = 0
    """The FIB that counts, by its `born`; 0: any."""

    def look(self) -> Look:
        """One look for visible.py. A worker that is not ready yet begins with the newest; so does
        one that was not told yet of a FIB that replaced its own."""
        if self.stats is None:
            return Look(self.index, False, 0, 0, False, self.state)
        life, seen = self.stats.life(), self.stats.seen()
        trouble = self.trouble()
        if trouble is None and self.table not in (0, seen.table):
            trouble = "without this FIB"
        asleep = life.state in ASLEEP
        return Look(self.index, trouble is None, seen.generation, seen.t4_ns, asleep, trouble or "")

    def trouble(self) -> str | None:
        """Why it does no work, in a word; None: it does. The supervisor's word, and before it has
        one, what the worker itself does not say any more."""
        if self.state not in ALIVE or self.stats is None:
            return self.state
        life = self.stats.life()
        if life.pid == 0 or life.state == "stopped":
            return "starting" if life.pid == 0 else "stopping"
        silent = time.monotonic_ns() - life.heartbeat > SILENT_NS
        return "silent" if life.state == "busy" and silent else None

    def close(self) -> None:
        """The slot is gone. Whoever still waits for it (watches() handed it out) finds no stats
        object, so nobody alive, and not the memory that was unmapped here."""
        stats, self.stats = self.stats, None
        if stats is not None:
            stats.close()
        self.close_bell()

    def close_bell(self) -> None:
        bell, self.bell = self.bell, -1
        if bell >= 0:
            with contextlib.suppress(OSError):
                os.close(bell)


class Workers:
    """All slots, by index."""

    def __init__(self) -> None:
        self.slots: dict[int, WorkerSlot] = {}
        self.resting: dict[int, WorkerSlot] = {}  # given up by a reload; their counters still count
        self.lost_bells = 0
        self.table = 0

    def use(self, table: int) -> None:
        """From now on generations are those of this FIB."""
        self.table = table
        for slot in self.slots.values():
            slot.table = table

    def _slot(self, index: int, resting: bool = False) -> WorkerSlot:
        slots = self.resting if resting else self.slots
        return slots.setdefault(index, WorkerSlot(index, table=self.table))

    def attach(self, message: Message) -> None:
        """Takes the descriptors bell:N, stats:N and resting:N of a message. A stats object that
        is not of this build is left out: its worker is not waited for and not rung."""
        for name in list(message.fds):
            kind, _, number = name.partition(":")
            if kind not in ("bell", "stats", "resting") or not number.isdigit():
                continue
            fd = message.take(name)
            if fd is None:
                continue
            slot = self._slot(int(number), resting=kind == "resting")
            if kind == "bell":
                if slot.bell >= 0:
                    os.close(slot.bell)
                slot.bell = fd
                continue
            try:
                if slot.stats is not None:
                    slot.stats.close()
                    slot.stats = None
                slot.stats = StatsReader(fd)
            except (RibcageError, OSError):
                slot.stats = None
            finally:
                os.close(fd)

    def states(self, rows: Iterable[Any]) -> bool:
        """The `workers` message: [{index, pid, state, restarts}]; slots not named are gone. True
        when a process that was there is not any more."""
        named, before = set(), {slot.pid for slot in self.slots.values() if slot.pid}
        for row in rows:
            if not isinstance(row, dict) or not isinstance(row.get("index"), int):
                continue
            slot = self._slot(row["index"])
            named.add(slot.index)
            slot.pid = row["pid"] if isinstance(row.get("pid"), int) else 0
            slot.state = str(row.get("state"))
            restarts = row.get("restarts")
            slot.restarts = restarts if isinstance(restarts, int) else 0
        for index in self.slots.keys() - named:
            slot = self.slots.pop(index)
            slot.close_bell()
            slot.pid, slot.state = 0, "gone"
            self._forget_resting(index)
            self.resting[index] = slot
        for index in named & self.resting.keys():
            self._forget_resting(index)  # the same object is counted as the slot's again
        return not before <= {slot.pid for slot in self.slots.values()}

    def watches(self) -> list[WorkerSlot]:
        return [self.slots[index] for index in sorted(self.slots)]

    def counted(self) -> list[WorkerSlot]:
        """All whose counters belong to the totals: `watches`, then those a reload gave up."""
        return [*self.watches(), *(self.resting[index] for index in sorted(self.resting))]

    def _forget_resting(self, index: int) -> None:
        slot = self.resting.pop(index, None)
        if slot is not None:
            slot.close()

    def ring(self) -> int:
        """Rings the workers that hold packets for a neighbour; how many."""
        rung = 0
        for slot in self.slots.values():
            if slot.bell >= 0 and slot.stats is not None and slot.stats.waiting():
                try:
                    os.write(slot.bell, ONE)
                    rung += 1
                except OSError:  # full counts as rung: it has not been read yet
                    self.lost_bells += 1
        return rung

    def bells(self) -> dict[str, int]:
        """Descriptors to hand back to a supervisor's successor."""
        return {f"bell:{slot.index}": slot.bell for slot in self.slots.values() if slot.bell >= 0}

    def close(self) -> None:
        for slot in self.slots.values():
            slot.close()
        self.slots.clear()
        for index in list(self.resting):
            self._forget_resting(index)
