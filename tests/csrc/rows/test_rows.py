"""Text into rows: what is accepted, what is refused and where, and how fast."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ribcage.shared._core import ffi, lib

from ribcage.shared.memory.fields import prefix_of


def parse(
    text: bytes, *, last: bool = True, most: int = 100, gateways: int | None = None
) -> tuple[list[tuple[str, int]], int, int, int, list[str]]:
    """(rows, error, line, consumed, gateway addresses)."""
    rows = ffi.new("struct route_row[]", most + 1)
    result = ffi.new("struct row_parse *")
    list_ = ffi.NULL if gateways is None else ffi.new("struct gateway_text[]", gateways)
    n = ffi.new("uint32_t *")
    lib.rows_parse(text, len(text), last, rows, most, list_, gateways or 0, n, result)
    found = [(str(prefix_of(rows[i])), rows[i].nexthop) for i in range(result.rows)]
    if result.error == lib.ROW_HOST_BITS:
        found.append((str(prefix_of(rows[result.rows])), -1))
    named = [
        bytes(list_[i].address)[: 4 if list_[i].family == 4 else 16].hex() for i in range(n[0])
    ]
    return found, result.error, result.line, result.consumed, named


def test_lines_become_rows() -> None:
    """Both families, comments, blank lines, tabs, CR LF and a last line without newline."""
    text = b"# table\n10.0.0.0/8 7\r\n\n\t2001:db8::/32\t 9 # why\n0.0.0.0/0 4294967295\n::/0 1"
    rows, error, line, consumed, _ = parse(text)
    assert rows == [("10.0.0.0/8", 7), ("2001:db8::/32", 9), ("0.0.0.0/0", 2**32 - 1), ("::/0", 1)]
    assert (error, line, consumed) == (0, 6, len(text))


def test_a_part_of_a_line_waits_for_its_rest() -> None:
    """Without `last` only whole lines are taken, so chunks may be cut anywhere."""
    text = b"10.0.0.0/8 7\n10.0.0.0/9 12"
    assert parse(text, last=False)[0] == [("10.0.0.0/8", 7)]
    assert parse(text, last=False)[3] == 13
    assert parse(text, last=True)[0] == [("10.0.0.0/8", 7), ("10.0.0.0/9", 12)]


def test_a_full_array_is_asked_again() -> None:
    """When rows[] is full, what was taken is whole lines and no error."""
    text = b"10.0.0.0/8 1\n10.0.0.0/9 2\n10.0.0.0/10 3\n"
    rows, error, line, consumed, _ = parse(text, most=2)
    assert (len(rows), error, line, consumed) == (2, 0, 2, 26)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"10.0.0.0 1", lib.ROW_BAD_PREFIX),
        (b"10.0.0/8 1", lib.ROW_BAD_PREFIX),
        (b"10.0.0.0.0/8 1", lib.ROW_BAD_PREFIX),
        (b"010.0.0.0/8 1", lib.ROW_BAD_PREFIX),
        (b"256.0.0.0/8 1", lib.ROW_BAD_PREFIX),
        (b"2001:db8::g/64 1", lib.ROW_BAD_PREFIX),
        (b"::1::/64 1", lib.ROW_BAD_PREFIX),
        (b"10.0.0.0/33 1", lib.ROW_BAD_LENGTH),
        (b"10.0.0.0/ 1", lib.ROW_BAD_LENGTH),
        (b"10.0.0.0/08 1", lib.ROW_BAD_LENGTH),
        (b"::/129 1", lib.ROW_BAD_LENGTH),
        (b"10.0.0.1/8 1", lib.ROW_HOST_BITS),
        (b"2001:db8::1/32 1", lib.ROW_HOST_BITS),
        (b"10.0.0.0/8", lib.ROW_BAD_NEXTHOP),
        (b"10.0.0.0/8 0", lib.ROW_BAD_NEXTHOP),
        (b"10.0.0.0/8 -1", lib.ROW_BAD_NEXTHOP),
        (b"10.0.0.0/8 4294967296", lib.ROW_BAD_NEXTHOP),
        (b"10.0.0.0/8 192.0.2.1", lib.ROW_BAD_NEXTHOP),
        (b"10.0.0.0/8 1 2", lib.ROW_TRAILING),
    ],
)
def test_a_bad_line_is_named(line: bytes, error: int) -> None:
    """The error, its line from 1, and the rows before it."""
    rows, found, at, consumed, _ = parse(b"\n10.9.0.0/16 5\n" + line + b"\n10.8.0.0/16 5\n")
    assert (found, at, consumed) == (error, 3, 15)
    assert rows[0] == ("10.9.0.0/16", 5)
    if error == lib.ROW_HOST_BITS:
        assert rows[1] in [("10.0.0.0/8", -1), ("2001:db8::/32", -1)]
    else:
        assert len(rows) == 1


def test_gateways_are_collected_once_each() -> None:
    """An address as next hop is the 1-based position of its first use; ids stay ids."""
    text = b"".join(
        b"10.%d.0.0/16 %s\n" % (i, hop)
        for i, hop in enumerate([b"192.0.2.1", b"fe80::1", b"192.0.2.1", b"7", b"fe80::1"])
    )
    rows, error, _, _, named = parse(text, gateways=4)
    assert [hop for _, hop in rows] == [1, 2, 1, 7, 2]
    assert (error, named) == (0, ["c0000201", "fe80" + "0" * 26 + "01"])
    assert parse(text, gateways=1)[1:3] == (lib.ROW_BAD_NEXTHOP, 2)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_rows_or_a_named_error(text: bytes) -> None:
    """Nothing but whole, valid rows comes out, whatever goes in."""
    _, error, line, consumed, _ = parse(text, gateways=3)
    assert 0 <= error <= lib.ROW_TRAILING
    assert consumed <= len(text)
    assert error == 0 or text[:consumed].count(b"\n") == line - 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from([4, 6]), st.binary(min_size=16, max_size=16), st.integers(0, 128)
        ),
        max_size=80,
    )
)
@settings(max_examples=100, deadline=None)
def test_sorted_is_family_address_length(items: list[tuple[int, bytes, int]]) -> None:
    """The order of every listing; rows of one prefix keep theirs."""
    rows = ffi.new("struct route_row[]", len(items))
    for i, (family, prefix, length) in enumerate(items):
        ffi.buffer(rows[i].prefix)[:] = prefix[:1] * 16 if prefix[0] & 1 else prefix
        rows[i].family, rows[i].length, rows[i].metric = family, length, i
    key = [(r.family, bytes(r.prefix), r.length) for r in rows]
    expected = sorted(range(len(items)), key=lambda i: (*key[i], i))
    lib.rows_sort(rows, len(items))
    assert [r.metric for r in rows] == expected
    keys = [key[i] for i in expected]
    twice = [i for i in range(1, len(keys)) if keys[i] == keys[i - 1]]
    assert lib.rows_duplicate(rows, len(items)) == (twice[0] if twice else len(items))


def test_a_full_table_is_parsed_and_sorted_within_seconds() -> None:
    """900,000 lines, shuffled by a stride: the bound is generous, the usual figure is 0.3 s."""
    n = 900_000
    text = b"".join(
        b"%d.%d.%d.0/24 7\n" % (k >> 16, k >> 8 & 255, k & 255)
        for k in ((i * 7919) % n for i in range(n))
    )
    rows = ffi.new("struct route_row[]", n)
    result = ffi.new("struct row_parse *")
    began = time.process_time()
    assert lib.rows_parse(text, len(text), 1, rows, n, ffi.NULL, 0, ffi.NULL, result) == 0
    lib.rows_sort(rows, n)
    assert time.process_time() - began < 5
    assert result.rows == n
    assert lib.rows_duplicate(rows, n) == n
    assert str(prefix_of(rows[1])) == "0.0.1.0/24"
