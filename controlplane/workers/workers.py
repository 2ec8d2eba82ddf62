"""The workers as control sees them: mapped stats objects, bells, states.

    workers.attach(message)              # attach and `workers` messages bring descriptors
    workers.watches()                    # who to wait for, see visible.py
    workers.counted()                    # whose counters make the totals: those gone, too
    workers.ring()                       # bells of those that hold packets; after each publish
    workers.listen(heard)                # heard(slot) when one of them rings

Reads only: a stats object is mapped O_RDONLY. What is in it is its worker's word. Control only.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ribcage.controlplane.workers.bell import WorkerBell
from ribcage.controlplane.workers.visible import Look
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.stats import Snapshot, StatsReader
from ribcage.shared.process.message import Message

RISING = ("rx", "forwarded", "delivered", "icmp_sent", "batches")
FUTURE_NS = 1_000_000_000  # clocks of one machine are one; the copy was made a moment ago
SILENT_NS = 4_000_000_000  # a worker that sleeps writes its heartbeat every second
UNREADABLE = "has a stats object that cannot be read"
ASLEEP = ("polling", "quiesced")
ALIVE = ("ready", "running", "quiesced")
BUSY_NS = 500_000_000  # and one at work many times in this


def never() -> int:
    """As long as it is not known which generation is the newest."""
    return 0xFFFFFFFFFFFFFFFF


@dataclass(slots=True)
class WorkerSlot:
    """One slot. `state` is the supervisor's word ("ready"); `stats` outlives the process."""

    index: int
    stats: StatsReader | None = None
    stats_fd: int = -1
    """Read-only; kept for a supervisor's successor, the object has no name."""
    bell: WorkerBell | None = None
    pid: int = 0
    state: str = "unknown"
    restarts: int = 0
    table: int = 0
    """The FIB that counts, by its `born`; 0: any."""
    newest: Callable[[], int] = never
    """The newest generation there is: nobody can have seen a later one."""
    odd: str = ""
    """What its counters did that cannot be; for as long as it has this object."""
    last: Snapshot | None = None

    def look(self) -> Look:
        """One look for visible.py. A worker that is not ready yet, or has no FIB, begins with the
        newest. One that has the FIB before goes on forwarding by it until it gets the new one: it
        uses nothing of that, asleep or not, and is waited for."""
        alive = self.state in ALIVE
        if self.stats is None:
            state = self.state if self.state not in ALIVE else "without counters"
            usable = alive and self.stats_fd >= 0
            return Look(self.index, usable, 0, 0, False, UNREADABLE, state)
        life, seen = self.stats.life(), self.stats.seen()
        now, newest = time.monotonic_ns(), self.newest()
        trouble, odd, before = self.trouble(), self.odd, False
        if self.table not in (0, seen.table):
            if seen.table == 0:
                trouble = trouble or "without a FIB"
            before = True
        if seen.generation > newest and not before:
            odd = f"says generation {seen.generation}, the newest is {newest}"
        elif life.pid == 0:
            odd = "says that there is no process"
        elif life.heartbeat > now + FUTURE_NS:
            odd = "has a heartbeat of the time to come"
        if before:  # its numbers are those of the other FIB
            return Look(self.index, trouble is None, 0, 0, False, odd, trouble or "", before=True)
        # One that sleeps says so every second: who was stopped in his sleep does not use anything.
        asleep = life.state in ASLEEP and now - life.heartbeat < SILENT_NS
        t4 = seen.t4_ns if seen.t4_ns <= now else 0
        return Look(self.index, trouble is None, seen.generation, t4, asleep, odd, trouble or "")

    def trouble(self) -> str | None:
        """Why it does no work, in a word; None: it does. The supervisor's word, and before it has
        one, what the worker itself does not say any more."""
        if self.state not in ALIVE:
            return self.state
        if self.stats is None:
            return None  # told as odd
        life = self.stats.life()
        if life.state == "stopped":
            return "stopping"
        silent = time.monotonic_ns() - life.heartbeat > BUSY_NS
        return "silent" if life.state == "busy" and silent else None

    def snapshot(self) -> Snapshot | None:
        """Its counters, None when there are none to read. They never go backwards: what was read
        last is shown for good of a worker that tries, or that changes them without pause."""
        if self.stats is None:
            return self.last
        try:
            now = self.stats.snapshot()
        except RibcageError:
            self.odd = self.odd or "changes its counters without pause"
            return self.last
        if self.last is not None and any(
            getattr(now, name) < getattr(self.last, name) for name in RISING
        ):
            self.odd = "has counters that went backwards"
        if not self.odd or self.last is None:
            self.last = now
        return self.last

    def close(self) -> None:
        """The slot is gone. Whoever still waits for it (watches() handed it out) finds no stats
        object, so nobody alive, and not the memory that was unmapped here."""
        self.close_stats()
        self.close_bell()
        self.state = "gone"

    def take_stats(self, fd: int) -> None:
        """Owns `fd`. An object of another build is kept to be handed back, and not read."""
        self.close_stats()
        self.stats_fd, self.odd, self.last = fd, "", None
        with contextlib.suppress(RibcageError, OSError):
            self.stats = StatsReader(fd)

    def close_stats(self) -> None:
        stats, self.stats = self.stats, None
        if stats is not None:
            stats.close()
        fd, self.stats_fd = self.stats_fd, -1
        if fd >= 0:
            os.close(fd)

    def close_bell(self) -> None:
        bell, self.bell = self.bell, None
        if bell is not None:
            bell.close()


class Workers:
    """All slots, by index."""

    def __init__(self) -> None:
        self.slots: dict[int, WorkerSlot] = {}
        self.resting: dict[int, WorkerSlot] = {}  # given up by a reload; their counters still count
        self.lost_bells = 0
        self.sync = -1
        """What workers and control lock with, where the strategy has such words."""
        self.table = 0
        self.newest = never
        self._heard: Callable[[WorkerSlot], None] | None = None

    def use(self, table: int, newest: Callable[[], int] = never) -> None:
        """From now on generations are those of this FIB, `newest()` at most."""
        self.table, self.newest = table, newest
        for slot in self.slots.values():
            slot.table, slot.newest = table, newest

    def listen(self, heard: Callable[[WorkerSlot], None]) -> None:
        """From now on a bell, also one that comes later, calls `heard`. Needs the running loop."""
        self._heard = heard
        for slot in self.slots.values():
            self._hear(slot)

    def deafen(self) -> None:
        self._heard = None
        for slot in self.slots.values():
            if slot.bell is not None:
                slot.bell.deafen()

    def _hear(self, slot: WorkerSlot) -> None:
        heard = self._heard
        if heard is not None and slot.bell is not None:
            slot.bell.listen(lambda: heard(slot))

    def _slot(self, index: int, resting: bool = False) -> WorkerSlot:
        slots = self.resting if resting else self.slots
        return slots.setdefault(index, WorkerSlot(index, table=self.table, newest=self.newest))

    def attach(self, message: Message) -> None:
        """Takes the descriptors bell:N, stats:N, resting:N and sync of a message. A stats object
        that is not of this build is kept, but not read: its worker is named as one that cannot be
        believed."""
        sync = message.take("sync")
        if sync is not None:
            self._close_sync()
            self.sync = sync
        for name in list(message.fds):
            kind, _, number = name.partition(":")
            if kind not in ("bell", "stats", "resting") or not number.isdigit():
                continue
            fd = message.take(name)
            if fd is None:
                continue
            slot = self._slot(int(number), resting=kind == "resting")
            if kind == "bell":
                slot.close_bell()
                slot.bell = WorkerBell(fd)
                self._hear(slot)
            else:
                slot.take_stats(fd)

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
            if slot.bell is not None and slot.stats is not None and slot.stats.waiting():
                if slot.bell.ring():
                    rung += 1
                else:  # it has not heard the last one yet, or nobody is there
                    self.lost_bells += 1
        return rung

    def kept(self) -> dict[str, int]:
        """Descriptors to hand back to a supervisor's successor."""
        found = {f"stats:{slot.index}": slot.stats_fd for slot in self.slots.values()}
        found |= {f"resting:{slot.index}": slot.stats_fd for slot in self.resting.values()}
        found["sync"] = self.sync
        return {name: fd for name, fd in found.items() if fd >= 0}

    def _close_sync(self) -> None:
        sync, self.sync = self.sync, -1
        if sync >= 0:
            os.close(sync)

    def close(self) -> None:
        for slot in self.slots.values():
            slot.close()
        self.slots.clear()
        self._close_sync()
        for index in list(self.resting):
            self._forget_resting(index)
