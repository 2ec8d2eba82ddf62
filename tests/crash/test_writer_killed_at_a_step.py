"""The writer is killed at every step of every kind of change, under every strategy; the next one
goes on.
"""

import random
import re
import subprocess
from itertools import product
from pathlib import Path

import pytest

from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib import FibReader
from ribcage.shared.memory.fib_sync import STRATEGIES, WITH_LOCK
from ribcage.shared.memory.identity import SegmentKind, SegmentState
from ribcage.shared.memory.segment import map_segment
from tests.crash.fib_script import TORTURE, Stage
from tests.crash.killing import (
    ENGINES,
    OUTRUN,
    SCRIPT,
    WATCHED,
    Successor,
    after,
    each_pair,
    victim,
)
from tests.csrc.build import CSRC, FIB
from tests.suite.tally import DONE

# Steps of taking over that a first writer does not pass, and one of a log that overflowed.
SUCCESSORS_ONLY = {"redone", "lock-taken-fresh", "lock-broken"}


def stride(sync: str, engine: str) -> int:
    """Which of a script's points are killed at when there are minutes, and when there are not."""
    if sync == "epoch":
        # The flat engine's points are the compact engine's and its own between.
        return 3 if engine == "flat" and TORTURE == 1 else 1
    if TORTURE > 1:
        return 7 if engine == "flat" else 1
    # Primes: each round meets others. The more points an engine has, the larger.
    return {"multibit": 19, "compact": 7, "flat": 31}.get(engine, 37)


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
