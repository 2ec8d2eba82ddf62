"""Writers and readers are killed or stopped at random instants, under every strategy; the others go
on.
"""

import random
import re
import signal
import subprocess
import time
from functools import cache
from pathlib import Path

from ribcage.shared.memory.fib import FibReader
from ribcage.shared.memory.fib_sync import WITH_LOCK
from tests.crash.fib_script import TORTURE, Stage, cycle
from tests.crash.killing import (
    FORWARD,
    OUTRUN,
    WATCHED,
    Contents,
    Successor,
    contents,
    each_pair,
)
from tests.suite.tally import DONE

KILLS = 12 * TORTURE  # of each of 28 pairs


CYCLE = cycle(FORWARD)


@cache
def in_cycle() -> list[list[Contents]]:
    """The same of CYCLE, by generation % its steps, from the second round on."""
    return [[contents(state) for state in states] for states in CYCLE.round_states()]


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
            assert fib.published()["retired_blocks"] <= 10_000  # two epochs' worth, arena.h
        successor = Successor(stage)
        assert successor.contents() in in_cycle()[0]
        successor.close()
