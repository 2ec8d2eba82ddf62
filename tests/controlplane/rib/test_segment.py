"""The RIB's shared memory: made once, found again, and never taken from a stranger."""

import os
import struct
import uuid
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

import posix_ipc
import pytest
from ribcage.shared._core import ffi, lib

from ribcage.controlplane.rib.mapping import RibParams
from ribcage.controlplane.rib.records import Filter
from ribcage.controlplane.rib.segment import Rib
from ribcage.controlplane.values.nexthop import BLACKHOLE, NexthopSet, glean, host, nexthop_set
from ribcage.controlplane.values.nexthop import Path as Way
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib_records import FibKind, Hop
from ribcage.shared.memory.rows import Row, row_of, rows_of
from ribcage.shared.process.names import Names

NINE = IPv4Address("10.0.0.9")
PARAMS = RibParams(max_rows=1000, max_nexthops=64, max_nodes=128, instance_id=0xABC)


@pytest.fixture
def names(tmp_path: Path) -> Iterator[Names]:
    made = Names(f"t{uuid.uuid4().hex[:12]}", tmp_path)
    yield made
    Rib.remove(made)


def scribble(names: Names, offset: int, data: bytes) -> None:
    with Path(f"/dev/shm{names.rib}").open("r+b") as file:
        file.seek(offset)
        file.write(data)


def refusal(names: Names, params: RibParams = PARAMS) -> RibcageError:
    with pytest.raises(RibcageError) as caught:
        Rib.create_or_attach(names, params)
    return caught.value


def checked(rib: Rib, rows: list[Row]) -> tuple[int, int]:
    return rib.check(rows_of(rows), len(rows))


def test_routes_outlive_the_process_that_stored_them(names: Names) -> None:
    """A child stores a route and dies by SIGKILL; the next control finds it in force."""
    child = os.fork()
    if child == 0:
        rib = Rib.create_or_attach(names, PARAMS)
        nexthop = rib.nexthop_intern(host(1, NINE))
        rib.apply_rows([row_of("203.0.113.0/24", nexthop)])
        os.kill(os.getpid(), 9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    successor = Rib.create_or_attach(names, PARAMS)
    best = successor.best(ip_network("203.0.113.0/24"))
    assert best is not None
    assert successor.nexthop(best.nexthop) == host(1, NINE)
    assert (successor.recovery.created, successor.recovery.pending) == (False, 1)
    rows = ffi.new("struct route_row[4]")
    assert successor.pending(rows, 4) == (1, 1)
    assert rows[0].nexthop == best.nexthop
    successor.close()


def test_the_segment_is_private_from_the_start(names: Names) -> None:
    """Mode 0600, all of it allocated; gone after remove()."""
    rib = Rib.create_or_attach(names, PARAMS)
    info = Path(f"/dev/shm{names.rib}").stat()
    assert info.st_mode & 0o7777 == 0o600
    assert info.st_blocks * 512 >= info.st_size == rib.counts().segment_bytes
    rib.close()
    Rib.remove(names)
    assert not Path(f"/dev/shm{names.rib}").exists()
    Rib.remove(names)


@pytest.mark.parametrize("size", [0, 10, 64, 5000])
def test_a_half_made_segment_is_made_anew(names: Names, size: int) -> None:
    """Its maker died before the magic: nothing was acknowledged, so nothing is lost."""
    shared = posix_ipc.SharedMemory(names.rib, posix_ipc.O_CREX, mode=0o600, size=size)
    shared.close_fd()
    rib = Rib.create_or_attach(names, PARAMS)
    assert rib.recovery.created
    rib.close()


@pytest.mark.parametrize(
    ("offset", "data"),
    [
        pytest.param(0, b"RBGEFIB\0", id="another kind's magic"),
        pytest.param(8, struct.pack("<H", 9), id="another major version"),
        pytest.param(16, struct.pack("<Q", 0x91C2), id="another layout"),
        pytest.param(44, struct.pack("<I", 1), id="an unknown feature"),
        pytest.param(56, struct.pack("<Q", 1), id="a wrong checksum"),
    ],
)
def test_a_foreign_segment_is_refused_with_both_sides(
    names: Names, offset: int, data: bytes
) -> None:
    """E_LAYOUT, exit 7, both layouts in the message; the segment is left as it was."""
    Rib.create_or_attach(names, PARAMS).close()
    scribble(names, offset, data)
    before = Path(f"/dev/shm{names.rib}").read_bytes()
    error = refusal(names)
    assert (error.code, error.exit_code) == ("E_LAYOUT", 7)
    assert "this build" in error.message and names.rib in error.message
    assert Path(f"/dev/shm{names.rib}").read_bytes() == before


def test_the_message_names_both_layouts(names: Names) -> None:
    """Theirs and ours, as numbers."""
    Rib.create_or_attach(names, PARAMS).close()
    scribble(names, 16, struct.pack("<Q", 0x91C2))
    ours = ffi.new("struct segment_expect *")
    lib.segment_expected(lib.segment_format(lib.SEGMENT_RIB), ours)
    message = refusal(names).message
    assert "layout 0x91c2" in message and f"this build {ours.layout_id:#x}" in message


def test_a_segment_of_another_start_is_refused(names: Names) -> None:
    """Another instance id: those routes belong to a router that was not stopped in order."""
    Rib.create_or_attach(names, PARAMS).close()
    error = refusal(names, RibParams(1000, 64, 128, instance_id=0xDEF))
    assert (error.code, error.exit_code) == ("E_INSTANCE", 7)
    assert "instance 0xabc, this router is 0xdef" in error.message


def test_a_segment_open_to_others_is_refused(names: Names) -> None:
    """Anybody may create names in /dev/shm: what is not ours alone is not trusted."""
    Rib.create_or_attach(names, PARAMS).close()
    Path(f"/dev/shm{names.rib}").chmod(0o666)
    assert refusal(names).code == "E_OWNER"


def test_a_damaged_segment_is_refused(names: Names) -> None:
    """A chain that leads out of the table: E_DAMAGED, not a crash."""
    rib = Rib.create_or_attach(names, PARAMS)
    rib.close()
    scribble(names, lib.RIB_HEADER_SIZE, struct.pack("<I", 0x7FFFFFFF))
    assert refusal(names).code == "E_DAMAGED"


def test_limits_out_of_range_are_named(names: Names) -> None:
    """A table nobody can make is a config error, and leaves nothing behind."""
    for params in (RibParams(max_rows=0), RibParams(max_rows=1 << 40), RibParams(max_nexthops=1)):
        error = refusal(names, params)
        assert (error.code, error.exit_code) == ("E_LIMIT", 3)
    assert not Path(f"/dev/shm{names.rib}").exists()


def test_check_refuses_before_anything_is_applied() -> None:
    """All or nothing: the first refused row is named and the table is untouched."""
    rib = Rib.private(RibParams(2, 8, 16))
    rib.nexthop_intern(BLACKHOLE)
    good = [row_of("10.0.0.0/8", 1), row_of("10.1.0.0/16", 1)]
    assert checked(rib, good) == (0, 2)
    assert checked(rib, [*good, row_of("10.2.0.0/16", 1)]) == (28, 2)
    assert checked(rib, [good[0], row_of("10.2.0.0/16", 7)]) == (2, 1)
    assert rib.counts().rows == 0
    rib.limit(good[0].source, 1)
    assert checked(rib, good) == (122, 1)
    rib.close()


def test_a_prefix_that_flaps_in_one_call_is_one_change() -> None:
    """A hundred flaps become one change, and none at all when it ends where it began."""
    rib = Rib.private(PARAMS)
    one, two = (rib.nexthop_intern(host(0, IPv4Address(f"10.0.0.{i}"))) for i in (1, 2))
    flaps = [row_of("10.0.0.0/8", (one, two, 0)[i % 3]) for i in range(100)]
    applied, changes = rib.apply_rows(flaps)
    assert (applied.applied, [c.nexthop for c in changes]) == (100, [one])
    assert rib.apply_rows(flaps)[1] == []
    rib.close()


def test_the_journal_says_when_it_is_too_short() -> None:
    """More open changes than the ring holds: everything is in doubt, until published."""
    rib = Rib.private(RibParams(10_000, 8, 16))
    rib.nexthop_intern(BLACKHOLE)
    rows = ffi.new("struct route_row[]", 16)
    for i in range(lib.RIB_JOURNAL):
        rib.apply_rows([row_of(f"10.{i >> 8}.{i & 255}.0/24", 1)])
    with pytest.raises(RibcageError, match="compare the tables whole"):
        rib.pending(rows, 16)
    mark = rib.changed()
    rib.published(mark - 3)
    filled, cursor = rib.pending(rows, 16)
    assert (filled, cursor) == (3, mark)
    rib.published(mark)
    assert rib.pending(rows, 16) == (0, mark)
    rib.republish_all()
    with pytest.raises(RibcageError, match="compare the tables whole"):
        rib.pending(rows, 16)
    rib.close()


def test_equal_sets_share_an_id() -> None:
    """Paths in any order are one set; weights, ports, kinds and addresses tell sets apart."""
    rib = Rib.private(PARAMS)
    one, six = IPv4Address("10.0.0.1"), IPv6Address("2001:db8::1")
    a, b = Way(Hop(0, one), 2), Way(Hop(1, six))
    first = rib.nexthop_intern(NexthopSet(FibKind.FORWARD, (a, b)))
    assert rib.nexthop_intern(NexthopSet(FibKind.FORWARD, (b, a))) == first
    others = {
        rib.nexthop_intern(nexthop_set(paths))
        for paths in [[a], [b], [Way(Hop(0, one), 3), b], [Way(Hop(2, one), 2), b]]
    } | {rib.nexthop_intern(NexthopSet(FibKind.GLEAN, (a, b)))}
    assert len(others | {first}) == 6
    assert sorted(others | {first}) == list(rib.nexthops())
    rib.nexthop_put(first, glean(3))
    assert rib.nexthop(first) == glean(3)
    assert rib.nexthop_intern(nexthop_set([a, b])) not in others | {first}
    rib.close()


def test_a_stale_sweep_is_refused() -> None:
    """A sweep timer that fires after the source began another generation does nothing."""
    rib = Rib.private(PARAMS)
    rib.nexthop_intern(BLACKHOLE)
    rib.apply_rows([row_of("10.0.0.0/8", 1, source=6)])
    old = rib.mark_stale(6)
    rib.mark_stale(6)
    changes = ffi.new("struct route_row[4]")
    with pytest.raises(RibcageError, match="past generation 1"):
        rib.sweep(6, old, changes, 4)
    assert rib.counts().rows == 1
    rib.close()


@pytest.mark.parametrize("cursor", ["", "zz", "00", "ff" * 40])
def test_a_cursor_from_nowhere_is_refused(cursor: str) -> None:
    """E_CURSOR, usage: a client's invention cannot move the walk out of the table."""
    rib = Rib.private(PARAMS)
    with pytest.raises(RibcageError) as caught:
        rib.walk(cursor)
    assert (caught.value.code, caught.value.exit_code) == ("E_CURSOR", 2)
    rib.close()


def test_a_filter_that_matches_little_gives_slices_that_end() -> None:
    """A listing of one route among many returns to the loop now and then, and ends."""
    rib = Rib.private(RibParams(50_000, 8, 16))
    rib.nexthop_intern(BLACKHOLE)
    rows = [row_of(f"10.{i >> 8 & 255}.{i & 255}.{i >> 16 << 4}/28", 1) for i in range(40_000)]
    rib.apply_rows([*rows, row_of("192.0.2.0/24", 1, source=5)])
    slices, found = 0, []
    cursor: str | None = None
    while True:
        some, cursor = rib.walk(cursor, 10, Filter(source=5))
        found += some
        slices += 1
        if cursor is None:
            break
    assert [r.prefix for r in found] == [ip_network("192.0.2.0/24")]
    assert slices == 3
    rib.close()
