"""The row codec's C under ASan and UBSan."""

from tests.csrc.build import run_c_test


def test_rows_under_sanitizers() -> None:
    """Random text stays inside its memory; sorting is stable with and without room."""
    run_c_test("rows/test_rows.c", ["rows/rows.c"])
