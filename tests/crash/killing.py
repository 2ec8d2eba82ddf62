"""A writer that is killed and the one after it: what the crash tests of the FIB have in common.

    output = victim(programs, stage, kill_at, generations)     dies at the kill_at-th fault point
    Successor(stage).contents() in after(generation)           what it left

Not a test.
"""

import shlex
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
from ribcage.shared.memory.fib_engines import default_engine
from ribcage.shared.memory.fib_records import FibKind
from ribcage.shared.memory.fib_sync import STRATEGIES, WITH_LOCK
from ribcage.shared.memory.identity import SegmentKind
from ribcage.shared.memory.rows import row_of
from ribcage.shared.memory.segment import map_segment
from tests.crash.fib_script import Script, Stage
from tests.model.fib_memory import ENGINES as BOTH
from tests.model.golden import Golden
from tests.suite.tally import DONE

OUTRUN = {"message": 1e-4}  # see test_torture.py


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
        [("rows", [row_of("10.0.0.0/8", 1)])],  # the root
        [("rows", [row_of("10.1.2.0/24", 2)])],  # a chain of nodes below it
        [("rows", [row_of("10.1.2.128/25", 3), row_of("10.1.2.7/32", 1)])],  # a run of one node
        [("rows", [row_of("10.1.2.0/24", 3)])],  # another group
        [("rows", [row_of("0.0.0.0/0", 2), row_of("2001:db8::/32", 2)])],
        [("rows", [row_of("2001:db8::1/128", 1)])],  # a chain of twelve
        [  # a bulk load over many nodes
            ("rows", [row_of(f"172.{16 + i // 8}.{i % 8 * 32}.0/24", 1 + i % 3) for i in range(40)])
        ],
        [("rows", [row_of("::/0", 3)] + [row_of(prefix, 1) for prefix in CROWD])],  # directories
        [("group", 2, FORWARD, (2,))],  # 32 buckets give way to one
        [("adjacency", 1, 1, 1600)],
        [("rows", [row_of("10.1.2.128/25", 0)]), ("rows", [row_of("10.1.2.7/32", 0)])],
        [("rows", [row_of("2001:db8::1/128", 0)])],  # the chain goes
        [("rows", [row_of(prefix, 0) for prefix in CROWD])],  # and back to one chunk
        [("rows", [row_of("10.0.0.0/8", 0), row_of("10.1.2.0/24", 0)])],
        [("group", 9, FORWARD, (1,)), ("rows", [row_of("192.0.2.0/24", 9)])],
        [("rows", [row_of("192.0.2.0/24", 0)]), ("nogroup", 9)],  # the id waits two epochs
        [("group", 1, FORWARD, (2,)), ("noadjacency", 1), ("noport", 0)],
    ]
)


WATCHED = [
    *("10.0.0.1", "10.1.2.0", "10.1.2.7", "10.1.2.127", "10.1.2.128", "10.1.2.255", "10.1.3.0"),
    *("172.16.0.1", "172.17.32.1", "172.20.224.255", "192.0.2.1", "198.51.100.1"),
    *("2001:db8::", "2001:db8::1", "2001:db8:ffff::1", "2001:db8:0:4::1", "2001:db9::1", "::"),
]


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


SYNCS = [name for name in STRATEGIES if name != "none"]


# The default for IPv6 is the other half of the engines for IPv4 alone.
ENGINES = tuple(name for name in BOTH if name != default_engine(6))


each_pair = pytest.mark.parametrize(("sync", "engine"), list(product(SYNCS, ENGINES)))


def victim(
    programs: Path, stage: Stage, kill_at: int, generations: int, seconds: float = 30.0
) -> str:
    """Runs a writer; its output. Ends by its own SIGKILL or in order, nothing else."""
    program, script = programs / "victim", programs / "script"
    command = stage.victim(program, script, kill_at, generations, seconds)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == (-9 if "killed" in done.stdout else 0), (
        f"{done.stdout}{done.stderr}run it alone: {shlex.join(command)}"
    )
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
            i: (int(g.kind), g.buckets)
            for i in range(1, 64)
            if (g := self._when_let_in(partial(self.reader.group, i)))
        }
        adjacencies = {
            i: (a.hop.port, a.mtu)
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
