"""One writer as fast as it can, readers that check every answer, under every strategy."""

import os
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from ribcage.shared.memory.fib_records import FibKind
from ribcage.shared.memory.fib_sync import STRATEGIES, WITH_LOCK
from tests.crash.fib_script import TORTURE, Stage, built, cycle
from tests.model.fib_memory import ENGINES
from tests.suite.tally import DONE

FORWARD = int(FibKind.FORWARD)
# The writer goes on until both readers have counted what the tests ask for, however long the
# machine takes for that: a share of a second, or a minute where CPUs are stolen.
AT_LEAST = 0.3 if TORTURE == 1 else 1.0 * TORTURE  # seconds
AT_MOST = AT_LEAST + 30
CHECKED, TIGHT, RETRIES, SHARP = range(4)  # places in these
GOALS = {"epoch": (10_001, 1001, 1, 0, 0), "none": (0, 0, 0, 0, 1)}
EXACT = (10_001, 0, 0, 1001, 0)  # of the others
LOCKED_OUT = 0.05  # of a lock's lookups, at most: a box under load may keep a writer off the CPU
# Lookups that may be refused: `message`, whose copies were outrun 32 times on end.
OUTRUN = {"message": 1e-4}

WATCHED = [
    *("10.0.0.1", "10.1.0.0", "10.1.1.255", "10.1.2.0", "10.1.2.3", "10.1.2.4", "10.1.3.0"),
    *("203.0.113.9", "11.0.0.0", "192.0.2.0", "192.0.2.255", "192.0.3.0"),
    *("2001:db8::", "2001:db8::7", "2001:db8::8", "2001:db8:ffff::", "2001:db9::"),
]


def torture(path: Path, sync: str, engine: str) -> list[dict[str, int]]:
    """What each of two readers counted beside one writer, which keeps its routes in `engine`,
    until each had counted its goals (under `none`, one of them)."""
    script = cycle(FORWARD)
    n, text = len(script.steps), script.write(path / "script")
    truth = script.write_truth(path / "truth", WATCHED, n)
    with Stage(path / "fib", sync, engine) as stage:
        # Two rounds first: witness.c asks for the answers of a table that has been round once.
        run = stage.victim(built("victim"), text, 0, 2 * n, 30)
        subprocess.run(run, check=True, capture_output=True, timeout=40)
        exact = sync not in ("epoch", "none")
        reader = built("witness")
        watch = stage.witness(reader, truth, n, len(WATCHED), 10**12, AT_MOST + 30,
                              exact=exact, goals=GOALS.get(sync, EXACT))  # fmt: skip
        write = stage.victim(built("victim"), text, 0, 10**12, AT_MOST)
        pipe = subprocess.PIPE
        readers = [subprocess.Popen(watch, stdout=pipe, bufsize=0) for _ in range(2)]
        writer = subprocess.Popen(write, stdout=pipe, text=True)
        try:
            heard = until_enough(readers, 1 if sync == "none" else 2)
            writer.terminate()
            output, _ = writer.communicate(timeout=20)
            assert writer.returncode == 0
            for process in readers:
                process.terminate()
            rest = [process.communicate(timeout=20)[0] for process in readers]
            said = [(a + b).decode() for a, b in zip(heard, rest, strict=True)]
        finally:
            for process in (writer, *readers):
                process.kill()
                process.wait()
    generations = int(re.findall(r"generation (\d+)", output)[0])
    assert sync == "none" or generations > 10 * n
    DONE["tortures"] += 1
    found = [{k: int(v) for k, v in re.findall(r"(\w+) (\d+)\n", text)} for text in said]
    for figures in found:
        figures["generations"] = generations
    return found


def until_enough(readers: list[subprocess.Popen[bytes]], wanted: int) -> list[bytes]:
    """Waits until `wanted` of the readers have said so, AT_LEAST seconds, or AT_MOST in vain (the
    figures tell the test what is missing then); what each said until now."""
    began = time.monotonic()
    heard = {process.stdout.fileno(): b"" for process in readers if process.stdout}
    while (passed := time.monotonic() - began) < AT_MOST:
        if sum(b"enough\n" in text for text in heard.values()) >= wanted:
            if passed >= AT_LEAST:
                break
            time.sleep(AT_LEAST - passed)
            continue
        for fd in select.select(list(heard), [], [], AT_MOST - passed)[0]:
            words = os.read(fd, 4096)
            heard[fd] += words
            if not words:
                return list(heard.values())  # it ended by itself: its status tells
    return list(heard.values())


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sync", [name for name in STRATEGIES if name != "none"])
def test_every_answer_was_valid_while_it_was_asked(tmp_path: Path, sync: str, engine: str) -> None:
    """Two readers beside a writer that publishes without pause: not one answer is torn, stale
    or invented, and lookups go on all the time. Where the strategy promises whole batches, all
    answers of a call are those of the one generation it names."""
    for figures in torture(tmp_path, sync, engine):
        assert figures["wrong"] == 0, figures
        assert figures["checked"] >= EXACT[CHECKED], figures
        DONE["lookups checked"] += figures["checked"]
        if sync == "epoch":
            assert figures["tight"] >= GOALS["epoch"][TIGHT], figures  # of few generations
            assert figures["retries"] >= GOALS["epoch"][RETRIES], figures
        else:
            assert figures["sharp"] >= EXACT[SHARP], figures
        if sync in WITH_LOCK:
            assert figures["busy"] < LOCKED_OUT * figures["lookups"], figures
        else:
            assert figures["busy"] <= OUTRUN.get(sync, 0) * figures["lookups"], figures


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_without_synchronisation_the_torture_finds_wrong_answers(
    tmp_path: Path, engine: str
) -> None:
    """The counter-example, `none`: readers that check nothing get answers that no generation
    gave. So the test above can fail, and the strategy is what makes it pass."""
    found = torture(tmp_path, "none", engine)
    assert sum(figures["wrong"] for figures in found), "not caught"


@pytest.mark.slow
def test_the_torture_came_to_what_is_promised() -> None:
    """`make torture` kills writers at 2,000 random instants and checks 100 million lookups."""
    if TORTURE < 10 or DONE["tortures"] < len(ENGINES) * len(STRATEGIES):
        pytest.skip("not the whole of `make torture`")
    assert DONE["kills at a random instant"] >= 2_000
    assert DONE["lookups checked"] >= 100_000_000
