"""What `ribcage fault` can do, to whom, and what should follow.

    act = KINDS["kill"]; act.play(Play(names, watcher, target="worker0"))

A target is a role, a worker with its number (`worker0`, `worker 1`); each kind says which it takes.
Processes are signalled by pidfd. Nothing here asks whether the router allows it: command.py does.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import posix_ipc

from ribcage.lab.chaos.cast import ROLES, Actor
from ribcage.lab.fault.poison import send_poison
from ribcage.lab.fault.reach import elsewhere, inside
from ribcage.lab.fault.watcher import Watcher
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.identity import SegmentKind
from ribcage.shared.memory.segment import map_segment
from ribcage.shared.process.events import Event, EventQueue, encode
from ribcage.shared.process.names import Names

HELD = 1.0  # seconds that a semaphore is held, a worker is slowed
ASIDE = 8.0  # seconds until a frame that ends workers is set aside, at the latest
STOPPED = 9.0  # seconds after which a stopped process goes on, when nobody replaced it
GARBAGE = 64  # bytes of a message
EVENTS = 20_000
MISS_URGENCY = 3  # any the queue knows; which one decides only what is read first
SPOILT = 17  # a byte of the identity line, which the checksum covers


@dataclass(slots=True)
class Play:
    """What a kind is given. `target` is what was typed, or empty."""

    names: Names
    watcher: Watcher
    target: str
    call: Callable[..., dict[str, Any]]

    def actor(self, roles: tuple[str, ...] = ROLES) -> Actor:
        """The process that is meant; without a name the first of the first role."""
        word = (self.target or roles[0]).replace(" ", "").replace(":", "").lower()
        role = word.rstrip("0123456789")
        index = int(word[len(role) :] or 0)
        if role not in roles:
            raise RibcageError(
                "E_USAGE",
                f"{self.target[:40]!r} is no target of this fault",
                f"one of: {', '.join(roles)}; a worker with its number: worker1",
                Exit.USAGE,
            )
        for actor in self.watcher.cast.found()[role]:
            if actor.index == index:
                _require_signal(actor)
                return actor
        raise RibcageError(
            "E_FAULT", f"there is no {role} {index} now", "ribcage ps says who is", Exit.NO
        )

    def supervisor(self) -> int:
        """The pid of whom the router's objects are looked for at."""
        found = self.watcher.cast.everybody()
        if not found:
            raise RibcageError("E_FAULT", "no process of the router is seen", None, Exit.NO)
        return found[0].pid

    def say(self, what: str) -> None:
        self.watcher.note("you", what)


def _require_signal(actor: Actor) -> None:
    """A guest of the management socket may look at another user's process, and no more."""
    try:
        os.kill(actor.pid, 0)
    except PermissionError as error:
        raise RibcageError(
            "E_PERMISSION", f"{actor.name} (pid {actor.pid}) is another user's process",
            "be the router's user, or root", Exit.PRIVILEGE,
        ) from error  # fmt: skip
    except ProcessLookupError:
        pass  # the signal will say so


@dataclass(frozen=True, slots=True)
class FaultKind:
    """`expect`: of any target; `of_role` says more exactly what follows for one."""

    name: str
    says: str
    expect: str
    play: Callable[[Play], None]
    targets: str = ""
    of_role: Mapping[str, str] = field(default_factory=dict)

    def expects(self, target: str) -> str:
        """Of what was typed; empty is the first target."""
        word = target.replace(" ", "").replace(":", "").lower().rstrip("0123456789")
        return self.of_role.get(word or self.targets.partition(",")[0], self.expect)


def _signal(number: signal.Signals) -> Callable[[Play], None]:
    def play(scene: Play) -> None:
        actor = scene.actor(("worker", "control", "standby", "supervisor", "guardian"))
        scene.watcher.begin()
        scene.say(f"{number.name} to {actor.name} (pid {actor.pid})")
        if not actor.send(number):
            raise RibcageError("E_FAULT", f"{actor.name} is gone already", None, Exit.NO)

    return play


def _stop(scene: Play) -> None:
    actor = scene.actor(("worker", "control", "standby", "supervisor", "guardian"))
    scene.watcher.begin()
    scene.say(f"SIGSTOP to {actor.name} (pid {actor.pid})")
    actor.send(signal.SIGSTOP)
    scene.watcher.watch_until(lambda: not actor.alive(), STOPPED)
    if actor.send(signal.SIGCONT):
        scene.say(f"SIGCONT to {actor.name}: {_why_left(actor)}")


def _inject(kind: str) -> Callable[[Play], None]:
    def play(scene: Play) -> None:
        actor = scene.actor(("worker",))
        scene.watcher.begin()
        scene.say(f"asked {actor.name} (pid {actor.pid}) for {kind}")
        scene.call("fault.inject", worker=actor.index, kind=kind)
        if kind != "hang":
            return
        scene.watcher.watch_until(lambda: not actor.alive(), STOPPED)
        if actor.send(signal.SIGKILL):
            scene.say(f"SIGKILL to {actor.name}: {_why_left(actor)}")

    return play


def _poison(scene: Play) -> None:
    """The frame comes from the host's stack; which worker has it, its hash decides."""
    ports = [str(row["name"]) for row in scene.watcher.stats_before["ports"]]
    host_side = next((name for name in ports if name.startswith("rc-port")), None)
    if host_side is None:
        raise RibcageError("E_FAULT", "the router has no host port now", None, Exit.NO)
    before = len(scene.call("drops.show")["set_aside"])
    scene.watcher.begin()
    inside(scene.supervisor(), send_poison, host_side.replace("port", "host", 1), host_side)
    scene.say("sent a frame that ends each worker that reads it")
    asked: list[dict[str, Any]] = []

    def set_aside() -> bool:
        with contextlib.suppress(RibcageError):
            asked[:] = scene.call("drops.show")["set_aside"][before:]
        return bool(asked)

    restarts = _restarts(scene.watcher.rows)
    scene.watcher.watch_until(set_aside, ASIDE)
    if asked:  # one may have lived for too short a time to be seen
        died = _restarts(scene.call("process.list")["processes"]) - restarts
        scene.watcher.note("supervisor", f"says {died} workers ended")
    for row in asked:
        scene.watcher.note("control", f"says a frame of {row['port']} is set aside, unread")


def _restarts(rows: list[dict[str, Any]]) -> int:
    return sum(int(row.get("restarts") or 0) for row in rows if row["role"] == "worker")


def _why_left(actor: Actor) -> str:
    said = f"nobody replaced it within {STOPPED:g} s"
    return f"{said}, as no packet waited for it" if actor.role == "worker" else said


def _slow(scene: Play) -> None:
    """Nine tenths of the time it stands still, in pieces no watchdog should take for a hang."""
    actor = scene.actor(("worker",))
    scene.watcher.begin()
    scene.say(f"{actor.name} (pid {actor.pid}) may run one tenth of the time, for {HELD:g} s")
    deadline = time.monotonic() + HELD
    while time.monotonic() < deadline and actor.send(signal.SIGSTOP):
        time.sleep(0.018)
        actor.send(signal.SIGCONT)
        time.sleep(0.002)
    actor.send(signal.SIGCONT)
    scene.say(f"{actor.name} may run as it likes")


def _take(name: str) -> None:
    """Where the semaphore is. Given back in every case but SIGKILL."""
    semaphore = posix_ipc.Semaphore(name)
    semaphore.acquire(HELD)
    try:
        time.sleep(HELD)
    finally:
        semaphore.release()
        semaphore.close()


def _hold(scene: Play) -> None:
    name = scene.names.writer_semaphore
    scene.watcher.begin()
    with elsewhere(scene.supervisor(), _take, name) as running:
        scene.say(f"took {name} for {HELD:g} s, as a writer does that is slow")
        scene.watcher.watch_until(lambda: not running(), 3 * HELD)
    scene.say("it was given back")


def _counted(scene: Play) -> dict[str, Any]:
    shown = scene.call("ipc.show").get("queue")
    if not isinstance(shown, dict):
        raise RibcageError("E_FAULT", "control has no event queue", None, Exit.NO)
    return shown


def _told(scene: Play, before: dict[str, Any]) -> None:
    """What control counted of its queue meanwhile."""
    with contextlib.suppress(RibcageError):
        after = _counted(scene)
        for word in ("received", "refused", "lost"):
            if word in after and after[word] != before.get(word):
                count = int(after[word]) - int(before.get(word, 0))
                scene.watcher.note("control", f"counted {count} messages as {word}")
        scene.watcher.note("control", f"has {after.get('queued')} messages waiting")


def _send_garbage(key: int) -> int:
    queue, sent = EventQueue.open(key), 0
    while sent < EVENTS and queue.send(os.urandom(GARBAGE), MISS_URGENCY):
        sent += 1
    return sent


def _send_misses(key: int) -> tuple[int, int]:
    """(how many went in, how often there was no room)."""
    queue, sent, refused = EventQueue.open(key), 0, 0
    deadline = time.monotonic() + HELD
    while sent < EVENTS and time.monotonic() < deadline:
        address = f"10.{random.randrange(256)}.{random.randrange(256)}.9"
        event = Event("neighbour-miss", MISS_URGENCY, 0, sent, time.monotonic_ns(), count=1,
                      port=1, address=ipaddress.ip_address(address))  # fmt: skip
        if queue.send(encode(event), MISS_URGENCY):
            sent += 1
        else:
            refused += 1
            time.sleep(0.001)  # full: control has to read first
    return sent, refused


def _fill(scene: Play) -> None:
    before = _counted(scene)
    scene.watcher.begin()
    sent = inside(scene.supervisor(), _send_garbage, int(before["key"], 16))
    scene.say(f"sent {sent} messages of garbage, until the queue was full")
    scene.watcher.watch_until(lambda: False, 0.3)
    _told(scene, before)


def _flood(scene: Play) -> None:
    before = _counted(scene)
    scene.watcher.begin()
    scene.say("sends neighbour misses in the name of worker 0, as fast as they go in")
    sent, refused = inside(scene.supervisor(), _send_misses, int(before["key"], 16))
    scene.say(f"{sent} went in, {refused} times the queue was full")
    _told(scene, before)


def _copy(scene: Play) -> None:
    """In a memfd: nothing is left, whoever dies."""
    scene.watcher.begin()
    path = Path(f"/proc/{scene.supervisor()}/root/dev/shm") / scene.names.fib.lstrip("/")
    fd = os.memfd_create("ribcage-fault-copy", os.MFD_CLOEXEC)
    try:
        with path.open("rb") as original:
            size = os.fstat(original.fileno()).st_size
            head = original.read(1 << 16)  # what attach looks at is all in there
        os.truncate(fd, size)
        os.pwrite(fd, head, 0)
        map_segment(fd, SegmentKind.FIB, name="the copy").close()
        scene.say(f"copied the head of {scene.names.fib} ({size} bytes): the copy can be attached")
        os.pwrite(fd, bytes([head[SPOILT] ^ 0x40]), SPOILT)
        scene.say(f"flipped bit 6 of byte {SPOILT} of the copy")
        try:
            map_segment(fd, SegmentKind.FIB, name="the copy").close()
            scene.watcher.note("attach", "took the damaged copy: this is a fault of the router")
        except RibcageError as error:
            scene.watcher.note("attach", f"refused it: {error.message} ({error.code})")
    except OSError as error:
        raise RibcageError("E_FAULT", f"{path}: {error.strerror}", None, Exit.NO) from error
    finally:
        os.close(fd)


ANY = "worker, control, standby, supervisor, guardian"
DIES = {
    "worker": "the others go on; its flows wait in its ring for the successor, about 50 ms",
    "control": "packets go on; the standby is control within 0.2 s, a new standby follows",
    "standby": "nobody notices; a new one is made",
    "supervisor": "packets go on; the guardian starts the next one within a second",
    "guardian": "nobody notices; the supervisor makes a new one",
}
STANDS = {
    "worker": "while packets wait for it: noticed, killed and replaced within 700 ms; else it is left",
    "control": "noticed after control.hang_timeout (3 s) and killed; the standby is control then",
    "standby": "noticed after control.hang_timeout (3 s), killed and replaced",
    "supervisor": "packets go on; the guardian kills it after 5 s and starts the next one",
    "guardian": "nobody notices; the supervisor makes a new one after 6 to 7 s",
}
WITH_STACK = {
    role: f"{what}; the log has a stack" for role, what in DIES.items() if role != "guardian"
}
KINDS = {
    kind.name: kind
    for kind in (
        FaultKind("kill", "SIGKILL", "packets go on, and another one takes its place", _signal(signal.SIGKILL), ANY, DIES),
        FaultKind("segv", "SIGSEGV, as a wild store would raise it", "as kill, and the log has a stack", _signal(signal.SIGSEGV), ANY, DIES | WITH_STACK),
        FaultKind("abort", "SIGABRT, as a failed assertion raises it", "as kill, and the log has a stack", _signal(signal.SIGABRT), ANY, DIES | WITH_STACK),
        FaultKind("stop", "SIGSTOP: the process is there and does nothing", "noticed, killed and replaced: a worker for which packets wait after 0.7 s, control after 3 s, supervisor and guardian after 5 to 7 s", _stop, ANY, STANDS),
        FaultKind("hang", "a worker loops for ever", STANDS["worker"], _inject("hang"), "worker"),
        FaultKind("fib-write", "a worker writes to the FIB", "SIGSEGV for that worker alone; the FIB is unchanged", _inject("fib-write"), "worker"),
        FaultKind("poison", "one frame comes that ends each worker that reads it", "two workers die; the third sets the frame aside, a drop with the reason set-aside", _poison),
        FaultKind("slow", "a worker gets a tenth of its time", "no process is replaced; its ring takes what it can", _slow, "worker"),
        FaultKind("hold-semaphore", "the writer's semaphore is taken for a second", "packets go on; changes wait or take over", _hold),
        FaultKind("fill-queue", "the event queue is filled with garbage", "counted and thrown away; neighbours are resolved all the same", _fill),
        FaultKind("flood-events", "thousands of neighbour misses in a second", "bounded work and memory; no other worker's misses are lost", _flood),
        FaultKind("corrupt-copy", "a copy of the FIB is spoilt and attached", "attach refuses it and says what differs", _copy),
    )
}  # fmt: skip
