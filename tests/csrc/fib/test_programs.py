"""The FIB's C under ASan and UBSan."""

from tests.csrc.build import FIB, run_c_test


def test_fib_under_sanitizers() -> None:
    """Random changes equal a model, a full arena changes nothing, garbage is survived."""
    run_c_test("fib/test_fib.c", FIB)
