"""Who is hung, stopped, starved, resting or well: judged by the rings and what is taken of them."""

import mmap
import os
import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ribcage.shared._core import ffi, lib

from ribcage.controlplane.supervisor.children import health
from ribcage.controlplane.supervisor.children.backoff import Backoff
from ribcage.controlplane.supervisor.children.health import BUSY, IDLE, STARVED, Health
from ribcage.controlplane.supervisor.children.processes import ProcessFacts
from ribcage.controlplane.supervisor.children.table import Child
from ribcage.shared.memory.stats import SIZE, format_stats
from ribcage.shared.plan import Plan

TIMEOUT = 0.5


class Bench:
    """One worker with one ring, a clock that is turned by hand, and a /proc that is made up."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.letter, self.cpu = "S", 1.0
        self.looks: list[Callable[[], None]] = []
        self.shared = self.told = 0
        self.ring, self.kernel = socket.socketpair()
        self.fd = os.memfd_create("stats", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, SIZE)
        format_stats(self.fd, 0, 99)
        self.memory = mmap.mmap(self.fd, SIZE)
        self.object: Any = ffi.cast("struct stats_object *", ffi.from_buffer(self.memory))
        self.child = Child("worker", 0, Backoff(5, 60.0), state="ready", pid=4242)
        patch.setattr(health.time, "monotonic", lambda: self.now)
        patch.setattr(
            health.processes,
            "facts",
            lambda pid: ProcessFacts(self.letter, 1, self.cpu, 1),
        )
        context: Any = SimpleNamespace(
            phase="running",
            plan=Plan("t"),
            workers=[self.child],
            loop=SimpleNamespace(after=lambda delay, callback: self.looks.append(callback)),
            table=SimpleNamespace(running=lambda: [self.child]),
            ports=SimpleNamespace(changes=0, rings=lambda worker: {3: self.ring.fileno()}),
            objects=SimpleNamespace(stats_fd=lambda worker: self.fd),
        )
        handover: Any = SimpleNamespace(tell_workers=self._tell)
        lifecycle: Any = SimpleNamespace(share_frames=self._share)
        self.health = Health(context, handover, lifecycle)
        self.beat()

    def _tell(self) -> None:
        self.told += 1

    def _share(self) -> None:
        self.shared += 1

    def beat(self) -> None:
        self.object.life.heartbeat = int(self.now * 1e9)

    def frame(self) -> None:
        self.kernel.send(b"x")

    def takes(self) -> None:
        self.object.block[self.object.sequence & 1].port[3].rx += 1

    def goes(self, seconds: float, each: Callable[[], None] = lambda: None) -> float:
        """Time goes by, with a look each BUSY; how long until the worker was hung."""
        start = self.now
        while self.now - start < seconds:
            self.now += BUSY
            each()
            self.looks.pop()()
            if self.child.state == "hung":
                return self.now - start
        return seconds


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(monkeypatch)
    yield made
    made.ring.close()
    made.kernel.close()
    os.close(made.fd)


def test_frames_wait_and_none_is_taken(bench: Bench) -> None:
    """Hung after the timeout, not before; told, and its flows are given to the others."""
    bench.goes(10.0, bench.beat)
    assert bench.child.state == "ready"
    bench.frame()
    took = bench.goes(10.0)
    assert bench.child.state == "hung"
    assert TIMEOUT <= took <= TIMEOUT + IDLE + BUSY
    assert (bench.told, bench.shared) == (1, 1)
    assert bench.child.verdict == "hung while packets waited"


def test_a_loop_that_turns_without_taking_frames_is_hung(bench: Bench) -> None:
    """A fresh heartbeat forwards nothing: a worker that lost its ring, or its way."""
    bench.frame()
    assert bench.goes(10.0, bench.beat) <= TIMEOUT + IDLE + BUSY
    assert bench.child.state == "hung"


def test_a_worker_that_takes_frames_is_well_however_many_wait(bench: Bench) -> None:
    bench.frame()
    bench.goes(10.0, bench.takes)
    assert bench.child.state == "ready"


def test_drops_of_the_ring_are_no_work(bench: Bench) -> None:
    """Counting what the kernel dropped moves rx, and takes nothing."""

    def drops() -> None:
        port = bench.object.block[0].port[3]
        port.rx += 5
        port.ring_drops += 5

    bench.frame()
    assert bench.goes(10.0, drops) <= TIMEOUT + IDLE + BUSY


def test_a_worker_that_rests_as_told_is_left_alone(bench: Bench) -> None:
    bench.object.life.state = lib.WORKER_QUIESCED
    bench.frame()
    bench.goes(10.0, bench.beat)
    assert bench.child.state == "ready"


def test_a_worker_without_cpu_has_more_time(bench: Bench) -> None:
    """It would run (R) and used no CPU since: killing it helps nobody. Not for ever, though."""
    bench.letter = "R"
    bench.frame()
    took = bench.goes(20.0)
    assert took >= STARVED * TIMEOUT
    assert bench.child.state == "hung"


def test_a_worker_that_burns_cpu_and_takes_nothing_is_hung(bench: Bench) -> None:
    bench.letter = "R"
    bench.frame()

    def burns() -> None:
        bench.cpu += BUSY

    assert bench.goes(10.0, burns) <= TIMEOUT + IDLE + BUSY


def test_time_we_overslept_is_nobodys_fault(bench: Bench) -> None:
    """The machine stood still for ten seconds: nobody is hung for that."""
    bench.frame()
    bench.goes(0.1)
    bench.now += 10.0
    bench.looks.pop()()
    assert bench.child.state == "ready"
    assert TIMEOUT - 0.2 <= bench.goes(10.0) <= TIMEOUT + IDLE


def test_a_stopped_worker_gets_nothing_new_and_is_killed_when_something_waits(bench: Bench) -> None:
    """Without traffic it is told as stopped and left alone, and is ready when it goes on."""
    bench.letter = "T"
    bench.goes(60.0)  # silent: seen without any frame
    assert bench.child.state == "stopped"
    assert (bench.told, bench.shared) == (1, 1)
    bench.letter = "S"
    bench.goes(0.2, bench.beat)
    assert bench.child.state == "ready"
    assert (bench.told, bench.shared) == (2, 2)
    bench.letter = "t"
    bench.frame()
    took = bench.goes(10.0)
    assert bench.child.state == "hung"
    assert TIMEOUT <= took <= TIMEOUT + IDLE + BUSY
    assert bench.child.verdict == "stopped while packets waited"


def test_a_stopped_worker_that_holds_packets_is_killed(bench: Bench) -> None:
    """They are copies in its memory: nobody else can send them, and they are not for ever."""
    bench.object.life.waiting = 1
    bench.letter = "T"
    bench.goes(10.0)
    assert bench.child.state == "hung"
