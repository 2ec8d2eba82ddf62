"""The fast table beside the slow one, under every strategy: whatever is done, both answer alike."""

import errno
import ipaddress
import os
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.segment.create import FibParams
from ribcage.shared.memory.fib_sync import STRATEGIES, WITH_LOCK
from ribcage.shared.memory.rows import Row, row_of, rows_of
from tests.model.fib_memory import ENGINES, SMALL, FibMemory, on
from tests.model.golden import Golden

GROUPS = 9
EXAMPLES = 7 * int(os.environ.get("RIBCAGE_TORTURE", "1"))  # of each of 35 pairs
ALL_LENGTHS = FibParams(max_routes4=200, max_routes6=200, max_groups=200, max_adjacencies=2)
# Twenty steps of at most forty rows: no run reaches the limit, which has tests of its own.
ROOMY = FibParams(max_routes4=1000, max_routes6=1000, max_groups=64, max_adjacencies=64)
# Few byte values, so that random prefixes nest, overlap and share nodes.
BYTES = st.sampled_from([0, 1, 2, 127, 128, 254, 255])


@st.composite
def prefixes(draw: st.DrawFn, family: int) -> str:
    bits = 32 if family == 4 else 128
    length = draw(st.one_of(st.integers(0, bits), st.sampled_from([0, 8, 9, bits - 1, bits])))
    raw = bytes(draw(st.lists(BYTES, min_size=bits // 8, max_size=bits // 8)))
    return str(ipaddress.ip_network((raw, length), strict=False))


@st.composite
def changes(draw: st.DrawFn, family: int) -> Row:
    return row_of(draw(prefixes(family)), draw(st.integers(0, GROUPS)))


class FibMachine(RuleBasedStateMachine):
    """Adds, replaces, withdraws, publishes, takes over; both families live in one segment."""

    engine = "compact"
    sync = "epoch"

    def __init__(self) -> None:
        super().__init__()
        self.fib = FibMemory(replace(on(ROOMY, self.engine), sync=self.sync))
        self.fib.groups(range(1, GROUPS + 1))
        self.golden = Golden()
        self.public = Golden()  # as of the last publish: all that two banks let readers see
        self.generation = 0
        self.publish()

    @property
    def banks(self) -> bool:
        return bool(self.fib.header.geometry.banks == 2)

    def apply(self, routes: list[Row]) -> None:
        before = self.golden.copy()
        self.golden.apply_all(routes)
        steps = [before]
        for route in routes:
            steps.append(steps[-1].copy())
            steps[-1].apply(route)
        changed = sum(a.routes != b.routes for a, b in pairwise(steps))
        assert self.fib.apply(*routes) == (0, len(routes), changed)

    @rule(route=changes(4))
    def one_ipv4_row(self, route: Row) -> None:
        self.apply([route])

    @rule(route=changes(6))
    def one_ipv6_row(self, route: Row) -> None:
        self.apply([route])

    @rule(routes=st.lists(st.one_of(changes(4), changes(6)), max_size=12))
    def a_mixed_batch(self, routes: list[Row]) -> None:
        self.apply(routes)

    @rule(routes=st.one_of(st.lists(changes(f), max_size=40) for f in (4, 6)))
    def a_sorted_batch(self, routes: list[Row]) -> None:
        rows = rows_of(routes)
        lib.rows_sort(rows, len(rows))
        self.golden.apply_all(  # a stable sort: of two rows of one prefix the later one wins
            sorted(
                routes,
                key=lambda r: (
                    ipaddress.ip_network(r.prefix).network_address,
                    ipaddress.ip_network(r.prefix).prefixlen,
                ),
            )
        )
        assert self.fib.apply_rows(rows)[:2] == (0, len(routes))

    @precondition(lambda self: self.golden.routes)
    @rule(data=st.data(), group=st.integers(0, GROUPS))
    def change_a_route_that_is_there(self, data: st.DataObject, group: int) -> None:
        prefix = data.draw(st.sampled_from([r.prefix for r in self.golden.listed()]))
        self.apply([row_of(prefix, group)])

    @precondition(lambda self: self.golden.routes)
    @rule()
    def withdraw_everything(self) -> None:
        self.apply([Row(r.prefix, 0) for r in self.golden.listed()])
        roots = self.fib.header.roots
        plain = self.engine in ("binary", "multibit") and not self.banks
        assert not plain or roots.root4 == roots.root6 == 0

    @rule()
    def publish(self) -> None:
        self.generation += 1
        assert self.fib.publish() == self.generation
        self.public = self.golden.copy()
        published = self.fib.now.published
        if self.sync != "message":  # there the snapshot is older; the replica is what counts
            assert published.routes4 + published.routes6 == len(self.golden.routes)

    @rule()
    def take_over(self) -> None:
        self.fib.open()
        assert self.fib.recovery.redone == 0
        if self.sync == "double":  # what was not published was never anybody's
            self.golden = self.public.copy()
        self.public = self.golden.copy()
        assert self.fib.recovery.routes == len(self.golden.routes)

    @invariant()
    def answers_are_equal(self) -> None:
        addresses = self.golden.borders()
        seen = self.public if self.banks else self.golden
        if self.sync in WITH_LOCK:  # a batch keeps readers out: this one, too
            lib.fib_batch_end(self.fib.writer)
        assert [seen.lookup(a) for a in addresses] == self.fib.lookup(addresses)
        assert self.golden.listed() == self.fib.walk()
        assert lib.fib_check(self.fib.writer) == 0
        for address in addresses[:: max(1, len(addresses) // 8)]:
            assert seen.match(address) == self.fib.match(address)
        for route in self.golden.listed()[:4]:
            assert self.fib.exact(route.prefix) == route.nexthop

    def teardown(self) -> None:
        self.fib.close()


class BinaryMachine(FibMachine):
    engine = "binary"


class MultibitMachine(FibMachine):
    engine = "multibit"


class FlatMachine(FibMachine):
    engine = "flat"


class IntervalMachine(FibMachine):
    engine = "interval"


SETTINGS = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
for machine in (FibMachine, BinaryMachine, MultibitMachine, FlatMachine, IntervalMachine):
    machine.TestCase.settings = SETTINGS
TestCompactEqualsGolden = FibMachine.TestCase
TestBinaryEqualsGolden = BinaryMachine.TestCase
TestMultibitEqualsGolden = MultibitMachine.TestCase
TestFlatEqualsGolden = FlatMachine.TestCase
TestIntervalEqualsGolden = IntervalMachine.TestCase


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sync", [name for name in STRATEGIES if name != "epoch"])
def test_every_strategy_equals_golden(sync: str, engine: str) -> None:
    """The same machine under each other strategy; where readers have a table of their own, they
    see what was published and nothing else."""
    machine = type(f"{engine}_{sync}", (FibMachine,), {"sync": sync, "engine": engine})
    run_state_machine_as_test(machine, settings=settings(SETTINGS, max_examples=EXAMPLES))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_length_matches_alone_and_nested(engine: str) -> None:
    """A prefix of each length, /0 to /32 and /0 to /128, is found, then its longer ones win."""
    for version, address, bits in ((4, "10.1.2.3", 32), (6, "2001:db8:1:2:3:4:5:6", 128)):
        with FibMemory(on(ALL_LENGTHS, engine)) as fib:
            fib.groups(range(1, 140))
            golden = Golden()
            for length in (*range(0, bits + 1, 2), *range(1, bits + 1, 2)):
                network = ipaddress.ip_network(f"{address}/{length}", strict=False)
                route = Row(network, length + 1)
                assert fib.apply(route) == (0, 1, 1)
                golden.apply(route)
                borders = golden.borders()
                assert [golden.lookup(a) for a in borders] == fib.lookup(borders), (version, length)
            for length in range(bits, -1, -3):
                network = ipaddress.ip_network(f"{address}/{length}", strict=False)
                assert fib.apply(Row(network, 0)) == (0, 1, 1)
                golden.apply(Row(network, 0))
                borders = golden.borders()
                assert [golden.lookup(a) for a in borders] == fib.lookup(borders), (version, length)


@pytest.mark.parametrize("engine", ENGINES)
@given(st.lists(changes(4), max_size=30), st.lists(changes(6), max_size=30))
@settings(max_examples=20, deadline=None)
def test_row_by_row_equals_sorted_bulk(engine: str, four: list[Row], six: list[Row]) -> None:
    """A table loaded in sorted runs is the table loaded row by row, digest included."""
    params = on(SMALL, engine)
    with FibMemory(params) as single, FibMemory(params) as bulk:
        for fib in (single, bulk):
            fib.groups(range(1, GROUPS + 1))
        for route in [*four, *six]:
            assert single.apply(route)[0] == 0
        rows = rows_of([*four, *six])
        lib.rows_sort(rows, len(rows))
        assert bulk.apply_rows(rows)[0] == 0
        for fib in (single, bulk):
            fib.publish()
        assert single.walk() == bulk.walk()
        assert single.header.published.digest == bulk.header.published.digest


@pytest.mark.parametrize("engine", ENGINES)
def test_a_mixed_batch_is_answered_key_by_key(engine: str) -> None:
    """IPv4 and IPv6 keys of one batch, more than one stage of them, each get their own answer."""
    with FibMemory(on(SMALL, engine)) as fib:
        fib.groups([1, 2])
        assert fib.apply(row_of("10.0.0.0/8", 1), row_of("2001:db8::/32", 2)) == (0, 2, 2)
        addresses = ["10.9.8.7", "2001:db8::9", "11.0.0.1", "2001:db9::1"] * 50
        assert fib.lookup(addresses) == [1, 2, 0, 0] * 50
        answers = ffi.new("struct fib_answer[]", 200)
        generation = ffi.new("uint64_t *")
        assert lib.fib_lookup(fib.reader, fib.keys(addresses), answers, 200, generation) == 0
        assert [answers[i].group for i in range(200)] == [1, 2, 0, 0] * 50


def test_a_crowd_turns_into_directories_and_back() -> None:
    """Hundreds of IPv6 prefixes side by side, then hosts in one /64, with ids of one byte and of
    two: every answer stays right while the table grows, shrinks and is taken over; batches with
    AVX-512 and without answer alike."""
    crowd = [f"2001:db8:{i:x}::/48" for i in range(0, 600, 2)]
    hosts = [f"2001:db8:0:1::{i:x}/128" for i in range(0, 160, 2)]
    wide = FibParams(max_routes4=1, max_routes6=900, max_groups=400, max_adjacencies=2)
    for first in (1, 290):
        with FibMemory(on(wide, "interval")) as fib:
            fib.groups(range(1, 400))
            golden = Golden()
            table = ["::/0", "2000::/3", "2001:db8::/29", "2001:db8::/32", *crowd, *hosts]
            changes = [row_of(prefix, first + i % 100) for i, prefix in enumerate(table)]
            changes += [row_of(prefix, 0) for prefix in table[::-1] if prefix != "::/0"]
            for at in range(0, len(changes), 40):
                assert fib.apply(*changes[at : at + 40])[:2] == (0, len(changes[at : at + 40]))
                golden.apply_all(changes[at : at + 40])
                addresses = golden.borders()[:: 1 + len(golden.routes) // 40]
                truth = [golden.lookup(a) for a in addresses]
                for portable in (1, 0):
                    lib.cpu_force_portable(portable)
                    assert truth == fib.lookup(addresses)
                if at % 200 == 0:
                    fib.open()
                    assert golden.listed() == fib.walk()
            assert golden.listed() == fib.walk() == [row_of("::/0", first)]


def test_a_full_table_is_refused_row_by_row() -> None:
    """The row that would be one too many is refused and changes nothing; those before it stand."""
    for engine in ENGINES:
        with FibMemory(on(replace(SMALL, max_routes6=5), engine)) as fib:
            fib.groups([1])
            rows = [row_of(f"2001:db8:{i:x}::/48", 1) for i in range(1, 9)]
            result, applied, changed = fib.apply(*rows)
            assert (result, applied, changed) == (-errno.E2BIG, 5, 5)
            assert fib.walk() == rows[:5]
            assert fib.apply(row_of("2001:db8:1::/48", 0), row_of("2001:db8:8::/48", 1))[0] == 0
            assert lib.fib_check(fib.writer) == 0
