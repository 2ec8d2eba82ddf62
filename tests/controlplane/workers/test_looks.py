"""What control believes of a stats object that its worker fills with anything."""

import asyncio
import mmap
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ribcage.shared._core import ffi, lib

from ribcage.controlplane.values.topology import Topology
from ribcage.controlplane.workers.stats import drops_report, stats_report
from ribcage.controlplane.workers.visible import count_seen, wait_visible
from ribcage.controlplane.workers.workers import Workers, WorkerSlot
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.stats import SIZE, format_stats
from ribcage.shared.process.message import Message

NEWEST = 12


class Slot:
    """Worker 0's slot as control has it, and its memory as the worker has it."""

    def __init__(self) -> None:
        fd = os.memfd_create("stats", os.MFD_CLOEXEC)
        os.ftruncate(fd, SIZE)
        format_stats(fd, 0, 9)
        self.memory = mmap.mmap(fd, SIZE)
        self.object: Any = ffi.cast("struct stats_object *", ffi.from_buffer(self.memory))
        self.object.life.pid, self.object.life.heartbeat = 77, time.monotonic_ns()
        self.object.life.state = lib.WORKER_BUSY
        self.object.seen.generation = NEWEST
        self.workers = Workers()
        self.workers.attach(Message("workers", {}, {"stats:0": fd}))
        self.workers.states([{"index": 0, "pid": 77, "state": "ready"}])
        self.workers.use(0, lambda: NEWEST)

    @property
    def slot(self) -> WorkerSlot:
        return self.workers.slots[0]

    def counted(self, **values: int) -> None:
        """Commits counters as a worker does."""
        number = self.object.sequence + 1
        block = self.object.block[number & 1]
        for name, value in values.items():
            setattr(block, name, value)
        self.object.sequence = number


@pytest.fixture
def made() -> Iterator[Slot]:
    found = Slot()
    yield found
    found.workers.close()


def test_an_honest_worker_is_believed(made: Slot) -> None:
    assert made.slot.look().odd == "" and made.slot.look().uses(NEWEST)
    made.object.seen.generation = NEWEST - 1
    assert made.slot.look().odd == "" and not made.slot.look().uses(NEWEST)
    made.object.life.state = lib.WORKER_POLLING
    assert made.slot.look().uses(NEWEST)


@pytest.mark.parametrize(
    ("part", "name", "value", "words"),
    [
        ("seen", "generation", NEWEST + 1, "newest is 12"),
        ("seen", "generation", 2**64 - 1, "newest is 12"),
        ("life", "heartbeat", 2**64 - 1, "time to come"),
        ("life", "pid", 0, "no process"),
    ],
)
def test_what_cannot_be_true_is_not_believed(
    made: Slot, part: str, name: str, value: int, words: str
) -> None:
    """Whatever it says of sleeping: it is alive by the supervisor's word, and uses nothing."""
    setattr(getattr(made.object, part), name, value)
    made.object.life.state = lib.WORKER_POLLING
    look = made.slot.look()
    assert look.alive and words in look.odd and not look.uses(NEWEST)
    assert count_seen([look], NEWEST).odd == (0,)


def test_who_sleeps_and_shows_no_sign_of_life_uses_nothing(made: Slot) -> None:
    """A worker that was stopped asleep: its next batch may never begin."""
    made.object.seen.generation = 1
    made.object.life.state = lib.WORKER_POLLING
    made.object.life.heartbeat = time.monotonic_ns() - 60_000_000_000
    assert not made.slot.look().uses(NEWEST) and made.slot.look().alive


def test_a_time_to_come_is_no_measurement(made: Slot) -> None:
    made.object.seen.t4_ns = 2**63
    assert made.slot.look().t4 == 0


def test_a_worker_cannot_hide_by_spoiling_its_object() -> None:
    """Its identity line overwritten before control maps it: alive, and named."""
    fd = os.memfd_create("stats", os.MFD_CLOEXEC)
    os.ftruncate(fd, SIZE)
    workers = Workers()
    workers.attach(Message("workers", {}, {"stats:0": fd}))
    workers.states([{"index": 0, "pid": 77, "state": "ready"}])
    look = workers.slots[0].look()
    assert look.alive and "cannot be read" in look.odd
    assert stats_report(workers, Topology())["workers"] == []
    workers.close()


def test_totals_never_go_backwards(made: Slot) -> None:
    """What was read last is shown from then on, and the worker is named."""
    made.counted(rx=100, forwarded=100)
    assert stats_report(made.workers, Topology())["totals"]["rx"] == 100
    made.counted(rx=7, forwarded=7)
    report = stats_report(made.workers, Topology())
    assert report["totals"]["rx"] == 100 and report["balanced"] is False
    assert "backwards" in report["workers"][0]["odd"]
    made.counted(rx=200, forwarded=200)
    assert stats_report(made.workers, Topology())["totals"]["rx"] == 100
    again = Slot()  # another object is another beginning
    fd = os.memfd_create("stats", os.MFD_CLOEXEC)
    os.ftruncate(fd, SIZE)
    format_stats(fd, 0, 9)
    made.workers.attach(Message("workers", {}, {"stats:0": fd}))
    assert made.slot.odd == ""
    again.workers.close()


def test_counters_changed_without_pause_cost_a_bounded_read(made: Slot) -> None:
    """A copy is given up after some tries; the last good one is shown."""
    made.counted(rx=5, forwarded=5)
    assert made.slot.snapshot() is not None
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, b"x")
        while True:
            made.object.sequence += 1
    os.read(read, 1)
    begin, tries = time.monotonic(), 0
    while made.slot.odd == "" and time.monotonic() - begin < 20:
        snapshot = made.slot.snapshot()
        assert snapshot is not None and snapshot.rx in (0, 5)
        tries += 1
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(read), os.close(write)
    last = made.slot.snapshot()
    assert last is not None and last.rx == 5


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.binary(min_size=64, max_size=512), st.integers(0, SIZE))
def test_any_bytes_are_survived(made: Slot, raw: bytes, at: int) -> None:
    """Every report and look of an object that is filled with anything is an answer."""
    at = max(64, min(at, SIZE - len(raw)))
    made.memory[at : at + len(raw)] = raw
    made.slot.look()
    stats_report(made.workers, Topology())
    drops_report(made.workers, Topology())
    assert made.slot.stats is not None
    for look in (made.slot.stats.new_waits, made.slot.stats.histogram, made.slot.stats.waiting):
        look()


@pytest.mark.parametrize("state", [lib.WORKER_BUSY, lib.WORKER_POLLING, lib.WORKER_QUIESCED])
@pytest.mark.parametrize("generation", [1, NEWEST, NEWEST + 1000])
def test_a_change_is_not_visible_while_a_worker_forwards_by_the_fib_before(
    made: Slot, state: int, generation: int
) -> None:
    """Another FIB was built, and the supervisor has not handed it over: the worker goes on with the
    one it has, whatever that one's generation is, and in its sleep too. It is waited for."""
    made.object.life.state, made.object.seen.generation = state, generation
    made.object.seen.table = 5
    made.workers.use(6, lambda: NEWEST)
    look = made.slot.look()
    assert look.alive and look.odd == "" and not look.uses(NEWEST)
    assert count_seen([look], NEWEST).lagging == (0,)
    with pytest.raises(RibcageError) as caught:
        asyncio.run(wait_visible([made.slot], NEWEST, 0.0))
    assert caught.value.code == "E_TIMEOUT" and "the FIB before" in caught.value.message
    made.object.seen.generation, made.object.seen.table = NEWEST, 6  # it got the other
    assert made.slot.look().uses(NEWEST)


def test_a_worker_without_any_fib_is_not_waited_for(made: Slot) -> None:
    """It forwards nothing, and begins with the newest."""
    made.object.seen.generation, made.object.seen.table = 0, 0
    made.workers.use(6, lambda: NEWEST)
    look = made.slot.look()
    assert not look.alive and look.state == "without a FIB"
