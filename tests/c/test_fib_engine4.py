"""The IPv4 engines in lockstep under sanitizers, and full to the brim."""

import subprocess
from pathlib import Path

import pytest

from tests.c.build import CSRC, SANITIZE, build_c_test

FIB_SOURCES = sorted(
    path.name for path in CSRC.glob("*.c") if path.name.startswith(("fib", "rows", "segment"))
)


def run(program: Path, *arguments: object) -> None:
    command = [str(program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def lockstep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lockstep")
    return build_c_test("test_fib_engine4.c", FIB_SOURCES, folder, flags=SANITIZE)


@pytest.mark.parametrize("seed", range(1, 5))
def test_engines_agree_on_everything(lockstep: Path, seed: int) -> None:
    """Random changes of every length, wide and narrow ids, takeovers: results, lists, digests and
    answers (AVX-512, portable, with prefix) are the plain trie's; no access is out of bounds."""
    run(lockstep, seed, 100)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("single")
    return build_c_test("test_fib_single.c", FIB_SOURCES, folder, flags=SANITIZE)


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_recoloured_node_is_the_painted_one(single: Path, seed: int) -> None:
    """One route after the other, of every length, with narrow and wide ids: the /16 answers as a
    table painted by the meaning of the words, and its node is the painted one bit for bit."""
    run(single, seed, 3000)


def test_a_full_arena_refuses_and_leaves_no_trace(tmp_path: Path) -> None:
    """Every engine says -ENOSPC in time, answers as before, and takes routes again afterwards."""
    run(build_c_test("test_fib_full.c", FIB_SOURCES, tmp_path, flags=SANITIZE))


@pytest.mark.slow
def test_a_million_random_hosts_load(tmp_path: Path) -> None:
    """A million random /32 with 30,000 next hops fit a segment made for a million routes, in
    any order, and each is found."""
    run(build_c_test("test_fib_hosts.c", FIB_SOURCES, tmp_path, flags=("-O3",)), 1_000_000)
