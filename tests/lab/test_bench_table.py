"""Tables and update streams: read whole or refused with the line; streams are what they say."""

import gzip
import ipaddress
import lzma
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from ribcage.lab.bench.fib.streams import STREAMS, make_pairs, make_streams
from ribcage.lab.bench.fib.table import find_updates, load_table, load_updates
from ribcage.lab.bench.fib.updates import synthetic_updates
from ribcage.lab.tables import synthetic
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fields import prefix_of

SMALL = "203.0.113.0/24 3\n198.51.100.0/24 7\n\n# a comment\n192.0.2.0/25 1\n192.0.2.0/24 2\n"


def refused(path: Path, load: Callable[[int, Path], object] = load_table) -> str:
    with pytest.raises(RibcageError) as caught:
        load(4, path)
    assert caught.value.exit_code == 2
    return f"{caught.value.code} {caught.value.message}"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_a_table_is_sorted_whatever_its_packing(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    """Plain, gzip and xz are told by their first bytes, not by their names."""
    path = tmp_path / "table"
    path.write_bytes(pack(SMALL.encode()))
    table = load_table(4, path)
    found = [(str(prefix_of(table.rows[i])), table.rows[i].nexthop) for i in range(table.count)]
    assert found == [
        ("192.0.2.0/24", 2),
        ("192.0.2.0/25", 1),
        ("198.51.100.0/24", 7),
        ("203.0.113.0/24", 3),
    ]
    assert (table.max_nexthop, table.source) == (7, str(path))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("192.0.2.0/24", "line 3 has no id above 0"),
        ("nonsense 1", "line 3 is not ADDRESS/LENGTH"),
        ("192.0.2.1/24 1", "line 3 has bits set below its length (did you mean 192.0.2.0/24?)"),
        ("192.0.2.0/33 1", "line 3 has a length out of range"),
        ("192.0.2.0/24 0", "line 3 has no id above 0"),
        ("192.0.2.0/24 1 2", "line 3 has more than two fields"),
        ("2001:db8::/32 1", "line 3 is not IPv4"),
        ("192.0.2.0/24 32768", "line 3 has id 32768; a FIB holds 1..32767"),
        ("198.51.100.0/24 9", "line 3 has 198.51.100.0/24 again; first in line 1"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, bad: str, said: str) -> None:
    """Nothing is measured on half a table; the message says which line to look at."""
    path = tmp_path / "table"
    path.write_text(f"198.51.100.0/24 7\n# a comment\n{bad}\n203.0.113.0/24 3\n")
    assert f"{path}: {said}" in refused(path)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    """A missing file, a folder, an empty file, a broken archive: each by name."""
    assert refused(tmp_path / "absent").startswith("E_NO_FILE")
    assert refused(tmp_path).startswith("E_NO_FILE")
    (tmp_path / "empty").write_text("# nothing\n")
    assert "holds no route" in refused(tmp_path / "empty")
    (tmp_path / "broken").write_bytes(lzma.compress(SMALL.encode())[:-20])
    assert refused(tmp_path / "broken").startswith("E_NO_FILE")


def test_updates_keep_their_order_and_withdraw(tmp_path: Path) -> None:
    """A stream is applied as it stands in the file; W has no next hop."""
    path = tmp_path / "updates"
    path.write_text("A 192.0.2.0/24 5\nW 192.0.2.0/24 0\n\nA 10.0.0.0/8 9\nW 10.0.0.0/8\n")
    updates = load_updates(4, path)
    found = [
        (str(prefix_of(updates.rows[i])), updates.rows[i].nexthop) for i in range(updates.count)
    ]
    assert found == [
        ("192.0.2.0/24", 5),
        ("192.0.2.0/24", 0),
        ("10.0.0.0/8", 9),
        ("10.0.0.0/8", 0),
    ]


@pytest.mark.parametrize("bad", ["A 192.0.2.0/24", "A 192.0.2.0/24 0", "X 192.0.2.0/24 1", "A"])
def test_a_bad_update_is_named_by_its_line(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "updates"
    path.write_text(f"A 10.0.0.0/8 1\n{bad}\n")
    assert "line 2" in refused(path, load_updates)


def test_the_update_stream_beside_a_table_is_found(tmp_path: Path) -> None:
    """`upd4-synth*` in the table's folder goes before everything else."""
    (tmp_path / "upd4-synth-x.txt").write_text("A 10.0.0.0/8 1\n")
    assert find_updates(4, tmp_path / "table.txt") == tmp_path / "upd4-synth-x.txt"


@pytest.mark.parametrize("family", [4, 6])
def test_streams_are_seeded_and_routed(tmp_path: Path, family: int) -> None:
    """The same seed gives the same bytes; every address lies below a prefix of the table."""
    path = tmp_path / "table"
    path.write_text("\n".join(synthetic(family, 300, seed=3).lines) + "\n")
    table = load_table(family, path)
    streams = make_streams(table, seed=4, count=2048)
    assert streams == make_streams(table, seed=4, count=2048)
    assert streams != make_streams(table, seed=5, count=2048)
    networks = [prefix_of(table.rows[i]) for i in range(table.count)]
    for name in STREAMS:
        raw, width = streams[name], 4 if family == 4 else 16
        assert len(raw) == 2048 * width
        for at in range(0, len(raw), 64 * width):
            part = raw[at : at + width]
            number = array("I", part)[0] if family == 4 else int.from_bytes(part)
            address = ipaddress.ip_address(number if family == 4 else part)
            assert any(address in network for network in networks)
    assert max(array("I", make_pairs(table, 1, 500))) < table.count


def test_zipf_repeats_its_flows_and_uniform_does_not(tmp_path: Path) -> None:
    """The first flow of Zipf(1.0) over n gets 1/H(n) of all lookups."""
    path = tmp_path / "table"
    path.write_text("0.0.0.0/1 1\n128.0.0.0/1 2\n")
    streams = make_streams(load_table(4, path), seed=1, count=1 << 14)
    counts = {name: array("I", streams[name]) for name in STREAMS}
    most = {
        name: max(map(counts[name].tolist().count, set(counts[name][:512]))) for name in STREAMS
    }
    assert 0.07 < most["zipf"] / (1 << 14) < 0.13  # 1/H(16384) = 0.097
    assert most["uniform"] <= 4


def test_a_synthetic_stream_leaves_a_table_about_as_large(tmp_path: Path) -> None:
    """A fifth of the updates withdraw, and every withdrawal is of a route that was there."""
    path = tmp_path / "table"
    path.write_text("\n".join(synthetic(4, 2000).lines) + "\n")
    table = load_table(4, path)
    updates = synthetic_updates(table, seed=1, count=2000)
    known = {prefix_of(table.rows[i]) for i in range(table.count)}
    rows = [updates.rows[i] for i in range(updates.count)]
    assert {prefix_of(row) for row in rows} <= known
    assert 0.1 < sum(row.nexthop == 0 for row in rows) / 2000 < 0.3
