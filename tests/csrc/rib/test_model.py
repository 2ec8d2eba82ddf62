"""The RIB against a dictionary: every sequence of operations ends with the same routes, the same
choices, and a FIB that was fed the reported changes and nothing else."""

from ipaddress import IPv4Address, ip_address, ip_network

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ribcage.shared._core import ffi, lib

from ribcage.controlplane.rib.mapping import RibParams, anonymous_rib
from ribcage.controlplane.rib.records import (
    Filter,
    Route,
)
from ribcage.controlplane.rib.segment import Rib
from ribcage.controlplane.values.nexthop import host
from ribcage.shared.addresses import Network
from ribcage.shared.memory.rows import Row, row_at, rows_of

PREFIXES = [
    ip_network(text)
    for text in (
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.0.0.0/16",
        "10.0.1.0/24",
        "10.0.1.128/25",
        "10.255.255.255/32",
        "192.0.2.0/24",
        "::/0",
        "2001:db8::/32",
        "2001:db8::/48",
        "2001:db8:0:1::/64",
        "fe80::/10",
        "ff00::1/128",
    )
]
SOURCES = [1, 2, 3, 6]
SETS = 5

prefixes = st.sampled_from(PREFIXES)
sources = st.sampled_from(SOURCES)
rows = st.builds(
    Row,
    prefix=prefixes,
    nexthop=st.integers(0, SETS),
    source=sources,
    distance=st.sampled_from([1, 1, 20]),
    metric=st.sampled_from([0, 0, 100]),
    flags=st.sampled_from([0, 0, 0, lib.ROW_ONLY]),
)

Key = tuple[Network, int, int]  # prefix, source, metric


class RibMachine(RuleBasedStateMachine):
    """`want` is the table as it should be, `fib` what the reported changes built."""

    @initialize()
    def start(self) -> None:
        self.memory = anonymous_rib(RibParams(200, 64, 128, 1))
        self.rib = Rib(self.memory, True)
        self.want: dict[Key, tuple[int, int, int]] = {}  # nexthop, distance, generation
        self.dead: set[int] = set()
        self.generation = dict.fromkeys(SOURCES, 0)
        self.fib: dict[Network, int] = {}
        self.reselected = True  # no reselect outstanding
        for i in range(1, SETS + 1):
            assert self.rib.nexthop_intern(host(0, IPv4Address(f"192.0.2.{i}"))) == i

    # -- operations

    @rule(batch=st.lists(rows, min_size=1, max_size=12))
    def apply(self, batch: list[Row]) -> None:
        before = dict(self.fib)
        applied, changes = self.rib.apply_rows(batch)
        assert (applied.applied, applied.error) == (len(batch), 0)
        self.take(changes)
        assert len({change.prefix for change in changes}) == len(changes), "merged in one call"
        assert all(before.get(c.prefix, 0) != c.nexthop for c in changes), "only real changes"
        for row in batch:
            if row.flags & lib.ROW_ONLY:
                for key in [k for k in self.want if k[:2] == (row.prefix, row.source)]:
                    if key[2] != row.metric or row.nexthop == 0:
                        del self.want[key]
            key = (row.prefix, row.source, row.metric)
            if row.nexthop == 0:
                self.want.pop(key, None)
            else:
                self.want[key] = (row.nexthop, row.distance, self.generation[row.source])

    @rule(batch=st.lists(rows, min_size=2, max_size=12), room=st.integers(1, 3))
    def apply_with_little_room(self, batch: list[Row], room: int) -> None:
        array, count = rows_of(batch), len(batch)
        changes = ffi.new("struct route_row[]", room)
        done = 0
        while done < count:
            applied = self.rib.apply(array + done, count - done, changes, room)
            assert applied.error == 0 and applied.applied > 0
            self.take([row_at(changes[i]) for i in range(applied.changes)])
            done += applied.applied
        self.apply(batch)  # the second time changes the model only

    @rule(nexthop=st.integers(1, SETS), dead=st.booleans())
    def liveness(self, nexthop: int, dead: bool) -> None:
        assert self.rib.set_dead(nexthop, dead) == ((nexthop in self.dead) != dead)
        (self.dead.add if dead else self.dead.discard)(nexthop)
        self.reselected = False

    @rule(budget=st.integers(1, 40), room=st.integers(1, 5))
    def reselect(self, budget: int, room: int) -> None:
        changes = ffi.new("struct route_row[]", room)
        while True:
            step = self.rib.reselect(changes, room, budget)
            self.take([row_at(changes[i]) for i in range(step.changes)])
            if not step.more:
                break
        self.reselected = True

    @rule(source=sources)
    def mark_stale(self, source: int) -> None:
        self.generation[source] += 1
        assert self.rib.mark_stale(source) == self.generation[source]

    @rule(source=sources, budget=st.integers(1, 40), room=st.integers(1, 5))
    def sweep(self, source: int, budget: int, room: int) -> None:
        changes, slot = ffi.new("struct route_row[]", room), 0
        while True:
            step = self.rib.sweep(source, self.generation[source], changes, room, slot, budget)
            self.take([row_at(changes[i]) for i in range(step.changes)])
            slot = step.slot
            if not step.more:
                break
        for key, (_, _, generation) in list(self.want.items()):
            if key[1] == source and generation != self.generation[source]:
                del self.want[key]

    @rule()
    def published(self) -> None:
        self.rib.published(self.rib.changed())
        assert self.rib.pending(ffi.new("struct route_row[1]"), 1) == (0, self.rib.changed())

    @rule()
    def reopen(self) -> None:
        """A successor finds everything but what is private, sees nothing to mend, and publishes
        what its predecessor perhaps had not."""
        lib.rib_close(self.rib._rib)
        self.rib = Rib(self.memory, False)
        # A set died and its prefixes wait to be selected again: the successor selects by the newest
        # at once.
        assert self.rib.recovery.repaired == 0 or self.rib.recovery.reselect
        assert self.rib.recovery.rows == len(self.want)
        if self.rib.recovery.reselect:
            self.reselected = False
        rows, cursor = ffi.new("struct route_row[8]"), 0
        while True:
            filled, cursor = self.rib.pending(rows, 8, cursor)
            if filled == 0:
                break
            self.take([row_at(rows[i]) for i in range(filled)])

    @rule()
    def listing_begins(self) -> None:
        self.rib.walk(None, 1)

    @rule()
    def listing_is_released(self) -> None:
        self.rib.walk_release()

    # -- what always holds

    def take(self, changes: list[Row]) -> None:
        for change in changes:
            if change.nexthop:
                self.fib[change.prefix] = change.nexthop
            else:
                self.fib.pop(change.prefix, None)

    def best(self, prefix: Network) -> int:
        live = [
            (distance, key[2], key[1], nexthop)
            for key, (nexthop, distance, _) in self.want.items()
            if key[0] == prefix and nexthop not in self.dead
        ]
        return min(live)[3] if live else 0

    @invariant()
    def candidates_are_the_models(self) -> None:
        for prefix in PREFIXES:
            found = {
                (r.prefix, r.source, r.metric): (r.nexthop, r.distance, r.generation)
                for r in self.rib.candidates(prefix)
            }
            assert found == {k: v for k, v in self.want.items() if k[0] == prefix}
            ranks = [(r.distance, r.metric, r.source) for r in self.rib.candidates(prefix)]
            assert ranks == sorted(ranks)

    @invariant()
    def the_fib_has_what_is_selected(self) -> None:
        for prefix in PREFIXES:
            best = self.rib.best(prefix)
            assert self.fib.get(prefix, 0) == (best.nexthop if best else 0)
            assert sum(r.selected for r in self.rib.candidates(prefix)) == (best is not None)

    @precondition(lambda self: self.reselected)
    @invariant()
    def the_best_is_selected(self) -> None:
        assert {p: self.best(p) for p in PREFIXES if self.best(p)} == self.fib

    @invariant()
    def counts_add_up(self) -> None:
        counts = self.rib.counts()
        assert counts.rows == len(self.want)
        assert sum(counts.routes) == len({key[0] for key in self.want})
        assert sum(counts.selected) == len(self.fib)
        for source in SOURCES:
            mine = {k: v for k, v in self.want.items() if k[1] == source}
            assert counts.source[source] == len(mine)
            assert counts.source6[source] == sum(k[0].version == 6 for k in mine)
            stale = sum(v[2] != self.generation[source] for v in mine.values())
            assert counts.stale[source] == stale
        for i in range(1, SETS + 1):
            assert self.rib.nexthop_refs(i) == sum(v[0] == i for v in self.want.values())

    @rule(
        limit=st.integers(1, 7),
        wanted=st.sampled_from(
            [
                Filter(),
                Filter(family=4),
                Filter(family=6),
                Filter(source=3),
                Filter(selected=True),
                Filter(stale=True),
                Filter(within=ip_network("10.0.0.0/9")),
                Filter(within=ip_network("2001:db8::/33")),
            ]
        ),
    )
    def the_listing_is_sorted_and_whole(self, limit: int, wanted: Filter) -> None:
        listed: list[Route] = []
        cursor: str | None = None
        while True:
            some, cursor = self.rib.walk(cursor, limit, wanted)
            assert len(some) <= limit
            listed += some
            if cursor is None:
                break
        expected = sorted(
            (r for p in PREFIXES for r in self.rib.candidates(p) if passes(r, wanted)), key=order
        )
        assert listed == expected

    @rule(
        address=st.sampled_from(
            ["10.0.1.200", "10.0.1.1", "10.9.9.9", "192.0.2.7", "2001:db8::1", "2001:db8:0:1::9"]
        )
    )
    def the_longest_match_is_found(self, address: str) -> None:
        covering = [p for p in self.fib if ip_address(address) in p]
        found = self.rib.match(ip_address(address))
        assert (found.prefix if found else None) == max(
            covering, key=lambda p: p.prefixlen, default=None
        )

    def teardown(self) -> None:
        if hasattr(self, "rib"):
            self.rib.close()


def order(route: Route) -> tuple[int, bytes, int, int, int, int]:
    network = route.prefix
    return (
        network.version,
        network.network_address.packed,
        network.prefixlen,
        route.distance,
        route.metric,
        route.source,
    )


def passes(route: Route, wanted: Filter) -> bool:
    network = route.prefix
    inside = True
    if wanted.within:
        outer = wanted.within
        inside = outer.version == network.version and network.subnet_of(outer)  # type: ignore[arg-type]
    return (
        inside
        and wanted.family in (0, network.version)
        and wanted.source in (0, route.source)
        and (route.selected or not wanted.selected)
        and (route.stale or not wanted.stale)
    )


TestRib = RibMachine.TestCase
TestRib.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
