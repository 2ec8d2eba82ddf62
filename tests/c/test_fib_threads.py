"""A writer and readers as threads, under ThreadSanitizer: they share words and nothing else."""

import os
import subprocess
from itertools import product
from pathlib import Path

import pytest
from ribcage.shared.fib_sync import STRATEGIES

from tests.c.build import CSRC, build_c_test
from tests.model.fib_memory import ENGINES

TORTURE = int(os.environ.get("RIBCAGE_TORTURE", "1"))  # `make torture` sets it
ROUNDS = 60 * TORTURE
SOURCES = sorted(
    path.name for path in CSRC.glob("*.c") if path.name.startswith(("fib", "rows", "segment"))
)
# gcc says of every fence that the sanitizer does not know it, and loses track of what it has
# initialised. SSE loads are left out: with them the interval engine reads lines that may be
# rewritten meanwhile, and the strategy rejects what came of it.
FLAGS = ("-fsanitize=thread", "-Wno-tsan", "-Wno-maybe-uninitialized", "-U__SSE2__", "-pthread")
# Older ones do not know pthread_mutex_clocklock(), so they miss that the mutex was taken.
OPTIONS = {"TSAN_OPTIONS": "report_mutex_bugs=0:halt_on_error=1"}


@pytest.fixture(scope="module")
def threads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("threads")
    empty = folder / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    try:
        build_c_test(str(empty), [], folder, flags=FLAGS)
        subprocess.run([folder / "empty"], check=True, capture_output=True, timeout=30)
    except (AssertionError, subprocess.SubprocessError) as error:
        pytest.skip(f"no ThreadSanitizer here: {str(error).strip().splitlines()[-1]}")
    return build_c_test("test_fib_threads.c", SOURCES, folder, flags=FLAGS)


@pytest.mark.parametrize(("sync", "engine"), list(product(STRATEGIES, ENGINES)))
def test_threads_share_words_and_nothing_else(threads: Path, sync: str, engine: str) -> None:
    """Two readers look up while every route moves; no report, and each answer holds together.
    Where the strategy promises whole batches, each call's answers are of one generation."""
    numbers = (STRATEGIES[sync], *ENGINES[engine], ROUNDS)
    done = subprocess.run(
        [str(threads), *map(str, numbers)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, **OPTIONS},
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr[-4000:]}"
    assert int(done.stdout.split()[1]) > 0
