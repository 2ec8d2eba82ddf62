"""The writer is killed at every step of every kind of change; the next one goes on."""

import random
import re
import subprocess
from pathlib import Path

import pytest
from ribcage.controlplane.fib_segment import FibParams
from ribcage.shared._core import ffi, lib
from ribcage.shared.fib import FibReader
from ribcage.shared.fib_records import FibKind
from ribcage.shared.rows import Route
from ribcage.shared.segment import SegmentKind, SegmentState, map_segment

from tests.c.build import CSRC
from tests.crash.fib_script import Script, built
from tests.model.golden import Golden

PARAMS = FibParams(max_routes4=200, max_routes6=100, max_groups=64, max_adjacencies=64)
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
        [("group", 2, FORWARD, (2,))],  # 32 buckets give way to one
        [("adjacency", 1, 1, 1600)],
        [("rows", [Route("10.1.2.128/25", 0)]), ("rows", [Route("10.1.2.7/32", 0)])],
        [("rows", [Route("2001:db8::1/128", 0)])],  # the chain goes
        [("rows", [Route("10.0.0.0/8", 0), Route("10.1.2.0/24", 0)])],
        [("group", 9, FORWARD, (1,)), ("rows", [Route("192.0.2.0/24", 9)])],
        [("rows", [Route("192.0.2.0/24", 0)]), ("nogroup", 9)],  # the id waits two epochs
        [("group", 1, FORWARD, (2,)), ("noadjacency", 1), ("noport", 0)],
    ]
)
WATCHED = [
    *("10.0.0.1", "10.1.2.0", "10.1.2.7", "10.1.2.127", "10.1.2.128", "10.1.2.255", "10.1.3.0"),
    *("172.16.0.1", "172.17.32.1", "172.20.224.255", "192.0.2.1", "198.51.100.1"),
    *("2001:db8::", "2001:db8::1", "2001:db8:ffff::1", "2001:db9::1", "::"),
]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = built(tmp_path_factory, "victim").parent
    built(tmp_path_factory, "witness")
    SCRIPT.write(folder / "script")
    return folder


def fresh(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(PARAMS.segment_size())
    return path


def victim(
    programs: Path, segment: Path, kill_at: int, generations: int, seconds: float = 30.0
) -> str:
    """Runs a writer; its output. Ends by its own SIGKILL or in order, nothing else."""
    command = [programs / "victim", segment, programs / "script"]
    done = subprocess.run(
        [*map(str, command), str(kill_at), str(generations), str(seconds)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == (-9 if "killed" in done.stdout else 0), done.stdout + done.stderr
    return done.stdout


class Heir:
    """The next writer, in this process: what it finds."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self.mapped = map_segment(file.fileno(), SegmentKind.FIB, write=True)
            self.reader = FibReader(file.fileno())
        self.writer = lib.fib_writer_open(self.mapped.address, self.mapped.size, ffi.NULL)
        assert self.writer != ffi.NULL
        assert lib.fib_check(self.writer) == 0
        self.generation = self.reader.generation

    def close(self) -> None:
        lib.fib_writer_close(self.writer)
        self.reader.close()
        self.mapped.close()

    def equals(self, golden: Golden) -> bool:
        """Answers, groups, adjacencies and ports; routes are compared by count and answers."""
        answers = self.reader.lookup_batch([(a, 0) for a in WATCHED])
        published = self.reader.published()
        return (
            [(a.group, a.adjacency, a.mtu) for a in answers] == [golden.answer(a) for a in WATCHED]
            and published["routes4"] + published["routes6"] == len(golden.routes)
            and self._records() == (golden.groups, golden.adjacencies, golden.ports)
        )

    def _records(self) -> tuple[object, object, object]:
        groups = {
            g.id: (int(g.kind), g.buckets) for i in range(1, 64) if (g := self.reader.group(i))
        }
        adjacencies = {
            a.id: (a.port, a.mtu) for i in range(1, 64) if (a := self.reader.adjacency(i))
        }
        ports = {p.index: p.mtu for i in range(8) if (p := self.reader.port(i))}
        return groups, adjacencies, ports


def test_every_fault_point_is_reached(programs: Path, tmp_path: Path) -> None:
    """The script passes each RC_FAULT of the FIB, so the test below kills at each."""
    output = victim(programs, fresh(tmp_path / "fib"), 0, len(SCRIPT.steps))
    passed = set(re.findall(r"point (\S+)", output))
    sources = [*CSRC.glob("fib*.c"), CSRC / "segment.c"]
    named = {n for path in sources for n in re.findall(r'RC_FAULT\("([^"]+)"\)', path.read_text())}
    assert named - passed == {"redone"}  # only an heir passes that one
    assert passed <= named


def test_a_writer_killed_anywhere_leaves_old_or_new(programs: Path, tmp_path: Path) -> None:
    """Killed at every point of the whole script, the heir finds the table before or after the
    change that was under way, never between; and it finishes the script."""
    whole = victim(programs, fresh(tmp_path / "whole"), 0, len(SCRIPT.steps))
    points = int(re.findall(r"passed (\d+)", whole)[0])
    assert points > 300
    last = SCRIPT.after(len(SCRIPT.steps))
    made = fresh(tmp_path / "fib")
    for kill_at in range(1, points + 1):
        fresh(made)
        output = victim(programs, made, kill_at, len(SCRIPT.steps))
        assert "killed" in output
        if "header-written" in output or "segment-before-magic" in output:
            with made.open("rb") as file, pytest.raises(Exception, match="no magic yet"):
                map_segment(file.fileno(), SegmentKind.FIB)
            victim(programs, made, 0, 0)
        heir = Heir(made)
        states = SCRIPT.states(heir.generation)
        assert any(heir.equals(state) for state in states), (kill_at, output, heir.generation)
        heir.close()
        if kill_at % 7 == 0:
            victim(programs, made, 0, len(SCRIPT.steps))
            heir = Heir(made)
            assert heir.generation == len(SCRIPT.steps)
            assert heir.equals(last)
            heir.close()


def test_an_heir_killed_at_recovering_is_followed_by_another(
    programs: Path, tmp_path: Path
) -> None:
    """Recovery itself may be killed at each of its points, the redo included."""
    found = set()
    for first in range(100, 260, 9):
        for second in range(1, 7):
            segment = fresh(tmp_path / "fib")
            victim(programs, segment, first, len(SCRIPT.steps))
            output = victim(programs, segment, second, len(SCRIPT.steps))
            found |= set(re.findall(r"killed (\S+)", output))
            heir = Heir(segment)
            states = SCRIPT.states(heir.generation)
            assert any(heir.equals(state) for state in states), (first, second, output)
            heir.close()
    assert "redone" in found


def test_readers_see_only_live_generations_while_writers_die(
    programs: Path, tmp_path: Path
) -> None:
    """A reader beside a chain of writers, each killed somewhere, gets from each lookup the
    answer of a generation that was alive, and never an error."""
    steps = len(SCRIPT.steps)
    segment = fresh(tmp_path / "fib")
    victim(programs, segment, 0, 0)
    truth = SCRIPT.write_truth(tmp_path / "truth", WATCHED, steps + 1)
    command = [programs / "witness", segment, truth, steps + 1, len(WATCHED), steps, 60]
    witness = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    assert witness.stdout is not None
    try:
        assert witness.stdout.readline() == "ready\n"
        chance = random.Random(5)
        generation = 0
        while generation < steps:
            victim(programs, segment, chance.randint(4, 30), steps)
            with segment.open("rb") as file, FibReader(file.fileno()) as reader:
                generation = reader.generation
        output, _ = witness.communicate(timeout=30)
    finally:
        witness.kill()
        witness.wait()
    figures = dict(re.findall(r"(\w+) (\d+)\n", output))
    assert (figures["wrong"], figures["busy"]) == ("0", "0"), output
    assert int(figures["lookups"]) > 1000


def test_a_half_made_segment_is_never_attached(programs: Path, tmp_path: Path) -> None:
    """A creator killed before the magic leaves `initialising`, and the next one makes it whole."""
    segment = fresh(tmp_path / "fib")
    assert "killed header-written" in victim(programs, segment, 1, 0)
    with segment.open("rb") as file, pytest.raises(Exception, match="not ready"):
        map_segment(file.fileno(), SegmentKind.FIB)
    victim(programs, segment, 0, 0)
    with segment.open("rb") as file, map_segment(file.fileno(), SegmentKind.FIB) as mapped:
        assert mapped.state is SegmentState.READY
