"""One writer as fast as it can, readers that check every answer, under every strategy."""

import re
import subprocess
from pathlib import Path

import pytest
from ribcage.shared.fib_records import FibKind
from ribcage.shared.fib_sync import STRATEGIES, WITH_LOCK

from tests.crash.fib_script import DONE, TORTURE, Stage, built, cycle
from tests.model.fib_memory import ENGINES

FORWARD = int(FibKind.FORWARD)
SECONDS = 1.0 * TORTURE
LOCKED_OUT = 0.05  # of a lock's lookups, at most: a box under load may keep a writer off the CPU
# Lookups that may be refused: `message`, whose copies were outrun 32 times on end.
OUTRUN = {"message": 1e-4}

WATCHED = [
    *("10.0.0.1", "10.1.0.0", "10.1.1.255", "10.1.2.0", "10.1.2.3", "10.1.2.4", "10.1.3.0"),
    *("203.0.113.9", "11.0.0.0", "192.0.2.0", "192.0.2.255", "192.0.3.0"),
    *("2001:db8::", "2001:db8::7", "2001:db8::8", "2001:db8:ffff::", "2001:db9::"),
]


def torture(
    factory: pytest.TempPathFactory, path: Path, sync: str, engine: str
) -> list[dict[str, int]]:
    """What each of two readers counted beside one writer, which keeps its routes in `engine`."""
    script = cycle(FORWARD)
    n, text = len(script.steps), script.write(path / "script")
    truth = script.write_truth(path / "truth", WATCHED, n)
    with Stage(path / "fib", sync, engine) as stage:
        # Two rounds first: witness.c asks for the answers of a table that has been round once.
        run = stage.victim(built(factory, "victim"), text, 0, 2 * n, 30)
        subprocess.run(run, check=True, capture_output=True, timeout=40)
        exact = sync not in ("epoch", "none")
        reader = built(factory, "witness")
        watch = stage.witness(reader, truth, n, len(WATCHED), 10**12, 60, exact=exact)
        readers = [subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        try:
            write = stage.victim(built(factory, "victim"), text, 0, 10**12, SECONDS)
            output = subprocess.run(
                write, check=True, capture_output=True, text=True, timeout=40 + SECONDS
            ).stdout
            for process in readers:
                process.terminate()
            said = [process.communicate(timeout=20)[0] for process in readers]
        finally:
            for process in readers:
                process.kill()
                process.wait()
    generations = int(re.findall(r"generation (\d+)", output)[0])
    assert generations > 10 * n
    DONE["tortures"] += 1
    found = [{k: int(v) for k, v in re.findall(r"(\w+) (\d+)\n", text)} for text in said]
    for figures in found:
        figures["generations"] = generations
    return found


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sync", [name for name in STRATEGIES if name != "none"])
def test_every_answer_was_valid_while_it_was_asked(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, sync: str, engine: str
) -> None:
    """Two readers beside a writer that publishes without pause: not one answer is torn, stale
    or invented, and lookups go on all the time. Where the strategy promises whole batches, all
    answers of a call are those of the one generation it names."""
    for figures in torture(tmp_path_factory, tmp_path, sync, engine):
        assert figures["wrong"] == 0, figures
        assert figures["checked"] > 10_000, figures
        DONE["lookups checked"] += figures["checked"]
        if sync == "epoch":
            assert figures["tight"] > 1000, figures  # checked against few generations
            assert figures["retries"] > 0, figures
        else:
            assert figures["sharp"] > 1000, figures
        if sync in WITH_LOCK:
            assert figures["busy"] < LOCKED_OUT * figures["lookups"], figures
        else:
            assert figures["busy"] <= OUTRUN.get(sync, 0) * figures["lookups"], figures


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_without_synchronisation_the_torture_finds_wrong_answers(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, engine: str
) -> None:
    """The counter-example, `none`: readers that check nothing get answers that no generation
    gave. So the test above can fail, and the strategy is what makes it pass."""
    for _ in range(8):  # on a busy box readers are not always on a CPU beside the writer
        found = torture(tmp_path_factory, tmp_path, "none", engine)
        if sum(figures["wrong"] for figures in found):
            return
    pytest.fail("not caught")


@pytest.mark.slow
def test_the_torture_came_to_what_is_promised() -> None:
    """`make torture` kills writers at 2,000 random instants and checks 100 million lookups."""
    if TORTURE < 10 or DONE["tortures"] < len(ENGINES) * len(STRATEGIES):
        pytest.skip("not the whole of `make torture`")
    assert DONE["kills at a random instant"] >= 2_000
    assert DONE["lookups checked"] >= 100_000_000
