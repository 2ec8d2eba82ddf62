"""An answer was right at one moment: readers stopped at every load while the table changes."""

from itertools import product
from pathlib import Path

import pytest
from ribcage.shared._core import lib

from tests.csrc.build import FIB, build_c_test, run

FLAGS = ("-O2", "-DRC_LOAD_POINTS", "-Wl,--wrap=fib_grace_since")
ENGINES = {
    "binary": (lib.FIB_ENGINE_BINARY, lib.FIB_ENGINE_BINARY),
    "multibit": (lib.FIB_ENGINE_MULTIBIT, lib.FIB_ENGINE_MULTIBIT),
    "compact": (lib.FIB_ENGINE_COMPACT, lib.FIB_ENGINE_INTERVAL),
    "flat": (lib.FIB_ENGINE_FLAT, lib.FIB_ENGINE_INTERVAL),
}
# Of each engine the families and the runs that share the work. Beside the flat engine IPv6 would be
# the same as beside the compact one; the tries have no vectors, so theirs are the portable runs.
RUNS = {
    "binary": list(product(("6", "4"), ("portable", "others"))),
    "multibit": list(product(("6", "4"), ("portable", "others"))),
    "compact": list(product(("6", "4"), ("vectors", "portable", "others"))),
    "flat": list(product(("4",), ("vectors", "portable", "others"))),
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
