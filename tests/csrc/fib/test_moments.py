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
# Of each family and engine the runs that share the work. Beside the flat engine IPv6 would be the
# same as beside the compact one.
PARTS = ("vectors", "portable", "others")
FAMILIES = {engine: ("4",) if engine == "flat" else ("6", "4") for engine in ENGINES}
# A guard against hanging. The longest run takes 10 s, with AVX-512 or without.
PATIENCE_S = 280
pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


@pytest.fixture(scope="module")
def program() -> Path:
    return build_c_test("fib/test_moments.c", FIB, flags=FLAGS)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("engine", "family"), [(engine, family) for engine in ENGINES for family in FAMILIES[engine]]
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
    for family, part in product(reversed(FAMILIES[engine]), PARTS):
        words = (*ENGINES[engine], family, part, "no_grace")
        if run(program, *words, patience=PATIENCE_S, may_exit=(0, 3)).returncode == 3:
            return
    pytest.fail("not caught")
