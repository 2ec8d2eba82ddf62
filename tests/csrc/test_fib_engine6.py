"""The IPv6 engine against the multibit trie in C, under AddressSanitizer and UBSan."""

from pathlib import Path

import pytest

from tests.c.build import CSRC, run_c_test

SOURCES = sorted(
    path.name for path in CSRC.glob("*.c") if path.name.startswith(("fib", "rows", "segment"))
)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_ipv6_engine_answers_as_the_multibit_trie(seed: int, tmp_path: Path) -> None:
    """Random rows where the structure has its edges: same result, same count, same answers with
    AVX-512 and without, same list, same after a takeover."""
    run_c_test("test_fib_engine6.c", SOURCES, tmp_path, [str(seed), "600"])
