"""The IPv4 engines in lockstep under sanitizers, and full to the brim."""

from pathlib import Path

import pytest

from tests.csrc.build import FIB, build_c_test, run

PATIENCE_S = 300  # a guard against hanging; the longest takes ten seconds
pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


@pytest.fixture(scope="module")
def lockstep() -> Path:
    return build_c_test("engines/test_ipv4.c", FIB)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_engines_agree_on_everything(lockstep: Path, seed: int) -> None:
    """Random changes of every length, wide and narrow ids, takeovers: results, lists, digests and
    answers (AVX-512, portable, with prefix) are the plain trie's; no access is out of bounds."""
    run(lockstep, seed, 100, patience=PATIENCE_S)


@pytest.fixture(scope="module")
def single() -> Path:
    return build_c_test("engines/test_single.c", FIB)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_recoloured_node_is_the_painted_one(single: Path, seed: int) -> None:
    """One route after the other, of every length, with narrow and wide ids: the /16 answers as a
    table painted by the meaning of the words, and its node is the painted one bit for bit."""
    run(single, seed, 3000, patience=PATIENCE_S)


def test_a_full_arena_refuses_and_leaves_no_trace() -> None:
    """Every engine says -ENOSPC in time, answers as before, and takes routes again afterwards."""
    run(build_c_test("engines/test_full.c", FIB), patience=PATIENCE_S)


@pytest.mark.slow
def test_a_million_random_hosts_load() -> None:
    """A million random /32 with 30,000 next hops fit a segment made for a million routes, in
    any order, and each is found."""
    program = build_c_test("engines/test_hosts.c", FIB, flags=("-O3",))
    run(program, 1_000_000, patience=PATIENCE_S)
