"""The writer is killed at every step of every kind of change, and at random instants, under every
strategy; the next one goes on."""

import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import TypeVar

import pytest
from ribcage.shared._core import ffi, lib

from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib import FibReader
from ribcage.shared.memory.fib_records import FibKind
from ribcage.shared.memory.fib_sync import STRATEGIES, WITH_LOCK
from ribcage.shared.memory.rows import Route
from ribcage.shared.memory.segment import SegmentKind, SegmentState, map_segment
from tests.crash.fib_script import TORTURE, Script, Stage, built, cycle
from tests.csrc.build import CSRC, FIB
from tests.model.golden import Golden
from tests.suite.tally import DONE

OUTRUN = {"message": 1e-4}  # see test_torture.py
KILLS = 12 * TORTURE  # of each of 28 pairs
CROWD = [f"2001:db8:0:{i * 4:x}::/64" for i in range(30)]  # more than one chunk of lines holds
T = TypeVar("T")
FORWARD, BLACKHOLE = int(FibKind.FORWARD), int(FibKind.BLACKHOLE)

# One step a kind of change, each on what the steps before left. No step changes an address
# twice: words become visible one by one, so a reader could see a third answer in between.
SCRIPT = Script(
    [
        [("adjacency", 1, 0, 1501), ("adjacency", 2, 1, 1502)],
        [
            ("group", 1, FORWARD, (1,)),
            ("group", 2, FORWARD, (1, 2) * 16),
            ("group", 3, BLACKHOLE, ()),
        ],
        [("port", 0, 1500)],
        [("rows", [Route("10.0.0.0/8", 1)])],  # the root
        [("rows", [Route("10.1.2.0/24", 2)])],  # a chain of nodes below it
        [("rows", [Route("10.1.2.128/25", 3), Route("10.1.2.7/32", 1)])],  # a run of one node
        [("rows", [Route("10.1.2.0/24", 3)])],  # another group
        [("rows", [Route("0.0.0.0/0", 2), Route("2001:db8::/32", 2)])],
        [("rows", [Route("2001:db8::1/128", 1)])],  # a chain of twelve
        [  # a bulk load over many nodes
            ("rows", [Route(f"172.{16 + i // 8}.{i % 8 * 32}.0/24", 1 + i % 3) for i in range(40)])
        ],
        [("rows", [Route("::/0", 3)] + [Route(prefix, 1) for prefix in CROWD])],  # directories
        [("group", 2, FORWARD, (2,))],  # 32 buckets give way to one
        [("adjacency", 1, 1, 1600)],
        [("rows", [Route("10.1.2.128/25", 0)]), ("rows", [Route("10.1.2.7/32", 0)])],
        [("rows", [Route("2001:db8::1/128", 0)])],  # the chain goes
        [("rows", [Route(prefix, 0) for prefix in CROWD])],  # and back to one chunk
        [("rows", [Route("10.0.0.0/8", 0), Route("10.1.2.0/24", 0)])],
        [("group", 9, FORWARD, (1,)), ("rows", [Route("192.0.2.0/24", 9)])],
        [("rows", [Route("192.0.2.0/24", 0)]), ("nogroup", 9)],  # the id waits two epochs
        [("group", 1, FORWARD, (2,)), ("noadjacency", 1), ("noport", 0)],
    ]
)
WATCHED = [
    *("10.0.0.1", "10.1.2.0", "10.1.2.7", "10.1.2.127", "10.1.2.128", "10.1.2.255", "10.1.3.0"),
    *("172.16.0.1", "172.17.32.1", "172.20.224.255", "192.0.2.1", "198.51.100.1"),
    *("2001:db8::", "2001:db8::1", "2001:db8:ffff::1", "2001:db8:0:4::1", "2001:db9::1", "::"),
]


CYCLE = cycle(FORWARD)
Groups = dict[int, tuple[int, tuple[int, ...]]]
Adjacencies = dict[int, tuple[int, int]]
Ports = dict[int, int]
Contents = tuple[list[tuple[int, int, int]], int, Groups, Adjacencies, Ports]
"""Answers, number of routes, and the records: routes are compared by count and answers."""


def contents(golden: Golden) -> Contents:
    answers = [golden.answer(address) for address in WATCHED]
    return answers, len(golden.routes), golden.groups, golden.adjacencies, golden.ports


@cache
def after(generation: int) -> list[Contents]:
    """What the table may be when a writer of SCRIPT was killed with so many steps published."""
    return [contents(state) for state in SCRIPT.states(generation)]


@cache
def in_cycle() -> list[list[Contents]]:
    """The same of CYCLE, by generation % its steps, from the second round on."""
    return [[contents(state) for state in states] for states in CYCLE.round_states()]


SYNCS = [name for name in STRATEGIES if name != "none"]
# The interval engine is the IPv6 half of the last two.
ENGINES = ("binary", "multibit", "compact", "flat")
# Steps of taking over that a first writer does not pass, and one of a log that overflowed.
SUCCESSORS_ONLY = {"redone", "lock-taken-fresh", "lock-broken"}
each_pair = pytest.mark.parametrize(("sync", "engine"), list(product(SYNCS, ENGINES)))


def stride(sync: str, engine: str) -> int:
    """Which of a script's points are killed at when there are minutes, and when there are not."""
    if sync == "epoch":
        # The flat engine's points are the compact engine's and its own between.
        return 3 if engine == "flat" and TORTURE == 1 else 1
    if TORTURE > 1:
        return 7 if engine == "flat" else 1
    return {"binary": 37, "multibit": 19, "compact": 7, "flat": 31}[
        engine
    ]  # primes: each round meets others


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links to both programs, and the script."""
    folder = tmp_path_factory.mktemp("programs")
    for name in ("victim", "witness"):
        (folder / name).symlink_to(built(name))
    SCRIPT.write(folder / "script")
    return folder


def victim(
    programs: Path, stage: Stage, kill_at: int, generations: int, seconds: float = 30.0
) -> str:
    """Runs a writer; its output. Ends by its own SIGKILL or in order, nothing else."""
    program, script = programs / "victim", programs / "script"
    done = subprocess.run(
        stage.victim(program, script, kill_at, generations, seconds),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == (-9 if "killed" in done.stdout else 0), done.stdout + done.stderr
    DONE["kills at a step"] += "killed" in done.stdout
    return done.stdout


class Successor:
    """The next writer, in this process: what it finds."""

    def __init__(self, stage: Stage) -> None:
        self.sync, self.locks = stage.sync, stage.locks()
        self.recovery = ffi.new("struct fib_recovery *")
        with stage.path.open("r+b") as file:
            self.mapped = map_segment(file.fileno(), SegmentKind.FIB, write=True)
            self.reader = FibReader(file.fileno(), self.locks)
        self.writer = lib.fib_writer_open_locked(
            self.mapped.address, self.mapped.size, self.locks.handle, self.recovery
        )
        assert self.writer != ffi.NULL
        assert lib.fib_check(self.writer) == 0
        self.generation = self.reader.generation

    def close(self) -> None:
        lib.fib_writer_close(self.writer)
        self.reader.close()
        self.mapped.close()
        self.locks.close()

    def contents(self) -> Contents:
        """What readers find; looked up once, however many tables it is held against."""
        answers = self._when_let_in(lambda: self.reader.lookup_batch([(a, 0) for a in WATCHED]))
        published = self.reader.published()
        return (
            [(a.group, a.adjacency, a.mtu) for a in answers],
            published["routes4"] + published["routes6"],
            *self._records(),
        )

    def _records(self) -> tuple[Groups, Adjacencies, Ports]:
        groups = {
            g.id: (int(g.kind), g.buckets)
            for i in range(1, 64)
            if (g := self._when_let_in(partial(self.reader.group, i)))
        }
        adjacencies = {
            a.id: (a.port, a.mtu)
            for i in range(1, 64)
            if (a := self._when_let_in(partial(self.reader.adjacency, i)))
        }
        ports = {
            p.index: p.mtu
            for i in range(8)
            if (p := self._when_let_in(partial(self.reader.port, i)))
        }
        return groups, adjacencies, ports

    def _when_let_in(self, read: Callable[[], T]) -> T:
        """Under a lock a reader that was taken off its CPU inside keeps others out that long."""
        deadline = time.monotonic() + 10
        while True:
            try:
                return read()
            except RibcageError as error:
                if self.sync not in WITH_LOCK or error.code != "E_FIB_BUSY":
                    raise
                assert time.monotonic() < deadline, "never let in"


def test_every_fault_point_is_reached(programs: Path, tmp_path: Path) -> None:
    """On one engine or another, under one strategy or another the script passes each RC_FAULT of
    the FIB, so the tests below kill at each."""
    passed = set()
    for sync, engine in product(STRATEGIES, ENGINES):
        with Stage(tmp_path / "fib", sync, engine) as stage:
            output = victim(programs, stage, 0, len(SCRIPT.steps))
            passed |= set(re.findall(r"point (\S+)", output))
    sources = [CSRC / name for name in FIB]
    named = {n for path in sources for n in re.findall(r'RC_FAULT\("([^"]+)"\)', path.read_text())}
    # The snapshot of `message` is renewed after half a ring, which no script here fills.
    renewal = {"snapshot-placed", "snapshot-renewed", "snapshot-followed"}
    assert named - passed - renewal <= SUCCESSORS_ONLY
    assert passed <= named


def is_unmade(stage: Stage) -> bool:
    """Its creator was killed before the magic."""
    with stage.path.open("rb") as file:
        try:
            map_segment(file.fileno(), SegmentKind.FIB).close()
        except RibcageError as error:
            assert "no magic yet" in str(error)
            return True
    return False


@each_pair
def test_a_writer_killed_anywhere_leaves_old_or_new(
    programs: Path, tmp_path: Path, sync: str, engine: str
) -> None:
    """Killed at the points of the whole script (see `stride`), the successor finds the table before
    or after the change that was under way, never between, and finishes the script. Under `double`
    it finds what was published, to the last word."""
    with Stage(tmp_path / "fib", sync, engine) as stage:
        whole = victim(programs, stage, 0, len(SCRIPT.steps))
        points = int(re.findall(r"passed (\d+)", whole)[0])
        assert points > 300
        last = after(len(SCRIPT.steps))[0]
        for kill_at in range(1, points + 1, stride(sync, engine)):
            stage.renew()
            output = victim(programs, stage, kill_at, len(SCRIPT.steps))
            assert "killed" in output
            if is_unmade(stage):
                victim(programs, stage, 0, 0)
            successor = Successor(stage)
            found, states = successor.contents(), after(successor.generation)
            right = found == states[0] if sync == "double" else found in states
            assert right, (kill_at, output, found)
            successor.close()
            if kill_at % 7 == 0:
                victim(programs, stage, 0, len(SCRIPT.steps))
                successor = Successor(stage)
                assert successor.generation == len(SCRIPT.steps)
                assert successor.contents() == last
                successor.close()


@each_pair
def test_a_successor_killed_at_recovering_is_followed_by_another(
    programs: Path, tmp_path: Path, sync: str, engine: str
) -> None:
    """Recovery itself may be killed at each of its points, the redo included."""
    found = set()
    with Stage(tmp_path / "fib", sync, engine) as stage:
        few = sync != "epoch" and engine != "compact" and TORTURE == 1
        for first in range(100, 260, 9 if sync == "epoch" else 71 if few else 31):
            for second in range(1, 7 if sync == "epoch" else 12, 1 if sync == "epoch" else 2):
                stage.renew()
                victim(programs, stage, first, len(SCRIPT.steps))
                output = victim(programs, stage, second, len(SCRIPT.steps))
                found |= set(re.findall(r"killed (\S+)", output))
                successor = Successor(stage)
                seen = successor.contents()
                assert seen in after(successor.generation), (first, second, output, seen)
                successor.close()
    assert "redone" in found or sync != "epoch"


@each_pair
def test_readers_see_only_live_generations_while_writers_die(
    programs: Path, tmp_path: Path, sync: str, engine: str
) -> None:
    """A reader beside a chain of writers, each killed somewhere, gets from each lookup the
    answer of a generation that was alive; only a lock that died with its writer makes it wait."""
    steps = len(SCRIPT.steps)
    with Stage(tmp_path / "fib", sync, engine) as stage:
        victim(programs, stage, 0, 0)
        truth = SCRIPT.write_truth(tmp_path / "truth", WATCHED, steps + 1)
        command = stage.witness(programs / "witness", truth, steps + 1, len(WATCHED), steps, 60)
        witness = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert witness.stdout is not None
        try:
            assert witness.stdout.readline() == "ready\n"
            chance = random.Random(5)
            generation, most = 0, 60
            while generation < steps:
                victim(programs, stage, chance.randint(12, most), steps)
                before = generation
                with stage.path.open("rb") as file, FibReader(file.fileno()) as reader:
                    generation = reader.generation
                # `double` begins what was not published anew: a bulk load takes a longer life.
                most = most + 60 if generation == before else 60
            successor = Successor(stage)  # who lets readers in that the last one locked out
            output, _ = witness.communicate(timeout=30)
            successor.close()
        finally:
            witness.kill()
            witness.wait()
    figures = dict(re.findall(r"(\w+) (\d+)\n", output))
    assert figures["wrong"] == "0", output
    allowed = OUTRUN.get(sync, 0) * int(figures["lookups"])
    assert int(figures["busy"]) <= allowed or sync in WITH_LOCK, output
    assert int(figures["checked"]) > 1000
    DONE["lookups checked"] += int(figures["checked"])


@each_pair
def test_killed_at_a_random_instant(programs: Path, tmp_path: Path, sync: str, engine: str) -> None:
    """SIGKILL out of nowhere: the successor takes over in bounded time, has every generation that
    was seen before, and finds a table that was right; a reader beside it all meets no wrong
    answer."""
    n = len(CYCLE.steps)
    states = in_cycle()
    chance = random.Random(sync + engine)
    with Stage(tmp_path / "fib", sync, engine) as stage:
        script = CYCLE.write(tmp_path / "script")
        again = stage.victim(programs / "victim", script, 0, 2 * n, 30)
        subprocess.run(again, check=True, capture_output=True, timeout=40)
        truth = CYCLE.write_truth(tmp_path / "truth", WATCHED, n)
        command = stage.witness(programs / "witness", truth, n, len(WATCHED), 10**12, 600)
        witness = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert witness.stdout is not None
        try:
            assert witness.stdout.readline() == "ready\n"  # so it hears the SIGTERM below
            for _ in range(KILLS):
                endless = stage.victim(programs / "victim", script, 0, 10**12, 30)
                writer = subprocess.Popen(endless, stdout=subprocess.PIPE, text=True)
                assert writer.stdout is not None
                while writer.stdout.readline() != "writing\n":
                    assert writer.poll() is None
                time.sleep(chance.random() * 0.01)
                with stage.path.open("rb") as file, FibReader(file.fileno()) as reader:
                    acknowledged = reader.generation
                writer.kill()
                writer.communicate()
                DONE["kills at a random instant"] += 1
                successor = Successor(stage)
                assert successor.generation >= acknowledged
                assert successor.recovery.nanoseconds < 2_000_000_000
                seen = successor.contents()
                assert seen in states[successor.generation % n], (successor.generation, seen)
                successor.close()
            witness.terminate()
            output, _ = witness.communicate(timeout=30)
        finally:
            witness.kill()
            witness.wait()
    figures = {k: int(v) for k, v in re.findall(r"(\w+) (\d+)\n", output)}
    assert figures.get("wrong") == 0, output
    allowed = OUTRUN.get(sync, 0) * figures["lookups"]
    assert figures["busy"] <= allowed or sync in WITH_LOCK, output
    assert figures["checked"] > 1000
    DONE["lookups checked"] += figures["checked"]


@each_pair
def test_a_stopped_or_dead_reader_holds_up_nobody(
    programs: Path, tmp_path: Path, sync: str, engine: str
) -> None:
    """Readers are stopped and killed in mid-lookup, again and again: the writer goes on (under a
    lock after breaking it), and what is retired stays bounded."""
    n = len(CYCLE.steps)
    chance = random.Random(sync + engine)
    with Stage(tmp_path / "fib", sync, engine) as stage:
        script = CYCLE.write(tmp_path / "script")
        run = stage.victim(programs / "victim", script, 0, 2 * n, 30)
        subprocess.run(run, check=True, capture_output=True, timeout=40)
        truth = CYCLE.write_truth(tmp_path / "truth", WATCHED, n)
        command = stage.witness(programs / "witness", truth, n, len(WATCHED), 10**12, 600)
        readers = []
        try:
            for _ in range(4):
                reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                readers.append(reader)
                assert reader.stdout is not None
                assert reader.stdout.readline() == "ready\n"
                time.sleep(0.001 + chance.random() * 0.002)
                reader.send_signal(signal.SIGSTOP)
            readers[0].kill()
            more = stage.victim(programs / "victim", script, 0, 40 * n, 20)
            output = subprocess.run(
                more, check=True, capture_output=True, text=True, timeout=40
            ).stdout
            assert f"generation {40 * n}" in output
        finally:
            for reader in readers:
                reader.kill()
                reader.communicate()
        with stage.path.open("rb") as file, FibReader(file.fileno()) as fib:
            assert fib.published()["retired_blocks"] <= 10_000  # two epochs' worth, see fib_arena.h
        successor = Successor(stage)
        assert successor.contents() in in_cycle()[0]
        successor.close()


def test_a_half_made_segment_is_never_attached(programs: Path, tmp_path: Path) -> None:
    """A creator killed before the magic leaves `initialising`, and the next one makes it whole."""
    stage = Stage(tmp_path / "fib")
    segment = stage.path
    assert "killed header-written" in victim(programs, stage, 1, 0)
    with segment.open("rb") as file, pytest.raises(Exception, match="not ready"):
        map_segment(file.fileno(), SegmentKind.FIB)
    victim(programs, stage, 0, 0)
    with segment.open("rb") as file, map_segment(file.fileno(), SegmentKind.FIB) as mapped:
        assert mapped.state is SegmentState.READY
