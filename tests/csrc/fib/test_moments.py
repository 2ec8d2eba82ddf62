"""An answer was right at one moment: readers stopped at every load while the table changes."""

from itertools import product
from pathlib import Path

import pytest

from ribcage.shared.memory.fib_engines import default_engine
from tests.csrc.build import FIB, build_c_test, run
from tests.model.fib_memory import ENGINES as BOTH

FLAGS = ("-O2", "-DRC_LOAD_POINTS", "-Wl,--wrap=fib_grace_since")
# The default for IPv6 is the other half of the engines for IPv4 alone.
ENGINES = {name: both for name, both in BOTH.items() if name != default_engine(6)}
TRIES = ("binary", "multibit")
# Of each engine the families and the runs that share the work. Beside the flat engine IPv6 would be
# the same as beside the compact one; the tries have no vectors, so theirs are the portable runs.
RUNS = {
    engine: list(
        product(
            ("4",) if engine == "flat" else ("6", "4"),
            ("portable", "others") if engine in TRIES else ("vectors", "portable", "others"),
        )
    )
    for engine in ENGINES
}
# A guard against hanging. The longest run takes 10 s, with AVX-512 or without.
PATIENCE_S = 280
pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


@pytest.fixture(scope="module")
def program() -> Path:
    return build_c_test("fib/test_moments.c", FIB, flags=FLAGS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "family", "part"), [(engine, *run) for engine in ENGINES for run in RUNS[engine]]
)
def test_no_answer_is_mixed_of_two_moments(
    program: Path, engine: str, family: str, part: str
) -> None:
    """Two changes at any two loads of a lookup: its answer is that before, between or after."""
    run(program, *ENGINES[engine], family, part, patience=PATIENCE_S)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_writer_that_skips_grace_periods_is_caught(program: Path, engine: str) -> None:
    """Without the two epochs between a longer change and a shorter one the same runs find an
    answer that was never right: so the rule is needed, and the test above sees its absence."""
    for family, part in reversed(RUNS[engine]):
        words = (*ENGINES[engine], family, part, "no_grace")
        if run(program, *words, patience=PATIENCE_S, may_exit=(0, 3)).returncode == 3:
            return
    pytest.fail("not caught")
