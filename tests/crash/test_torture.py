"""One writer as fast as it can, readers that check every answer: a few seconds of it."""

import re
import subprocess
from pathlib import Path

import pytest
from ribcage.controlplane.fib_segment import FibParams
from ribcage.shared.fib_records import FibKind
from ribcage.shared.rows import Route

from tests.c.build import CSRC
from tests.crash.fib_script import Operation, Script, build_program, built

PARAMS = FibParams(max_routes4=200, max_routes6=100, max_groups=64, max_adjacencies=64)
FORWARD = int(FibKind.FORWARD)
SECONDS = 2.0


def cycle() -> Script:
    """A round of single changes that ends where it began: blocks and ids are used again all the
    time, and every address changes often."""
    steps: list[list[Operation]] = [
        [("adjacency", i, 0, 1500 + i) for i in range(1, 5)],
        [("group", i, FORWARD, (i,)) for i in range(1, 5)],
    ]
    for turn in range(1, 9):
        group = 1 + turn % 4
        steps += [
            [("rows", [Route("10.0.0.0/8", group)])],
            [("rows", [Route("10.1.0.0/16", 1 + group % 4)])],
            [("rows", [Route("10.1.2.0/24", group)])],
            [("rows", [Route("10.1.2.3/32", 1 + group % 4)])],
            [("rows", [Route("2001:db8::/32", group)])],
            [("rows", [Route("2001:db8::7/128", 1 + group % 4)])],
            [("group", 9, FORWARD, (group,)), ("rows", [Route("192.0.2.0/24", 9)])],
            [("adjacency", group, 0, 1500 + turn)],
            [("rows", [Route("10.1.2.3/32", 0)])],
            [("rows", [Route("2001:db8::7/128", 0)])],
            [("rows", [Route("192.0.2.0/24", 0)]), ("nogroup", 9)],
            [("rows", [Route("10.1.0.0/16", 0)])],
            [("rows", [Route("10.1.2.0/24", 0)])],
            [("rows", [Route("10.0.0.0/8", 0)])],
        ]
    return Script([*steps, [("rows", [Route("2001:db8::/32", 0)])]])


WATCHED = [
    *("10.0.0.1", "10.1.0.0", "10.1.1.255", "10.1.2.0", "10.1.2.3", "10.1.2.4", "10.1.3.0"),
    *("11.0.0.0", "192.0.2.0", "192.0.2.255", "192.0.3.0"),
    *("2001:db8::", "2001:db8::7", "2001:db8::8", "2001:db8:ffff::", "2001:db9::"),
]


def torture(tmp_path: Path, writer: Path, reader: Path, readers: int) -> list[dict[str, int]]:
    """What each reader counted beside one writer."""
    script = cycle()
    segment, text = tmp_path / "fib", script.write(tmp_path / "script")
    with segment.open("wb") as file:
        file.truncate(PARAMS.segment_size())
    n = len(script.steps)
    truth = script.write_truth(tmp_path / "truth", WATCHED, n)
    # Two rounds first: witness.c asks for the answers of a table that has been round once.
    run = [str(writer), str(segment), str(text), "0"]
    subprocess.run([*run, str(2 * n), "30"], check=True, capture_output=True, timeout=40)
    end = [str(10**12), str(SECONDS)]
    witness = [str(reader), str(segment), str(truth), str(n), str(len(WATCHED)), *end]
    started = [subprocess.Popen(witness, stdout=subprocess.PIPE, text=True) for _ in range(readers)]
    try:
        output = subprocess.run(
            [*run, *end], check=True, capture_output=True, text=True, timeout=40
        ).stdout
        said = [process.communicate(timeout=20)[0] for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    generations = int(re.findall(r"generation (\d+)", output)[0])
    assert generations > 10 * n
    return [{k: int(v) for k, v in re.findall(r"(\w+) (\d+)\n", text)} for text in said]


@pytest.mark.slow
def test_every_answer_was_valid_while_it_was_asked(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two readers beside a writer that publishes without pause: not one answer is torn, stale
    or invented, and lookups go on all the time."""
    writer, reader = built(tmp_path_factory, "victim"), built(tmp_path_factory, "witness")
    for figures in torture(tmp_path, writer, reader, 2):
        assert figures["wrong"] == 0, figures
        assert figures["lookups"] > 10_000, figures
        assert figures["tight"] > 1000, figures  # checked against few generations
        assert figures["retries"] > 0, figures


@pytest.mark.slow
def test_without_the_epoch_check_the_torture_finds_wrong_answers(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The counter-example: a reader that never looks at the epoch again gets answers that no
    generation gave. So the test above can fail, and the check is what makes it pass."""
    blind = tmp_path / "fib_read.c"
    source = (CSRC / "fib_read.c").read_text()
    check = "load_relaxed64(&published->epoch) < epoch + 2"
    assert source.count(check) == 1
    blind.write_text(source.replace(check, "epoch > 0"))
    reader = build_program("witness", tmp_path, "-DRC_FAULT_POINTS", instead={"fib_read.c": blind})
    figures = torture(tmp_path, built(tmp_path_factory, "victim"), reader, 1)[0]
    assert figures["wrong"] > 0, figures
