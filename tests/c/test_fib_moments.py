"""An answer was right at one moment: readers stopped at every load while the table changes."""

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

from ribcage.shared.memory.fib_engines import default_engine
from tests.c.build import FIB, build_c_test, finished, report
from tests.model.fib_memory import ENGINES as BOTH

FLAGS = ("-O2", "-DRC_LOAD_POINTS", "-Wl,--wrap=fib_grace_since")
# The default for IPv6 is the other half of the engines for IPv4 alone.
ENGINES = {name: both for name, both in BOTH.items() if name != default_engine(6)}
# Of each family and engine the runs that share the work. Beside the flat engine IPv6 would be the
# same as beside the compact one.
PARTS = ("vectors", "portable", "others")
FAMILIES = {engine: ("4",) if engine == "flat" else ("6", "4") for engine in ENGINES}
# A guard against hanging. The longest run takes 10 s, with AVX-512 or without.
PATIENCE_S = 280
pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("moments")
    return build_c_test("test_fib_moments.c", FIB, folder, flags=FLAGS)


def run(program: Path, engine: str, *more: str) -> tuple[int, str]:
    """Exit status and words."""
    done = finished([str(program), *map(str, ENGINES[engine]), *more], PATIENCE_S)
    return done.returncode, report(done)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_no_answer_is_mixed_of_two_moments(program: Path, engine: str) -> None:
    """Two changes at any two loads of a lookup: its answer is that before, between or after."""
    with ThreadPoolExecutor(2) as two:
        each = product(FAMILIES[engine], PARTS)
        outcomes = list(two.map(lambda which: run(program, engine, *which), each))
    assert [words for status, words in outcomes if status != 0] == []


@pytest.mark.parametrize("engine", ENGINES)
def test_a_writer_that_skips_grace_periods_is_caught(program: Path, engine: str) -> None:
    """Without the two epochs between a longer change and a shorter one the same runs find an
    answer that was never right: so the rule is needed, and the test above sees its absence."""
    for family, part in product(reversed(FAMILIES[engine]), PARTS):
        status, words = run(program, engine, family, part, "no_grace")
        assert status in (0, 3), words
        if status == 3:
            return
    pytest.fail("not caught")
