"""Prefix aggregation against a dictionary, row by row: the right set, no wrong answer on the way.

A real RIB decides, aggregation stages, and a FIB of this file takes the rows one at a time, looks
after each at every address that could tell a difference, refuses rows, or dies between two.
"""

import contextlib
import errno
from collections.abc import Callable
from ipaddress import IPv4Address, ip_network
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.aggregation import Aggregation
from ribcage.controlplane.rib.mapping import RibParams, anonymous_rib
from ribcage.controlplane.rib.segment import Rib
from ribcage.controlplane.values.nexthop import host
from ribcage.shared.memory.fields import prefix_of
from ribcage.shared.memory.rows import Applied, new_rows, row_of, rows_of

GROUPS = 3
ANCHORS = {
    4: [0, 0xFFFFFFFF, 0x0A010203, 0x0A010283, 0x0A018003],
    6: [0, (1 << 128) - 1, 0x20010DB8 << 96 | 1, 0x20010DB8 << 96 | 1 << 63, 0x20010DB9 << 96],
}
BITS = {4: 32, 6: 128}
Key = tuple[int, int, int]  # family, length, address


def key(family: int, anchor: int, length: int) -> Key:
    length = min(length, BITS[family])
    shift = BITS[family] - length
    return family, length, ANCHORS[family][anchor] >> shift << shift


keys = st.builds(
    key,
    st.sampled_from([4, 6]),
    st.integers(0, 4),
    st.one_of(st.sampled_from([0, 1, 8, 16, 24, 31, 32, 63, 64, 128]), st.integers(0, 128)),
)
changes = st.lists(st.tuples(keys, st.integers(0, GROUPS)), min_size=1, max_size=8)


def text(key: Key) -> str:
    family, length, address = key
    packed = address.to_bytes(BITS[family] // 8, "big")
    return str(ip_network((packed, length)))


def covers(key: Key, family: int, address: int) -> bool:
    shift = BITS[key[0]] - key[1]
    return key[0] == family and key[2] >> shift == address >> shift


Table = dict[Key, int]


def answer(table: Table, family: int, address: int) -> int:
    """Longest match; 0: none."""
    found = [k for k in table if covers(k, family, address)]
    return table[max(found, key=lambda k: k[1])] if found else 0


def smallest(table: Table) -> Table:
    """The routes whose nearest cover has another group, from the definition."""
    result = {}
    for mine, group in table.items():
        above = [k for k in table if k[1] < mine[1] and covers(k, mine[0], mine[2])]
        cover = table[max(above, key=lambda k: k[1])] if above else 0
        if group != cover:
            result[mine] = group
    return result


def probes(*tables: Table) -> list[tuple[int, int]]:
    """Both ends of every prefix, and the addresses beside them: enough to see every region."""
    found = set()
    for table in tables:
        for family, length, address in table:
            last = address | ((1 << (BITS[family] - length)) - 1)
            for one in (address - 1, address, last, last + 1):
                if 0 <= one < 1 << BITS[family]:
                    found.add((family, one))
    return sorted(found)


def key_of(row: Any) -> Key:
    prefix = prefix_of(row)
    return prefix.version, prefix.prefixlen, int(prefix.network_address)


class Died(Exception):
    """The writer was killed here."""


class Fib:
    """A RouteWriter over a dictionary; `watch` is called after each row with its `metric`."""

    def __init__(self) -> None:
        self.table: Table = {}
        self.watch: Callable[[int], None] = lambda change: None
        self.refused: Callable[[int], None] = lambda change: None
        self.dies_in = self.refuses_in = -1

    def guard(self) -> Any:
        return contextlib.nullcontext()

    def publish(self, update_id: int, t0: int, t1: int) -> int:
        return 1

    def limits(self) -> tuple[int, int]:
        return 1000, 1000

    def apply(self, rows: Any, count: int) -> Applied:
        for i in range(count):
            if self.dies_in == 0:
                raise Died
            self.dies_in -= 1
            if self.refuses_in == 0 and rows[i].nexthop != 0:
                self.refuses_in = -1
                self.refused(int(rows[i].metric))
                return Applied(i, i, errno.ENOSPC)
            self.refuses_in -= self.refuses_in > 0
            if rows[i].nexthop:
                self.table[key_of(rows[i])] = int(rows[i].nexthop)
            else:
                self.table.pop(key_of(rows[i]), None)
            self.watch(int(rows[i].metric))
        return Applied(count, count)


class AggregationMachine(RuleBasedStateMachine):
    """`full` is what the RIB has in force."""

    @initialize(slice_rows=st.sampled_from([1, 2, 3, 8192]))
    def start(self, slice_rows: int) -> None:
        self.slice_rows = slice_rows
        self.rib = Rib(anonymous_rib(RibParams(400, 64, 128, 1)), True)
        for i in range(1, GROUPS + 1):
            assert self.rib.nexthop_intern(host(0, IPv4Address(f"192.0.2.{i}"))) == i
        self.fib = Fib()
        self.stage = Aggregation(self.rib, self.fib, self.slice_rows)
        self.full: Table = {}
        self.suppress = True
        self.dead = False

    def teardown(self) -> None:
        if hasattr(self, "rib"):
            self.stage.close()
            self.rib.close()

    # -- helpers

    def decide(self, batch: list[tuple[Key, int]]) -> tuple[Any, int, list[Table]]:
        """What the RIB says, and the tables before the first change, after it, after the next."""
        rows = rows_of(row_of(text(k), group, 2) for k, group in batch)
        found = new_rows(len(batch))
        applied = self.rib.apply(rows, len(rows), found, len(batch))
        assert applied.error == 0
        tables = [dict(self.full)]
        for i in range(applied.changes):
            after = dict(tables[-1])
            if found[i].nexthop:
                after[key_of(found[i])] = int(found[i].nexthop)
            else:
                del after[key_of(found[i])]
            tables.append(after)
        return found, applied.changes, tables

    def expect(self, tables: list[Table]) -> None:
        """From now on each answer is that of the table before a row's change, or after it."""
        addresses = probes(*tables)

        def watch(change: int) -> None:
            for family, address in addresses:
                got = answer(self.fib.table, family, address)
                allowed = [answer(t, family, address) for t in tables[change : change + 2]]
                assert got in allowed, (change, family, hex(address), got, allowed)

        self.fib.watch = watch

    def expect_one_turn(self, final: Table) -> None:
        """From now on each address turns from its answer now to that of `final`, never back."""
        state = {
            (family, address): (answer(self.fib.table, family, address), False)
            for family, address in probes(final, self.fib.table)
        }

        def watch(change: int) -> None:
            for (family, address), (old, turned) in state.items():
                got = answer(self.fib.table, family, address)
                new = answer(final, family, address)
                assert got == new or (got == old and not turned), (family, hex(address))
                state[family, address] = (old, got == new)

        self.fib.watch = watch

    def done(self, full: Table) -> None:
        self.full = full
        self.fib.watch = lambda change: None
        self.fib.dies_in = self.fib.refuses_in = -1
        self.rib.published(self.rib.changed())

    # -- rules

    @rule(batch=changes)
    def change(self, batch: list[tuple[Key, int]]) -> None:
        found, count, tables = self.decide(batch)
        self.expect(tables)
        result = self.stage.apply(found, count)
        assert (result.applied, result.error) == (count, 0)
        self.done(tables[-1])

    @rule(batch=changes, after=st.integers(0, 12), before=changes)
    def die(self, batch: list[tuple[Key, int]], after: int, before: list[tuple[Key, int]]) -> None:
        """The successor finds some rows of a batch in force, and repeats the journal."""
        self.change(before)
        found, count, tables = self.decide(batch)
        self.expect(tables)
        self.fib.dies_in = after
        with contextlib.suppress(Died):
            self.stage.apply(found, count)
        self.fib.dies_in = -1
        self.successor(self.suppress, tables[-1])
        pending = new_rows(64)
        filled, _ = self.rib.pending(pending, 64, 0)
        rows, n = self.stage.repeat(pending, filled, (1000, 1000))
        self.expect_one_turn(tables[-1])
        assert self.fib.apply(rows, n).applied == n
        self.done(tables[-1])

    def successor(self, suppress: bool, full: Table) -> None:
        self.stage.close()
        self.stage = Aggregation(self.rib, self.fib, self.slice_rows)
        self.stage.suppress(suppress)
        counts = self.stage.counts()
        assert counts["routes4"] + counts["routes6"] == len(full)

    @rule(batch=changes, at=st.integers(0, 12))
    def refuse(self, batch: list[tuple[Key, int]], at: int) -> None:
        """A FIB without memory: the change is not in force at all, and can be had later."""
        found, count, tables = self.decide(batch)
        self.expect(tables)
        self.fib.refuses_in = at
        self.fib.refused = lambda change: self.expect([tables[change]] * 2)
        result = self.stage.apply(found, count)
        self.fib.refuses_in = -1
        if result.error:
            assert result.error == errno.ENOSPC
            kept = tables[result.applied]
            assert self.fib.table == (smallest(kept) if self.suppress else kept)
            rest = count - result.applied
            self.expect(tables[result.applied :])
            result = self.stage.apply(found + result.applied, rest)
            assert (result.applied, result.error) == (rest, 0)
        self.done(tables[-1])

    @rule(suppress=st.booleans())
    def switch(self, suppress: bool) -> None:
        """Turning it on or off changes no answer at any moment."""
        self.suppress = suppress
        self.stage.suppress(suppress)
        self.expect([self.full, self.full])
        n = lib.rib_walk(
            self.rib.handle,
            ffi.new("struct rib_cursor *"),
            ffi.new("struct rib_filter *", {"selected": 1}),
            routes := ffi.new("struct rib_route[]", 4096),
            4096,
        )
        assert n == len(self.full)
        rows, count = self.stage.redundant(routes, n)
        for i in range(count):
            rows[i].metric = 0
        self.fib.apply(rows, count)
        self.done(self.full)

    # -- promises

    @invariant()
    def the_fib_holds_the_smallest_set(self) -> None:
        if not hasattr(self, "fib"):
            return
        wanted = smallest(self.full) if self.suppress else self.full
        assert self.fib.table == wanted

    @invariant()
    def every_lookup_means_the_same(self) -> None:
        if not hasattr(self, "fib"):
            return
        for family, address in probes(self.full):
            assert answer(self.fib.table, family, address) == answer(self.full, family, address)


TestAggregation = AggregationMachine.TestCase
TestAggregation.settings = settings(max_examples=100, stateful_step_count=15, deadline=None)
