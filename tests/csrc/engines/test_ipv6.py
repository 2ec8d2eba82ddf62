"""The IPv6 engine against the multibit trie in C, under AddressSanitizer and UBSan."""

import pytest

from tests.csrc.build import FIB, build_c_test, run


@pytest.mark.parametrize("seed", [1, 2])
def test_the_ipv6_engine_answers_as_the_multibit_trie(seed: int) -> None:
    """Random rows where the structure has its edges: same result, same count, same answers with
    AVX-512 and without, same list, same after a takeover."""
    run(build_c_test("engines/test_ipv6.c", FIB), seed, 600)
