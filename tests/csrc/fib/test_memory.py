"""The FIB's memory: positions, ids, reuse, limits."""

import ipaddress
import mmap
from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest
from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.segment.create import FibParams
from ribcage.shared.memory.rows import Row, row_of, rows_of
from tests.model.fib_memory import SMALL, FibMemory

EINVAL, ENOENT, EBUSY, ENOSPC, E2BIG = -22, -2, -16, -28, -7


def test_shared_structures_lie_on_cache_lines() -> None:
    """Header, roots, records and the shared words are 64-aligned."""
    for field in ("identity", "geometry", "published", "roots", "intent"):
        assert ffi.offsetof("struct fib_header", field) % 64 == 0, field
    assert ffi.sizeof("struct fib_header") == lib.FIB_HEADER_SIZE
    assert ffi.sizeof("struct fib_adjacency") == 64
    with FibMemory() as fib:
        geometry = fib.header.geometry
        assert geometry.groups_at * 64 >= lib.FIB_HEADER_SIZE
        assert geometry.blocks * 64 == fib.size


def test_mapped_at_two_addresses_lookups_are_equal() -> None:
    """The segment holds no pointer: a copy at any other address answers the same."""
    with FibMemory() as fib:
        fib.groups(range(1, 9))
        routes = [row_of(f"10.{i}.0.0/{12 + i}", 1 + i % 8) for i in range(0, 16, 4)]
        assert fib.apply(*routes, row_of("2001:db8::/32", 3), row_of("::/0", 4))[0] == 0
        addresses = [f"10.{i}.0.1" for i in range(16)] + ["2001:db8::1", "2001:db9::1"]
        for shift in (0, 1, 7):  # pages
            other = mmap.mmap(-1, fib.size + shift * 4096)
            other[shift * 4096 :] = fib.memory[:]
            base = ffi.from_buffer("char[]", other) + shift * 4096
            reader = ffi.new("struct fib_reader *")
            assert lib.fib_reader_attach(reader, base, fib.size) == 0
            groups = ffi.new("uint32_t[]", len(addresses))
            keys = fib.keys(addresses)
            assert lib.fib_lookup_groups(reader, keys, groups, len(addresses)) == 0
            assert list(groups) == fib.lookup(addresses)


@pytest.mark.parametrize("routes", [10, 1000])
def test_a_neighbour_change_is_one_word_whatever_hangs_on_it(routes: int) -> None:
    """Prefix-independent convergence: a group or adjacency with 1,000 routes behind it changes
    by one word store and at most two pieces of memory."""
    with FibMemory(FibParams(2000, 10, 16, 16)) as fib:
        assert fib.adjacency(1) == fib.adjacency(2, mtu=1400) == 0
        assert fib.group(5, (1,)) == 0
        nets = [row_of(f"10.{i >> 8}.{i & 255}.0/24", 5) for i in range(routes)]
        assert fib.apply(*nets)[0] == 0
        fib.publish()
        changes: list[Callable[[], int]] = [
            lambda: fib.group(5, (2,)),
            lambda: fib.adjacency(2, mtu=1300),
        ]
        for change in changes:
            sequence = fib.header.intent.sequence
            assert change() == 0
            assert fib.header.intent.sequence == sequence + 2
        answers = ffi.new("struct fib_answer[]", 1)
        generation = ffi.new("uint64_t *")
        keys = fib.keys([f"10.{routes - 1 >> 8}.{routes - 1 & 255}.9"])
        assert lib.fib_lookup(fib.reader, keys, answers, 1, generation) == 0
        assert (answers[0].group, answers[0].adjacency, answers[0].mtu) == (5, 2, 1300)


def test_the_flow_hash_picks_the_bucket() -> None:
    """Buckets are chosen by the low bits of the hash, all of them, and nothing but them."""
    with FibMemory() as fib:
        for id in range(1, 5):
            assert fib.adjacency(id, port=id) == 0
        assert fib.group(1, (1, 2, 3, 4, 4, 4, 4, 4)) == 0
        assert fib.apply(row_of("0.0.0.0/0", 1))[0] == 0
        keys = fib.keys(["192.0.2.1"] * 16)
        for i in range(16):
            keys[i].hash = i | 0xABCD_0000
        answers = ffi.new("struct fib_answer[]", 16)
        assert lib.fib_lookup(fib.reader, keys, answers, 16, ffi.new("uint64_t *")) == 0
        assert [answers[i].port for i in range(16)] == [1, 2, 3, 4, 4, 4, 4, 4] * 2


def test_what_is_named_cannot_go() -> None:
    """Routes need their group, groups their adjacencies; ids go in the other order."""
    with FibMemory() as fib:
        assert fib.apply(row_of("10.0.0.0/8", 3)) == (EINVAL, 0, 0)
        assert fib.group(3, (7,)) == EINVAL
        assert fib.adjacency(7) == 0
        assert fib.group(3, (7,)) == 0
        assert fib.apply(row_of("10.0.0.0/8", 3)) == (0, 1, 1)
        assert lib.fib_clear_group(fib.writer, 3) == EBUSY
        assert lib.fib_clear_adjacency(fib.writer, 7) == EBUSY
        assert fib.apply(row_of("10.0.0.0/8", 0)) == (0, 1, 1)
        assert lib.fib_clear_adjacency(fib.writer, 7) == EBUSY
        assert lib.fib_clear_group(fib.writer, 3) == 0
        assert lib.fib_clear_group(fib.writer, 3) == ENOENT
        assert lib.fib_clear_adjacency(fib.writer, 7) == 0
        assert fib.apply(row_of("10.0.0.0/8", 3)) == (EINVAL, 0, 0)


def test_limits_of_records_are_enforced() -> None:
    """Ids, kinds, bucket counts and ports out of range are refused and change nothing."""
    with FibMemory() as fib:
        assert fib.adjacency(1) == 0
        intent = fib.header.intent.sequence
        assert fib.adjacency(0) == fib.adjacency(64) == fib.adjacency(1, port=32) == EINVAL
        assert fib.group(0) == fib.group(64) == fib.group(1, (1, 1, 1)) == EINVAL
        big = ffi.new("uint64_t[]", 200)
        group = ffi.cast("struct fib_group *", big)
        group.id, group.kind, group.buckets = 1, lib.FIB_KIND_FORWARD, 512
        assert lib.fib_set_group(fib.writer, group) == EINVAL
        group.buckets, group.kind = 0, 99
        assert lib.fib_set_group(fib.writer, group) == EINVAL
        assert lib.fib_clear_port(fib.writer, 32) == EINVAL
        assert fib.header.intent.sequence == intent


@pytest.mark.parametrize("fields", [{"length": 33}, {"family": 5}, {"length": 7}])
def test_a_bad_row_stops_the_batch_there(fields: dict[str, int]) -> None:
    """Rows before a bad one are in force, it and the others are not."""
    with FibMemory() as fib:
        fib.groups([1])
        rows = rows_of([row_of("10.0.0.0/8", 1), row_of("11.0.0.0/8", 1), row_of("12.0.0.0/8", 1)])
        for name, value in fields.items():
            setattr(rows[1], name, value)
        assert fib.apply_rows(rows) == (EINVAL, 1, 1)
        assert fib.walk() == [row_of("10.0.0.0/8", 1)]


def test_a_full_table_says_so_and_still_replaces() -> None:
    """max-routes is a limit per family; replacing and withdrawing go on at the limit."""
    with FibMemory(FibParams(3, 3, 16, 16)) as fib:
        fib.groups([1, 2])
        four = [row_of(f"10.{i}.0.0/16", 1) for i in range(5)]
        assert fib.apply(*four) == (E2BIG, 3, 3)
        assert fib.apply(row_of("2001:db8::/32", 1)) == (0, 1, 1)
        assert fib.apply(row_of("10.1.0.0/16", 2)) == (0, 1, 1)
        assert fib.apply(row_of("10.1.0.0/16", 0), four[4]) == (0, 2, 2)
        assert len(fib.walk()) == 4


@pytest.mark.parametrize("engine4", [lib.FIB_ENGINE_MULTIBIT, lib.FIB_ENGINE_COMPACT])
def test_ten_cycles_end_at_the_high_water_of_the_first(engine4: int) -> None:
    """20,000 routes added and withdrawn ten times: the same blocks are used again. The compact
    engine keeps its root, so its empty table is the one after the first route came and went."""
    with FibMemory(replace(FibParams(20_000, 100, 16, 16), engine4=engine4)) as fib:
        fib.groups(range(1, 9))
        nets = ipaddress.ip_network("10.0.0.0/8").subnets(new_prefix=23)
        text = [Row(next(nets), 1 + i % 8) for i in range(20_000)]
        add = rows_of(text)
        withdraw = rows_of([Row(r.prefix, 0) for r in text])
        assert fib.apply(text[0]) == (0, 1, 1)
        assert fib.apply(row_of(text[0].prefix, 0)) == (0, 1, 1)
        fib.publish()
        empty = fib.header.published.live_blocks
        marks = []
        for _ in range(10):
            assert fib.apply_rows(add) == (0, 20_000, 20_000)
            fib.publish()
            full = fib.header.published.live_blocks
            assert fib.apply_rows(withdraw) == (0, 20_000, 20_000)
            fib.publish()
            published = fib.header.published
            marks.append((published.high_water, full, published.live_blocks))
        assert marks[1:] == [marks[0]] * 9
        assert marks[0][2] == empty


@pytest.mark.parametrize("engine4", [lib.FIB_ENGINE_COMPACT, lib.FIB_ENGINE_FLAT])
def test_what_waits_retired_stays_below_its_bound(engine4: int) -> None:
    """The change that retires most at once, a /1 over 10,000 /16s in use, again and again: what
    is retired passes neither the bound shown nor, after the first time, the high-water mark."""
    with FibMemory(replace(FibParams(40_000, 100, 16, 16), engine4=engine4)) as fib:
        fib.groups(range(1, 9))
        nets = ipaddress.ip_network("0.0.0.0/1").subnets(new_prefix=16)
        text = [str(next(nets)).replace(".0/16", ".0/25") for _ in range(10_000)]
        assert fib.apply(*(row_of(prefix, 1 + i % 8) for i, prefix in enumerate(text)))[0] == 0
        most = lib.fib_retired_most(ffi.addressof(fib.header.geometry))
        retired, marks = [], []
        for turn in range(12):
            assert fib.apply(row_of("0.0.0.0/1", 1 + turn % 2)) == (0, 1, 1)
            fib.publish()
            published = fib.header.published
            retired.append(published.retired_blocks * lib.FIB_BLOCK)
            marks.append(published.high_water)
        assert 256 << 10 < max(retired) <= most < fib.size
        assert len(set(marks[3:])) == 1


def test_an_unchanged_table_publishes_no_word() -> None:
    """Applying what is in force already stores nothing and takes no memory."""
    with FibMemory() as fib:
        fib.groups([1])
        routes = [row_of("10.0.0.0/8", 1), row_of("10.1.0.0/16", 1), row_of("2001:db8::/32", 1)]
        assert fib.apply(*routes) == (0, 3, 3)
        fib.publish()
        before = (fib.header.intent.sequence, fib.header.published.epoch)
        assert fib.apply(*routes) == (0, 3, 0)
        assert fib.apply(row_of("10.9.0.0/16", 0)) == (0, 1, 0)
        assert fib.group(1) == 0
        assert (fib.header.intent.sequence, fib.header.published.epoch) == before


def test_the_writer_asks_no_reader_for_memory() -> None:
    """A million bytes churned through a small arena with a reader that stopped long ago: the
    writer goes on, and the reader's next lookup is right."""
    with FibMemory(FibParams(64, 64, 16, 16)) as fib:
        fib.groups([1, 2])
        epochs = fib.header.published.epoch
        for turn in range(2000):
            assert (
                fib.apply(row_of("10.1.2.0/24", 1 + turn % 2), row_of("10.1.2.3/32", turn % 3))[0]
                == 0
            )
        assert fib.header.published.epoch > epochs
        assert fib.lookup(["10.1.2.4"]) == [2]


@pytest.mark.parametrize("change", ["group", "adjacency", "clear group", "withdraw below"])
def test_what_was_turned_away_from_stays_for_two_epochs(change: str) -> None:
    """A walk that took the old arrow must not find what it led to changed: the writer bumps twice
    between the two, and not at all when nothing was turned. (Withdrawing below concerns walks
    that go down node by node: the multibit trie's.)"""
    with FibMemory(replace(SMALL, engine4=lib.FIB_ENGINE_MULTIBIT)) as fib:
        assert fib.adjacency(1) == fib.adjacency(2) == 0
        assert fib.group(1, (1,)) == fib.group(2, (2,)) == fib.group(3, (1,)) == 0
        assert fib.apply(row_of("10.0.0.0/8", 1), row_of("10.1.2.0/24", 2))[0] == 0
        changes: dict[str, Callable[[], int]] = {
            "group": lambda: fib.group(1, (2,)),
            "adjacency": lambda: fib.adjacency(1, mtu=1400),
            "clear group": lambda: lib.fib_clear_group(fib.writer, 3),
            "withdraw below": lambda: fib.apply(row_of("10.1.2.0/24", 0))[0],
        }
        for _ in range(2):
            fib.publish()
        quiet = fib.header.published.epoch
        assert fib.adjacency(2, mtu=1300) == 0  # no arrow turned lately
        assert fib.header.published.epoch == quiet
        assert fib.apply(row_of("10.0.0.0/8", 2))[0] == 0  # an arrow turned
        assert fib.header.published.epoch == quiet
        assert changes[change]() == 0
        assert fib.header.published.epoch == quiet + 2


def test_stamps_tell_when_and_the_ring_forgets() -> None:
    """A publish's stamp has its times in order; after FIB_STAMPS more it is gone."""
    with FibMemory() as fib:
        fib.groups([1])
        assert fib.apply(row_of("10.0.0.0/8", 1))[0] == 0
        first = lib.fib_publish(fib.writer, 77, 5, 6)
        stamp = ffi.new("struct fib_stamp *")
        assert lib.fib_read_stamp(fib.reader, first, stamp) == 0
        assert (stamp.update_id, stamp.t0, stamp.t1, stamp.changes) == (77, 5, 6, 2)
        assert 6 < stamp.t2 <= stamp.t3
        assert lib.fib_read_stamp(fib.reader, first + 1, stamp) == ENOENT
        assert lib.fib_read_stamp(fib.reader, 0, stamp) == ENOENT
        for _ in range(lib.FIB_STAMPS):
            last = fib.publish()
        assert lib.fib_read_stamp(fib.reader, first, stamp) == ENOENT
        assert lib.fib_read_stamp(fib.reader, last, stamp) == 0
        assert stamp.changes == 0


def test_a_reader_that_is_outrun_says_so() -> None:
    """With the epoch two ahead each time it looks (a torn header), a lookup ends with -EAGAIN
    after its thousand tries instead of spinning."""
    with FibMemory() as fib:
        fib.groups([1])
        assert fib.apply(row_of("10.0.0.0/8", 1))[0] == 0
        fib.header.published.epoch = 2**64 - 1  # + 2 wraps below it
        groups = ffi.new("uint32_t[]", 8)
        keys = fib.keys(["10.0.0.1"] * 8)
        assert lib.fib_lookup_groups(fib.reader, keys, groups, 8) == -11
        assert fib.reader.retries == 3 * 3 + 1000  # 8, 4, 2 keys three times each, then one key


def test_a_damaged_tree_is_refused_by_the_successor() -> None:
    """Two owners of one block, a block outside, a group that is not set: no writer opens."""
    for damage in count():
        with FibMemory() as fib:
            fib.groups([1])
            assert fib.apply(row_of("10.0.0.0/8", 1), row_of("2001:db8::/32", 1))[0] == 0
            header = fib.header
            if damage == 0:
                header.roots.root4 = header.roots.root6
            elif damage == 1:
                header.roots.root4 = header.geometry.blocks - 1
            elif damage == 2:
                header.roots.root4 = 3
            elif damage == 3:
                directory = ffi.cast("uint32_t *", fib.base + header.geometry.groups_at * 64)
                directory[1] = 0
            elif damage == 4:
                header.intent.sequence |= 1
                header.intent.width, header.intent.at = 4, fib.size
            else:
                return
            assert lib.fib_writer_open(fib.base, fib.size, ffi.NULL) == ffi.NULL, damage
