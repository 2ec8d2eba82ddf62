"""Writer and readers stopped at every point of each other: numbers never go back."""

from pathlib import Path

import pytest
from ribcage.shared._core import lib

from ribcage.shared.memory.fib_sync import STRATEGIES, WITH_LOCK
from tests.csrc.build import FIB, build_c_test, run

FLAGS = ("-O2", "-DRC_LOAD_POINTS", "-DRC_FAULT_POINTS")
WITHOUT_WAITING = [name for name in STRATEGIES if name not in WITH_LOCK and name != "none"]


@pytest.fixture(scope="module")
def program() -> Path:
    return build_c_test("sync/test_stopped.c", FIB, flags=FLAGS)


@pytest.mark.parametrize("sync", WITHOUT_WAITING)
def test_a_reader_never_names_a_generation_that_is_not_there(program: Path, sync: str) -> None:
    """A writer at rest between any two instructions that matter, a reader at any load: what was
    published is seen, generations do not go back, a whole batch is that of the one it names.
    A reader of `double` once met the number of a publish that was still to come."""
    strategy = getattr(lib, f"FIB_STRATEGY_{sync.upper()}")
    run(program, lib.FIB_ENGINE_COMPACT, strategy)
