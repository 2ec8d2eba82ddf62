"""Addresses in the fields of C records, and what is said of a record that holds none."""

from ribcage.shared._core import ffi

from ribcage.shared.memory.fields import prefix_or_parts
from ribcage.shared.memory.rows import new_rows, row_of, rows_of


def test_a_record_with_a_prefix_is_told_by_it() -> None:
    rows = rows_of([row_of("10.0.0.0/8"), row_of("2001:db8::/32")])
    assert [prefix_or_parts(row) for row in rows] == ["10.0.0.0/8", "2001:db8::/32"]


def test_a_record_without_a_prefix_is_told_by_its_parts() -> None:
    """An error message about a wrong row must not itself be an error."""
    row = new_rows(1)[0]
    for family, length, packed in ((5, 8, b""), (4, 77, b""), (6, 200, b""), (4, 8, b"\x0a\1")):
        row.family, row.length = family, length
        ffi.memmove(row.prefix, packed, len(packed))
        assert prefix_or_parts(row) == f"a row of family {family} and length {length}"
