"""An answer was right at one moment: readers stopped at every load while the table changes."""

import subprocess
from pathlib import Path

import pytest
from ribcage.shared._core import lib

from tests.c.build import CSRC, build_c_test

SOURCES = sorted(
    path.name for path in CSRC.glob("*.c") if path.name.startswith(("fib", "rows", "segment"))
)
FLAGS = ("-O2", "-DRC_LOAD_POINTS", "-Wl,--wrap=fib_settle")
ENGINES = {
    "binary": (lib.FIB_ENGINE_BINARY, lib.FIB_ENGINE_BINARY),
    "multibit": (lib.FIB_ENGINE_MULTIBIT, lib.FIB_ENGINE_MULTIBIT),
    "compact": (lib.FIB_ENGINE_COMPACT, lib.FIB_ENGINE_INTERVAL),
    "flat": (lib.FIB_ENGINE_FLAT, lib.FIB_ENGINE_INTERVAL),
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("moments")
    return build_c_test("test_fib_moments.c", SOURCES, folder, flags=FLAGS)


def run(program: Path, engine: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [str(program), *map(str, ENGINES[engine]), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_no_answer_is_mixed_of_two_moments(program: Path, engine: str) -> None:
    """Two changes at any two loads of a lookup: its answer is that before, between or after."""
    done = run(program, engine)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_writer_that_does_not_settle_is_caught(program: Path, engine: str) -> None:
    """Without the two epochs between a longer change and a shorter one the same run finds
    answers that were never right: so the rule is needed, and the test above sees its absence."""
    done = run(program, engine, "unsettled")
    assert done.returncode == 3, f"{done.stdout}{done.stderr}"
