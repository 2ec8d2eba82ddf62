"""The core over real segments: what is asked of it is found by a reader of the FIB."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from ribcage.shared._core import lib

from ribcage.controlplane.routes.sources.connected import CONNECTED
from ribcage.controlplane.routes.sources.neighbour import NEIGHBOUR
from ribcage.controlplane.routes.sources.runtime import RUNTIME
from ribcage.controlplane.routes.sources.static import STATIC
from ribcage.controlplane.values.neighbour import Neighbour
from ribcage.controlplane.values.nexthop import BLACKHOLE, Hop, Path, host, nexthop_set
from ribcage.controlplane.values.wanted import Wanted
from ribcage.shared.memory.fib_records import AdjacencyState, FibKind
from ribcage.shared.memory.rows import rows_of
from ribcage.shared.plan import NexthopPlan, RoutePlan
from tests.controlplane.routes.core_calls import add, differences, run

A, B = ip_address("10.0.1.9"), ip_address("10.0.2.9")


def test_connected_networks_are_looked_up(router: Any) -> None:
    async def scenario() -> None:
        router.ports()
        await router.core.sync(CONNECTED)
        kinds = {
            text: router.reader.lookup(text).kind
            for text in ("10.0.1.1", "10.0.1.7", "10.0.1.255", "2001:db8:2::9", "192.0.2.1")
        }
        assert kinds == {
            "10.0.1.1": FibKind.RECEIVE,
            "10.0.1.7": FibKind.GLEAN,
            "10.0.1.255": FibKind.BROADCAST,
            "2001:db8:2::9": FibKind.GLEAN,
            "192.0.2.1": FibKind.NONE,
        }
        glean = router.reader.lookup("10.0.2.7")
        assert (glean.port, glean.mtu, glean.nexthop) == (2, 1500, None)
        assert await differences(router.core) == []

    run(scenario)


def test_a_route_and_its_mac_reach_the_reader(router: Any) -> None:
    async def scenario() -> None:
        router.ports()
        add(router.core, "203.0.113.0/24", host(2, B))
        answer = router.reader.lookup("203.0.113.7")
        assert (answer.kind, answer.state) == (FibKind.FORWARD, AdjacencyState.INCOMPLETE)
        router.core.neighbour(Hop(2, B), Neighbour(b"\2\0\0\0\0\x99"))
        answer = router.reader.lookup("203.0.113.7")
        assert (answer.state, answer.target_mac) == (AdjacencyState.RESOLVED, b"\2\0\0\0\0\x99")
        assert (answer.port, answer.nexthop) == (2, B)
        assert await differences(router.core) == []

    run(scenario)


def test_a_next_hop_change_is_one_word_for_a_thousand_routes(router: Any) -> None:
    """Prefix-independent convergence: a MAC or a dead path changes no route word."""

    async def scenario() -> None:
        router.ports()
        both = nexthop_set([Path(Hop(1, A)), Path(Hop(2, B))])
        number = router.core.nexthops.intern(both)
        wanted = [Wanted(ip_network((i << 8, 24)), RUNTIME.number, both) for i in range(1000)]
        rows = rows_of(one.row(number) for one in wanted)
        router.core.publisher.commit(rows, len(rows), 1)
        words = router.core.publisher.counters.changes
        router.core.neighbour(Hop(1, A), Neighbour(b"\2\0\0\0\0\x11"))
        router.core.put_port(replace(router.core.topology.ports[2], up=False))
        assert router.core.publisher.counters.changes == words
        ports = {router.reader.lookup(f"0.0.{i}.1", hash=i).port for i in range(256)}
        assert ports == {1}

    run(scenario)


def test_a_dead_next_hop_lets_the_runner_up_take_over_and_return(router: Any) -> None:
    async def scenario() -> None:
        router.ports()
        core, reader = router.core, router.reader
        add(core, "203.0.113.0/24", host(2, B), metric=0)
        add(core, "203.0.113.0/24", host(1, A), metric=5)
        assert reader.lookup("203.0.113.1").port == 2
        port = core.topology.ports[2]
        core.put_port(replace(port, up=False))
        assert reader.lookup("203.0.113.1").port == 1
        core.put_port(port)
        assert reader.lookup("203.0.113.1").port == 2
        core.drop_port(2)
        assert reader.lookup("203.0.113.1").port == 1
        assert await differences(core) == []

    run(scenario)


def test_a_route_without_any_living_next_hop_leaves_the_fib(router: Any) -> None:
    async def scenario() -> None:
        router.ports()
        add(router.core, "203.0.113.0/24", host(2, B))
        add(router.core, "203.0.0.0/16", BLACKHOLE)
        router.core.put_port(replace(router.core.topology.ports[2], up=False))
        assert router.reader.lookup("203.0.113.1").kind == FibKind.BLACKHOLE

    run(scenario)


def test_a_route_added_over_a_dead_port_waits_for_it(router: Any) -> None:
    async def scenario() -> None:
        router.ports()
        port = router.core.topology.ports[2]
        router.core.put_port(replace(port, up=False))
        add(router.core, "203.0.113.0/24", host(2, B))
        assert router.reader.lookup("203.0.113.1").kind == FibKind.NONE
        router.core.put_port(port)
        assert router.reader.lookup("203.0.113.1").port == 2

    run(scenario)


def test_static_routes_follow_the_plan(router: Any) -> None:
    """A reload adds, keeps and sweeps; a row that cannot be had is listed and retried."""

    def plan(*routes: tuple[str, str]) -> Any:
        rows = tuple(RoutePlan(dst, nexthops=(NexthopPlan(via=via),)) for dst, via in routes)
        return replace(router.plan, routes=rows)

    async def scenario() -> None:
        router.ports()
        core = router.core
        core.replan(plan(("198.51.100.0/24", "10.0.1.9"), ("192.0.2.0/24", "10.9.9.9")))
        await core.sync(STATIC)
        assert str(router.reader.match("198.51.100.1").prefix) == "198.51.100.0/24"
        assert [row.prefix for row in core.rejected] == ["192.0.2.0/24"]
        words = core.publisher.counters.changes
        await core.sync(STATIC)
        assert core.publisher.counters.changes == words, "an unchanged route is not rewritten"
        core.replan(plan(("192.0.2.0/24", "10.0.2.9")))
        await core.sync(STATIC)
        assert router.reader.match("198.51.100.1") is None
        assert router.reader.lookup("192.0.2.1").port == 2
        assert core.rejected == []

    run(scenario)


def test_neighbours_become_host_routes_and_go(router: Any) -> None:
    async def scenario() -> None:
        core = router.core
        router.ports()
        await core.sync(CONNECTED)
        core.neighbours[Hop(1, A)] = Neighbour(b"\2\0\0\0\0\x11")
        await core.sync(NEIGHBOUR)
        answer = router.reader.lookup("10.0.1.9")
        assert (answer.kind, answer.target_mac) == (FibKind.FORWARD, b"\2\0\0\0\0\x11")
        del core.neighbours[Hop(1, A)]
        await core.sync(NEIGHBOUR)
        assert router.reader.lookup("10.0.1.9").kind == FibKind.GLEAN

    run(scenario)


def test_unused_sets_are_given_back_after_the_grace_of_publishes(router: Any) -> None:
    async def scenario() -> None:
        router.ports()
        core = router.core
        add(core, "203.0.113.0/24", host(2, B))
        number = core.nexthops.intern(host(2, B))
        add(core, "203.0.113.0/24", host(2, B), remove=True)
        for i in range(6):
            core.nexthops.reclaim(core.publisher.counters.publishes)
            add(core, f"198.51.{i}.0/24", BLACKHOLE)
        assert core.rib.nexthop(number) is None
        assert router.reader.group(number) is None
        assert core.forwarding.adjacency_of(Hop(2, B)) is None
        assert await differences(core) == []
        again = core.nexthops.intern(host(1, A))
        assert router.reader.group(again) is not None

    run(scenario)


def test_verify_finds_what_was_put_in_behind_its_back(router: Any) -> None:
    """A word changed in the FIB alone, and a row in the RIB alone, are each a difference."""

    async def scenario() -> None:
        router.ports()
        core = router.core
        add(core, "203.0.113.0/24", host(2, B))
        add(core, "198.51.100.0/24", host(1, A))
        wrong = core.nexthops.intern(BLACKHOLE)
        rows = rows_of([Wanted(ip_network("203.0.113.0/24"), 1, BLACKHOLE).row(wrong)])
        with core.fib.guard():
            core.fib.apply(rows, 1)
        found = await differences(core)
        assert {"what": "route", "dst": "203.0.113.0/24"}.items() <= found[0].items()
        assert (found[0]["rib"], found[0]["fib"]) == ("via 10.0.2.9 dev eth2", "blackhole")
        assert any(one["what"] == "lookup" for one in found)
        rows[0].nexthop = 0
        with core.fib.guard():
            core.fib.apply(rows, 1)
        assert (await differences(core))[0]["fib"] == "no route"

    run(scenario)


def test_a_full_table_is_refused_by_name_and_the_rest_stays(router: Any) -> None:
    async def scenario() -> None:
        core = router.core
        number = core.nexthops.intern(BLACKHOLE)
        wanted = [
            Wanted(ip_network((0x0B000000 + (i << 8), 24)), RUNTIME.number, BLACKHOLE)
            for i in range(2003)
        ]
        from ribcage.shared.errors import RibcageError

        try:
            rows = rows_of(one.row(number) for one in wanted)
            core.publisher.commit(rows, len(rows), 1)
        except RibcageError as error:
            assert error.code == "E_TABLE_FULL"
            assert "2000" in error.message
        else:
            raise AssertionError("2003 routes fitted into 2000")
        assert router.writer.published()["routes4"] == 2000
        assert core.rib.counts().selected[0] == 2000
        assert await differences(core) == []

    run(scenario)


def test_hosts_leave_the_small_numbers_to_routes(router: Any) -> None:
    """A host's set is numbered above the popular range; when routes want the same next hop they
    get a small number, the host route follows, and the large one is given back."""

    async def scenario() -> None:
        router.ports()
        core = router.core
        await core.sync(CONNECTED)
        core.forwarding.neighbour(Hop(2, B), Neighbour(bytes(6), "reachable", 1))
        await core.sync(NEIGHBOUR)
        large = router.reader.lookup("10.0.2.9").group
        assert large >= lib.RIB_POPULAR
        add(core, "203.0.113.0/24", host(2, B))
        small = router.reader.lookup("203.0.113.1").group
        assert 0 < small < lib.RIB_POPULAR
        await core.sync(NEIGHBOUR)
        assert router.reader.lookup("10.0.2.9").group == small
        for i in range(6):
            core.nexthops.reclaim(core.publisher.counters.publishes)
            add(core, f"198.51.{i}.0/24", BLACKHOLE)
        assert core.rib.nexthop(large) is None
        add(core, "203.0.114.0/24", host(2, B))
        assert router.reader.lookup("203.0.114.1").group == small
        assert await differences(core) == []

    run(scenario)
    answer = router.reader.lookup("203.0.113.1")
    router.restart()
    assert router.reader.lookup("203.0.113.1") == answer
    assert router.core.nexthops.intern(host(2, B)) == answer.group
