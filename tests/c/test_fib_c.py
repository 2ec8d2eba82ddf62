"""The FIB and the row codec under ASan and UBSan: C tests that Python only builds and runs."""

from pathlib import Path

from tests.c.build import FIB, run_c_test


def test_fib_under_sanitizers(tmp_path: Path) -> None:
    """Random changes equal a model, a full arena changes nothing, garbage is survived."""
    run_c_test("test_fib.c", FIB, tmp_path)


def test_rows_under_sanitizers(tmp_path: Path) -> None:
    """Random text stays inside its memory; sorting is stable with and without room."""
    run_c_test("test_rows.c", ["rows/rows.c"], tmp_path)
