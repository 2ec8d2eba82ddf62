"""The IPv4 engines in lockstep under sanitizers, and full to the brim."""

from pathlib import Path

import pytest

from tests.c.build import FIB, SANITIZE, build_c_test, side_by_side

PATIENCE_S = 300  # a guard against hanging; the longest takes ten seconds
pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


def run(program: Path, *more: tuple[object, ...]) -> None:
    """With each of these lists of arguments, two at a time."""
    side_by_side(([str(program), *map(str, words)] for words in more or [()]), PATIENCE_S)


@pytest.fixture(scope="module")
def lockstep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lockstep")
    return build_c_test("test_fib_engine4.c", FIB, folder, flags=SANITIZE)


@pytest.mark.parametrize("seeds", [(1, 2), (3, 4)])
def test_engines_agree_on_everything(lockstep: Path, seeds: tuple[int, ...]) -> None:
    """Random changes of every length, wide and narrow ids, takeovers: results, lists, digests and
    answers (AVX-512, portable, with prefix) are the plain trie's; no access is out of bounds."""
    run(lockstep, *((seed, 100) for seed in seeds))


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("single")
    return build_c_test("test_fib_single.c", FIB, folder, flags=SANITIZE)


@pytest.mark.parametrize("seeds", [(1, 2), (3, 4)])
def test_a_recoloured_node_is_the_painted_one(single: Path, seeds: tuple[int, ...]) -> None:
    """One route after the other, of every length, with narrow and wide ids: the /16 answers as a
    table painted by the meaning of the words, and its node is the painted one bit for bit."""
    run(single, *((seed, 3000) for seed in seeds))


def test_a_full_arena_refuses_and_leaves_no_trace(tmp_path: Path) -> None:
    """Every engine says -ENOSPC in time, answers as before, and takes routes again afterwards."""
    run(build_c_test("test_fib_full.c", FIB, tmp_path, flags=SANITIZE))


@pytest.mark.slow
def test_a_million_random_hosts_load(tmp_path: Path) -> None:
    """A million random /32 with 30,000 next hops fit a segment made for a million routes, in
    any order, and each is found."""
    run(build_c_test("test_fib_hosts.c", FIB, tmp_path, flags=("-O3",)), (1_000_000,))
