"""The processes of a router, found without asking it: by title, name and network namespace.

    cast = Cast(node_pid, "chaos")
    cast.found()["worker"]        # [Actor(role="worker", index=0, pid=...), ...]

A router whose control is dead cannot be asked, so /proc is. A pid alone is no identity: a signal
goes through a pidfd, and only when the start time is still the one that was seen.
"""

import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

ROLES = ("guardian", "supervisor", "control", "standby", "worker")
GUARDIAN = b"ribcage-guard\n"  # of /proc/PID/comm
TITLE = re.compile(rb"^ribcage: ([a-z]+)(?: (\d+))? \(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Actor:
    """One process."""

    role: str
    index: int
    pid: int
    start: int
    parent: int
    letter: str

    @property
    def name(self) -> str:
        return f"worker {self.index}" if self.role == "worker" else self.role

    def send(self, number: int) -> bool:
        """A signal to this very process; False when it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            now = stat_of(self.pid)
            if now is None or now[1] != self.start or now[0] in "ZX":
                return False
            signal.pidfd_send_signal(descriptor, number)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def alive(self) -> bool:
        now = stat_of(self.pid)
        return now is not None and now[1] == self.start and now[0] not in "ZX"


def stat_of(pid: int) -> tuple[str, int, int] | None:
    """(letter, start in ticks, parent); None: it is gone."""
    try:
        raw = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = raw[raw.rfind(b")") + 2 :].split()
    return fields[0].decode(), int(fields[19]), int(fields[1])


def _namespace(pid: int) -> str:
    """Empty when it is not ours to know."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")  # noqa: PTH115
    except OSError:
        return ""


def _uid(pid: int) -> int:
    """The real one, -1 when the process is gone; the owner of /proc/PID says less (proc(5))."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return -1
    return int(re.findall(r"^Uid:\s+(\d+)", text, re.MULTILINE)[0])


def _part(pid: int, title: bytes) -> tuple[str, int, bytes] | None:
    """(role, index, instance) as a title tells; the guardian has a short name alone, and the
    supervisor's command line behind its own."""
    match = TITLE.match(title.replace(b"\0", b" "))
    if match is not None:
        return match[1].decode(), int(match[2] or 0), match[3]
    words = title.split(b"\0")
    if b"--instance" not in words[:-1]:
        return None
    try:
        short = Path(f"/proc/{pid}/comm").read_bytes()
    except OSError:
        return None
    if short != GUARDIAN:
        return None
    return "guardian", 0, words[words.index(b"--instance") + 1]


class Cast:
    """`inside` is a process whose network namespace the router is in."""

    def __init__(self, inside: int, instance: str) -> None:
        self._namespace = _namespace(inside)
        self._instance = instance.encode()

    def everybody(self) -> list[Actor]:
        """Every process of the router, the eldest first."""
        found = []
        for entry in os.listdir("/proc"):  # noqa: PTH208 -- often, and pathlib is slow here
            if entry.isdigit() and (actor := self._actor(int(entry))) is not None:
                found.append(actor)
        found.sort(key=lambda actor: (actor.start, actor.pid))
        return found

    def found(self) -> dict[str, list[Actor]]:
        """By role. A child that has not taken its own title yet still wears its parent's: of two
        with one part the elder has it."""
        parts: dict[str, list[Actor]] = {role: [] for role in ROLES}
        for actor in self.everybody():
            known = parts.setdefault(actor.role, [])
            if all(other.index != actor.index for other in known):
                known.append(actor)
        return parts

    def _actor(self, pid: int) -> Actor | None:
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return None
        part = _part(pid, title)
        if part is None or part[2] != self._instance:
            return None
        # One of ours that gave its rights away may not be looked into: then the title decides.
        where = _namespace(pid)
        if where != self._namespace and (where or _uid(pid) != os.geteuid()):
            return None
        facts = stat_of(pid)
        if facts is None or facts[0] in "ZX":
            return None
        letter, start, parent = facts
        return Actor(part[0], part[1], pid, start, parent, letter)
