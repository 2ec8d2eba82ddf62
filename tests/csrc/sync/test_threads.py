"""A writer and readers as threads, under ThreadSanitizer: they share words and nothing else."""

import os
import shutil
import subprocess
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from ribcage.shared.memory.fib_sync import STRATEGIES
from tests.csrc.build import FIB, build_c_test, run
from tests.model.fib_memory import ENGINES

TORTURE = int(os.environ.get("RIBCAGE_TORTURE", "1"))  # `make torture` sets it
ROUNDS = 60 * TORTURE
# gcc says of every fence that the sanitizer does not know it, and loses track of what it has
# initialised. SSE loads are left out: with them the interval engine reads lines that may be
# rewritten meanwhile, and the strategy rejects what came of it.
FLAGS = ("-fsanitize=thread", "-Wno-tsan", "-Wno-maybe-uninitialized", "-U__SSE2__", "-pthread")
# Older ones do not know pthread_mutex_clocklock(), so they miss that the mutex was taken.
OPTIONS = {"TSAN_OPTIONS": "report_mutex_bugs=0:halt_on_error=1"}
PATIENCE_S = 200  # a guard against hanging: a program goes on for a minute if a reader gets no CPU
pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


@cache
def in_place() -> list[str]:
    """The words before a program that is to lie where ThreadSanitizer wants it: gcc's before 14
    dies at some starts (`unexpected memory mapping`) where vm.mmap_rnd_bits is above 28, which is
    Ubuntu's 32. In a container that may not do it, setarch fails: then without."""
    words = ["setarch", "-R"]
    if shutil.which(words[0]) is None:
        return []
    done = subprocess.run([*words, "true"], capture_output=True, timeout=30, check=False)
    return words if done.returncode == 0 else []


def test_the_programs_addresses_are_not_random() -> None:
    """Where setarch can do it, what it starts has ADDR_NO_RANDOMIZE (personality(2))."""
    if not in_place():
        pytest.skip("setarch -R does not work here")
    command = [*in_place(), "cat", "/proc/self/personality"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    assert int(said, 16) & 0x0040000


@pytest.fixture(scope="module")
def threads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    empty = tmp_path_factory.mktemp("threads") / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    try:
        run(build_c_test(str(empty), [], flags=FLAGS), before=in_place())
    except AssertionError as error:
        pytest.skip(f"no ThreadSanitizer here: {str(error).strip().splitlines()[-1]}")
    return build_c_test("sync/test_threads.c", FIB, flags=FLAGS)


@pytest.mark.parametrize(("sync", "engine"), list(product(STRATEGIES, ENGINES)))
def test_threads_share_words_and_nothing_else(threads: Path, sync: str, engine: str) -> None:
    """Two readers look up while every route moves; no report, and each answer holds together.
    Where the strategy promises whole batches, each call's answers are of one generation."""
    numbers = (STRATEGIES[sync], *ENGINES[engine], ROUNDS)
    done = run(threads, *numbers, patience=PATIENCE_S, env=OPTIONS, before=in_place())
    assert int(done.stdout.split()[1]) > 0
