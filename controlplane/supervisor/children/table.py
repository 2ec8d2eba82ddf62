"""The table of children: one slot for control, one for its standby, one a worker.

A slot outlives the processes that fill it: it keeps restart count, last exit and back-off. States:

    absent -> starting -> ready -> (death) -> waiting -> starting ...      stopping: told to stop
                            |  ^
                            |  +-- stopped: by SIGSTOP or a debugger; ready again when it goes on
                            +----- hung: it does not answer, or takes no packets; killed

A slot is never given up: `waiting` ends at a known time. Only who is `ready` gets new frames.
"""

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from typing import Any

from ribcage.controlplane.supervisor.children import processes
from ribcage.controlplane.supervisor.children.backoff import Backoff
from ribcage.controlplane.supervisor.loop import Timer
from ribcage.controlplane.supervisor.statefile import ChildRecord
from ribcage.shared.process.channel import Channel
from ribcage.shared.protocol import Speaks, ours


def _file(fd: int) -> tuple[int, int]:
    info = os.fstat(fd)
    return info.st_dev, info.st_ino


@dataclass(slots=True, eq=False)
class Child:
    """One slot and, while `pid` is not 0, the process in it."""

    role: str  # "control", "standby", "worker"
    index: int
    backoff: Backoff
    state: str = "absent"
    pid: int = 0
    start: int = 0  # start time in ticks: with the pid an identity
    pidfd: int = -1
    uid: int = 0
    own: bool = True  # forked by this supervisor: its exit status can be read
    channel: Channel | None = None
    restarts: int = 0
    last_exit: str | None = None
    verdict: str = ""  # why the supervisor itself ends it: goes before the cause
    hangs: int = 0  # processes of this slot that were killed for their silence
    started_ns: int = 0  # monotonic
    ready_at: float | None = None
    has_fib: bool = False
    fib_file: tuple[int, int] = (0, 0)  # of the FIB it has: another may have taken the name since
    has_ports: set[int] = field(default_factory=set)
    timer: Timer | None = None  # restart, or deadline of a start
    rings: dict[str, Any] = field(default_factory=dict)  # where the last one left its rings
    successor: "Child | None" = None  # waits for this place: successors.py
    speaks: Speaks = field(default_factory=ours)  # its build, and versions of the channel
    retry_at: float = 0.0  # while waiting: when it is tried again

    @property
    def name(self) -> str:
        return f"worker {self.index}" if self.role == "worker" else self.role

    @property
    def running(self) -> bool:
        return self.pid != 0

    def attach(self, pid: int, channel: Channel | None, uid: int, own: bool = True) -> None:
        """A process fills the slot. OSError, and the slot stays empty, when it is gone already
        or no descriptor is left."""
        self.pidfd = os.pidfd_open(pid)
        self.pid, self.channel, self.uid, self.own = pid, channel, uid, own
        self.start = processes.start_time(pid)
        self.state = "starting"
        self.started_ns = time.monotonic_ns() if own else processes.started_ns(self.start)
        self.ready_at = None
        self.has_fib = False
        self.has_ports = set()
        self.speaks = ours()  # of a fork; an adopted one has said it

    def took_fib(self, fd: int) -> None:
        self.has_fib, self.fib_file = True, _file(fd)

    def holds(self, fd: int) -> bool:
        """Whether it has this very FIB."""
        return self.has_fib and self.fib_file == _file(fd)

    def became_ready(self) -> None:
        self.state = "ready"
        self.ready_at = time.monotonic()

    def detach(self, cause: str) -> float:
        """The process is gone. Returns for how many seconds it had been ready."""
        ready_for = 0.0 if self.ready_at is None else time.monotonic() - self.ready_at
        self.last_exit, self.verdict = f"{self.verdict}, {cause}" if self.verdict else cause, ""
        self.pid = self.start = 0
        self.ready_at = None
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        self.cancel_timer()
        return ready_for

    def kill(self, number: int = signal.SIGKILL) -> None:
        """By pidfd: never the wrong process, whoever has the number now."""
        if self.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):  # already dead; its exit is on the way
                signal.pidfd_send_signal(self.pidfd, number)

    def wait(self, delay: float, timer: Timer) -> None:
        """Nothing runs here until then."""
        self.state = "waiting"
        self.retry_at = time.monotonic() + delay
        self.timer = timer

    @property
    def note(self) -> str | None:
        """What more there is to say of the state; None: nothing."""
        if self.state != "waiting":
            return None
        left = max(0.0, self.retry_at - time.monotonic())
        last = f", last: {self.last_exit}" if self.last_exit else ""
        times = f"died {self.restarts} time{'' if self.restarts == 1 else 's'}"
        return f"next try in {left:.1f} s, {times}{last}"

    def cancel_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def record(self) -> ChildRecord:
        return ChildRecord(self.role, self.index, self.pid, self.start, self.uid, self.restarts)

    def brief(self) -> dict[str, Any]:
        """What control is told of each worker."""
        return {
            "index": self.index,
            "pid": self.pid,
            "state": self.state,
            "restarts": self.restarts,
            "last_exit": self.last_exit,
            "hangs": self.hangs,
        }

    def row(self) -> dict[str, Any]:
        """A line of `ps`, joined with /proc; what cannot be read is None."""
        facts = processes.facts(self.pid) if self.pid else None
        return {
            **self.brief(),
            "role": self.role,
            "note": self.note,
            "uid": self.uid,
            "started_ns": self.started_ns,
            "own": self.own,
            "build": self.speaks.build if self.pid else None,
            "letter": facts.letter if facts else None,
            "rss_kb": facts.rss_kb if facts else None,
            "cpu": round(facts.cpu_seconds, 3) if facts else None,
            "fds": processes.fd_count(self.pid) if self.pid else None,
        }


class ProcessTable:
    """control, standby, workers[0..N-1], and `leaving`: workers given up by a reload."""

    def __init__(self, workers: int, restart_max: int, restart_window: float) -> None:
        self.restart_max = restart_max
        self.restart_window = restart_window
        self.control = self._slot("control", 0)
        self.standby = self._slot("standby", 0)
        self.workers = [self._slot("worker", index) for index in range(workers)]
        self.leaving: list[Child] = []

    def _slot(self, role: str, index: int) -> Child:
        return Child(role, index, Backoff(self.restart_max, self.restart_window))

    def grow(self) -> Child:
        self.workers.append(self._slot("worker", len(self.workers)))
        return self.workers[-1]

    def set_limits(self, restart_max: int, restart_window: float) -> None:
        self.restart_max, self.restart_window = restart_max, restart_window
        for child in self.all():
            child.backoff.limit, child.backoff.window = restart_max, restart_window

    def all(self) -> list[Child]:
        slots = [self.control, self.standby, *self.workers, *self.leaving]
        return slots + [slot.successor for slot in slots if slot.successor is not None]

    def running(self) -> list[Child]:
        return [child for child in self.all() if child.running]

    def by_pid(self, pid: int) -> Child | None:
        return next((child for child in self.all() if child.pid == pid and pid), None)

    def slot(self, role: object, index: object) -> Child | None:
        """The slot a hello names; None when there is no such slot."""
        if role == "control":
            return self.control
        if role == "standby":
            return self.standby
        if role == "worker" and type(index) is int and 0 <= index < len(self.workers):
            return self.workers[index]
        return None

    def records(self) -> list[ChildRecord]:
        successors = self._successors()
        return [child.record() for child in self.running() if child not in successors]

    def rows(self) -> list[dict[str, Any]]:
        successors = self._successors()
        slots = [child for child in self.all() if child not in successors]
        return [child.row() for child in slots if child.role != "standby" or child.running]

    def _successors(self) -> list[Child]:
        return [child.successor for child in self.all() if child.successor is not None]
