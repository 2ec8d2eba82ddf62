"""The FIB and the row codec under ASan and UBSan: C tests that Python only builds and runs."""

from tests.c.build import FIB, run_c_test


def test_fib_under_sanitizers() -> None:
    """Random changes equal a model, a full arena changes nothing, garbage is survived."""
    run_c_test("test_fib.c", FIB)


def test_rows_under_sanitizers() -> None:
    """Random text stays inside its memory; sorting is stable with and without room."""
    run_c_test("test_rows.c", ["rows/rows.c"])
