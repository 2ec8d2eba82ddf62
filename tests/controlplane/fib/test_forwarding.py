"""The small tables: a change of a next hop is a word, whatever the number of routes behind it."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from ribcage.shared._core import lib

from ribcage.controlplane.fib.forwarding import Forwarding
from ribcage.controlplane.values.neighbour import Neighbour
from ribcage.controlplane.values.nexthop import (
    BLACKHOLE,
    NOWHERE,
    Hop,
    NexthopSet,
    Path,
    glean,
    host,
    nexthop_set,
)

A, B = ip_address("10.0.1.9"), ip_address("10.0.2.9")
BOTH = nexthop_set([Path(Hop(1, A)), Path(Hop(2, B), 3)])


def test_a_set_becomes_a_group_of_its_adjacencies(bench: Any) -> None:
    bench.forwarding.define(5, BOTH)
    plan = bench.tables.groups[5]
    hops = [bench.tables.adjacencies[entry].hop for entry in plan.buckets]
    assert len(plan.buckets) == 64
    assert (hops.count(Hop(1, A)), hops.count(Hop(2, B))) == (16, 48)


def test_defining_the_same_again_writes_nothing(bench: Any) -> None:
    bench.forwarding.define(5, BOTH)
    bench.tables.writes.clear()
    bench.forwarding.define(5, BOTH)
    assert bench.tables.writes == []


def test_a_new_mac_is_one_word(bench: Any) -> None:
    """Ten groups share the hop; one adjacency record is written and no group."""
    for group in range(1, 11):
        paths = [Path(Hop(1, A)), Path(Hop(2, B), group)]
        bench.forwarding.define(group, nexthop_set(paths))
    bench.tables.writes.clear()
    assert bench.forwarding.neighbour(Hop(1, A), Neighbour(b"\2\0\0\0\0\7"))
    assert len(bench.tables.writes) == 1
    record = bench.tables.adjacencies[bench.forwarding.adjacency_of(Hop(1, A))]
    assert (record.state, record.target_mac) == (lib.ADJACENCY_RESOLVED, b"\2\0\0\0\0\7")
    assert not bench.forwarding.neighbour(Hop(1, A), Neighbour(b"\2\0\0\0\0\7", "stale"))
    assert bench.forwarding.neighbour(Hop(1, A), Neighbour(None, "failed"))
    record = bench.tables.adjacencies[bench.forwarding.adjacency_of(Hop(1, A))]
    assert record.state == lib.ADJACENCY_INCOMPLETE


def test_a_port_that_goes_down_leaves_the_groups_and_returns(bench: Any) -> None:
    """Its paths leave; a set without another path is dead and its group says unreachable."""
    bench.forwarding.define(1, BOTH)
    bench.forwarding.define(2, host(2, B))
    bench.forwarding.define(3, glean(2))
    bench.forwarding.define(4, BLACKHOLE)
    assert bench.forwarding.liveness_changes() == ([], [])
    before = bench.tables.groups[1]
    port = bench.topology.ports[2]
    bench.forwarding.put_port(replace(port, up=False))
    assert bench.forwarding.liveness_changes() == ([2, 3], [])
    assert bench.tables.groups[2] == NOWHERE
    assert len(set(bench.tables.groups[1].buckets)) == 1
    bench.forwarding.put_port(port)
    assert bench.forwarding.liveness_changes() == ([], [2, 3])
    assert sorted(bench.tables.groups[1].buckets) == sorted(before.buckets)


def test_a_lost_network_kills_its_gateways(bench: Any) -> None:
    bench.forwarding.define(2, host(2, B))
    bench.forwarding.put_port(replace(bench.topology.ports[2], addresses=()))
    assert bench.forwarding.liveness_changes() == ([2], [])


def test_a_removed_port_kills_its_sets_and_keeps_its_index(bench: Any) -> None:
    bench.forwarding.put_port(bench.topology.ports[2])
    bench.forwarding.define(2, host(2, B))
    bench.forwarding.drop_port(2)
    assert bench.forwarding.liveness_changes() == ([2], [])
    assert 2 not in bench.tables.ports
    assert bench.topology.index_for("eth2") == 2


def test_forgetting_a_set_frees_its_adjacencies_only_later(bench: Any) -> None:
    """Cleared after two publishes, its id taken again after two more; a shared hop stays."""
    forwarding = bench.forwarding
    forwarding.define(1, BOTH)
    forwarding.define(2, host(1, A))
    shared, lonely = (forwarding.adjacency_of(hop) for hop in (Hop(1, A), Hop(2, B)))
    forwarding.forget(1)
    for expected in ({shared, lonely}, {shared, lonely}, {shared}):
        forwarding.tidy()
        assert set(bench.tables.adjacencies) == expected
        forwarding.published()
    hops = [Hop(1, ip_address(f"10.0.1.{i}")) for i in (77, 78)]
    forwarding.define(3, host(1, hops[0].gateway))
    assert forwarding.adjacency_of(hops[0]) != lonely
    forwarding.published()
    forwarding.define(4, host(1, hops[1].gateway))
    assert forwarding.adjacency_of(hops[1]) == lonely


def test_a_hop_wanted_again_keeps_its_adjacency(bench: Any) -> None:
    bench.forwarding.define(1, host(1, A))
    kept = bench.forwarding.adjacency_of(Hop(1, A))
    bench.forwarding.forget(1)
    bench.forwarding.published()
    bench.forwarding.define(2, host(1, A))
    for _ in range(3):
        bench.forwarding.published()
        bench.forwarding.tidy()
    assert set(bench.tables.adjacencies) == {kept}


def test_a_changed_set_lets_go_of_its_old_hops(bench: Any) -> None:
    bench.forwarding.define(1, host(1, A))
    bench.forwarding.define(1, host(2, B))
    bench.forwarding.published()
    bench.forwarding.published()
    bench.forwarding.tidy()
    assert [record.hop for record in bench.tables.adjacencies.values()] == [Hop(2, B)]


def test_a_successor_writes_nothing_when_nothing_changed(bench: Any) -> None:
    """Takeover: ids, buckets and records are read back, and the same state is left alone."""
    first = bench.forwarding
    sets: dict[int, NexthopSet] = {1: BOTH, 2: host(2, B), 3: glean(1), 4: BLACKHOLE}
    first.neighbour(Hop(1, A), Neighbour(b"\2\0\0\0\0\7"))
    for port in list(bench.topology.ports.values()):
        first.put_port(port)
    for group, nexthops in sets.items():
        first.define(group, nexthops)
    ports = dict(bench.topology.ports)
    bench.topology.ports.clear()
    bench.topology.indices.clear()
    bench.tables.writes.clear()

    successor = Forwarding(bench.tables, bench.topology, {})
    successor.recover()
    successor.restore()
    for group, nexthops in sets.items():
        successor.define(group, nexthops)
    assert bench.topology.ports == ports
    for port in ports.values():
        successor.put_port(port)
    assert bench.tables.writes == []
    assert successor.strays(set(sets)) == []
    assert successor.strays({1, 2}) == [3, 4]
    assert successor.liveness_changes() == ([], [])


def test_forgetting_an_unknown_group_is_harmless(bench: Any) -> None:
    bench.forwarding.forget(77)
    assert bench.tables.writes == []


@pytest.mark.parametrize("kind", [BLACKHOLE])
def test_a_set_without_paths_needs_no_adjacency(bench: Any, kind: NexthopSet) -> None:
    bench.forwarding.define(9, kind)
    assert bench.tables.adjacencies == {}
    assert bench.tables.groups[9].kind == lib.FIB_KIND_BLACKHOLE
