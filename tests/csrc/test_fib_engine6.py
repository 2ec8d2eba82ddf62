"""The IPv6 engine against the multibit trie in C, under AddressSanitizer and UBSan."""

from pathlib import Path

from tests.c.build import FIB, build_c_test, side_by_side


def test_the_ipv6_engine_answers_as_the_multibit_trie(tmp_path: Path) -> None:
    """Random rows where the structure has its edges: same result, same count, same answers with
    AVX-512 and without, same list, same after a takeover."""
    program = build_c_test("test_fib_engine6.c", FIB, tmp_path)
    side_by_side(([str(program), seed, "600"] for seed in ("1", "2")), 100)
