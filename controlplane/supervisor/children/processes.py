"""Reads from /proc whether a process is alive, since when, in which state, and how large.

A pid alone is not an identity (numbers come again): (pid, start time) is. All functions answer
None for a process that is gone; none raises.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """letter: R S D T Z ... of /proc/PID/stat; start in clock ticks since boot."""

    letter: str
    start: int
    cpu_seconds: float
    rss_kb: int

    @property
    def stopped(self) -> bool:
        """By a signal or by a tracer: it does nothing until it is continued."""
        return self.letter in "Tt"


def facts(pid: int) -> ProcessFacts | None:
    """None when the process is gone."""
    try:
        raw = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = raw[raw.rfind(b")") + 2 :].split()  # the name may hold anything, ")" included
    if len(fields) < 22:
        return None
    return ProcessFacts(
        fields[0].decode(),
        int(fields[19]),
        (int(fields[11]) + int(fields[12])) / TICKS,
        int(fields[21]) * PAGE_KB,
    )


def start_time(pid: int) -> int:
    """Start in clock ticks since boot; 0 when the process is gone or a zombie."""
    found = facts(pid)
    return 0 if found is None or found.letter in "ZX" else found.start


def started_ns(start: int) -> int:
    """A start in ticks since boot, which counts suspended time, on CLOCK_MONOTONIC; 0 for 0."""
    if start == 0:
        return 0
    age = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - start * (1_000_000_000 // TICKS)
    return time.monotonic_ns() - age


def is_alive(pid: int, start: int) -> bool:
    """True when this very process still runs."""
    return start != 0 and start_time(pid) == start


def kill(pid: int, start: int) -> None:
    """SIGKILL by pidfd, to this very process or to nobody."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if is_alive(pid, start):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)


def fd_count(pid: int) -> int | None:
    """Open descriptors, None when they may not be counted."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return None


def own_row(state: str, restarts: int, began_ns: int, build: str) -> dict[str, Any]:
    """The supervisor's line of `ps`."""
    pid = os.getpid()
    found = facts(pid)
    return {
        "role": "supervisor",
        "index": 0,
        "pid": pid,
        "uid": os.geteuid(),
        "state": state,
        "restarts": restarts,
        "started_ns": began_ns,
        "last_exit": None,
        "own": True,
        "build": build,
        "letter": found.letter if found else None,
        "rss_kb": found.rss_kb if found else None,
        "cpu": round(found.cpu_seconds, 3) if found else None,
        "fds": fd_count(pid),
    }
