"""Route requests: what is asked is in the FIB, what is wrong is named and changes nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from ribcage.shared._core import lib

from ribcage.controlplane.routes.loads import Loads
from ribcage.controlplane.routes.requests import RouteRequests
from ribcage.controlplane.routes.sources.connected import CONNECTED
from ribcage.controlplane.routes.sources.static import STATIC
from ribcage.controlplane.workers.visible import Look
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.fib_records import FibKind
from ribcage.shared.plan import NexthopPlan, RoutePlan

VIA1, VIA2 = {"via": "10.0.1.9"}, {"via": "10.0.2.9"}
NET = "203.0.113.0/24"


class Follower:
    """A worker that uses every generation at once."""

    def __init__(self, core: Any, behind: int = 0) -> None:
        self.core = core
        self.behind = behind

    def look(self) -> Look:
        return Look(0, True, self.core.publisher.generation - self.behind, 1, False)


def via(router: Any, address: str, flow: int = 0) -> str:
    """The next hop of a packet to this address."""
    return str(router.reader.lookup(address, hash=flow).nexthop)


Scenario = Callable[[Any, RouteRequests], Awaitable[None]]


@pytest.fixture
def run(router: Any) -> Callable[[Scenario], None]:
    """Runs a scenario on a router with two connected ports and one static route."""

    def runner(scenario: Scenario) -> None:
        async def whole() -> None:
            core = router.core
            router.ports()
            static = RoutePlan("192.0.2.0/24", nexthops=(NexthopPlan(via="10.0.1.9"),))
            core.replan(replace(core.plan, routes=(static,)))
            await core.sync(CONNECTED)
            await core.sync(STATIC)
            await scenario(router, RouteRequests(core, lambda: [Follower(core)]))
            assert (await core.verify(200))["differences"] == []

        asyncio.run(whole())

    return runner


def test_an_added_route_is_used_and_its_stamps_are_in_order(run: Any) -> None:
    async def scenario(router: Any, routes: RouteRequests) -> None:
        result = await routes.add({"dst": NET, "nexthops": [VIA2]})
        assert via(router, "203.0.113.7") == "10.0.2.9"
        stamps = [result["stamps"][name] for name in ("t0", "t1", "t2", "t3", "t4")]
        assert stamps == sorted(stamps)
        assert result["workers"] == {"seen": 1, "of": 1}
        assert (result["selected"], result["replaced"]) == (True, False)

    run(scenario)


def test_adding_again_replaces_the_next_hops_in_one_step(run: Any) -> None:
    async def scenario(router: Any, routes: RouteRequests) -> None:
        await routes.add({"dst": NET, "nexthops": [VIA2]})
        words = router.core.publisher.counters.changes
        assert (await routes.add({"dst": NET, "nexthops": [VIA1]}))["replaced"]
        assert via(router, "203.0.113.7") == "10.0.1.9"
        assert router.core.publisher.counters.changes == words + 1

    run(scenario)


def test_adding_what_is_there_changes_nothing(run: Any) -> None:
    """No generation, no update, and it is said; a distance or weight that differs is a change."""

    async def scenario(router: Any, routes: RouteRequests) -> None:
        first = await routes.add({"dst": NET, "nexthops": [VIA1, VIA2]})
        publishes = router.core.publisher.counters.publishes
        again = await routes.add({"dst": NET, "nexthops": [VIA2, VIA1]})
        assert (again["unchanged"], again["replaced"], again["selected"]) == (True, False, True)
        assert again["generation"] == first["generation"]
        assert again["workers"] == {"seen": 1, "of": 1}
        assert router.core.publisher.counters.publishes == publishes
        asked = {"dst": NET, "nexthops": [VIA1, VIA2], "dry_run": True}
        assert (await routes.add(asked))["unchanged"] is True
        for other in ({"distance": 7}, {"nexthops": [{**VIA1, "weight": 2}, VIA2]}):
            changed = await routes.add({"dst": NET, "nexthops": [VIA1, VIA2], **other})
            assert (changed["unchanged"], changed["replaced"]) == (False, True)

    run(scenario)


def test_of_two_changes_at_once_the_last_one_counts(run: Any) -> None:
    """One that the RIB does not show yet is not overtaken by "it is so already"."""

    async def scenario(router: Any, routes: RouteRequests) -> None:
        await routes.add({"dst": NET, "nexthops": [VIA1]})
        router.core.publisher.max_delay_ns = 50_000_000  # both wait for one batch
        await asyncio.gather(
            routes.add({"dst": NET, "nexthops": [VIA2]}),
            routes.add({"dst": NET, "nexthops": [VIA1]}),
        )
        best = router.core.rib.best(ip_network(NET))
        hops = router.core.forwarding.sets[best.nexthop].hops()
        assert [str(hop.gateway) for hop in hops] == [VIA1["via"]]

    run(scenario)


def test_deleting_promotes_the_runner_up(run: Any) -> None:
    async def scenario(router: Any, routes: RouteRequests) -> None:
        await routes.add({"dst": NET, "nexthops": [VIA2], "metric": 1})
        await routes.add({"dst": NET, "nexthops": [VIA1], "metric": 2})
        await routes.delete({"dst": NET, "metric": 1})
        assert via(router, "203.0.113.7") == "10.0.1.9"
        await routes.delete({"dst": NET})
        assert router.reader.lookup("203.0.113.7").kind == FibKind.NONE

    run(scenario)


def test_deleting_one_path_keeps_the_others_flows(run: Any) -> None:
    """K-003: of three paths one leaves; no flow of the two others moves."""

    async def scenario(router: Any, routes: RouteRequests) -> None:
        vias = [VIA1, VIA2, {"via": "10.0.2.10"}]
        await routes.add({"dst": NET, "nexthops": vias})
        before = [via(router, "203.0.113.7", h) for h in range(64)]
        await routes.delete({"dst": NET, "via": "10.0.2.10"})
        after = [via(router, "203.0.113.7", h) for h in range(64)]
        assert set(after) == {"10.0.1.9", "10.0.2.9"}
        for old, new in zip(before, after, strict=True):
            assert old in (new, "10.0.2.10")

    run(scenario)


def test_a_dry_run_changes_nothing(run: Any) -> None:
    async def scenario(router: Any, routes: RouteRequests) -> None:
        generation = router.core.publisher.generation
        assert (await routes.add({"dst": NET, "nexthops": [VIA2], "dry_run": True}))["dry_run"]
        assert router.core.rib.candidates(ip_network(NET)) == []
        assert router.core.publisher.generation == generation

    run(scenario)


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({}, "E_PREFIX", ""),
        ({"dst": "203.0.113.1/24", "nexthops": [VIA2]}, "E_HOST_BITS", "203.0.113.0/24?"),
        ({"dst": NET, "nexthops": [{"via": "10.9.9.9"}]}, "E_NEXTHOP", "10.0.1.0/24 (eth1)"),
        ({"dst": NET, "nexthops": [VIA2] * 33}, "E_NEXTHOPS", "at most 32"),
        ({"dst": NET, "nexthops": [VIA2], "metric": -1}, "E_RANGE", "metric"),
        ({"dst": NET, "nexthops": [VIA2], "distance": 0}, "E_RANGE", "1 to 255"),
        ({"dst": NET, "nexthops": [VIA2], "wait": "for ever"}, "E_TYPE", "published"),
        ({"dst": NET, "type": "warp"}, "E_TYPE", "blackhole"),
        ({"dst": "2001:db8:9::/48", "nexthops": [VIA2]}, "E_NEXTHOP", "IPv6"),
    ],
)
def test_a_wrong_add_is_named_and_changes_nothing(
    run: Any, params: dict[str, Any], code: str, words: str
) -> None:
    async def scenario(router: Any, routes: RouteRequests) -> None:
        rows = router.core.rib.counts().rows
        with pytest.raises(RibcageError) as caught:
            await routes.add(params)
        assert (caught.value.code, caught.value.exit_code) == (code, Exit.USAGE)
        assert words in str(caught.value)
        assert router.core.rib.counts().rows == rows

    run(scenario)


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({"dst": "198.51.100.0/24"}, "E_NOT_FOUND", "no route 198.51.100.0/24"),
        ({"dst": NET, "via": "10.0.2.77"}, "E_NOT_FOUND", "there is one via 10.0.2.9"),
        ({"dst": "192.0.2.0/24"}, "E_SOURCE", "static"),
        ({"dst": "10.0.1.0/24"}, "E_SOURCE", "connected"),
    ],
)
def test_a_delete_of_what_is_not_ours_says_what_is_there(
    run: Any, params: dict[str, Any], code: str, words: str
) -> None:
    async def scenario(router: Any, routes: RouteRequests) -> None:
        await routes.add({"dst": NET, "nexthops": [VIA2]})
        with pytest.raises(RibcageError) as caught:
            await routes.delete(params)
        assert (caught.value.code, caught.value.exit_code) == (code, Exit.NO)
        assert words in str(caught.value)

    run(scenario)


def test_an_ambiguous_delete_lists_the_metrics(run: Any) -> None:
    async def scenario(router: Any, routes: RouteRequests) -> None:
        for metric in (1, 2):
            await routes.add({"dst": NET, "nexthops": [VIA2], "metric": metric})
        with pytest.raises(RibcageError, match="metrics 1, 2"):
            await routes.delete({"dst": NET})

    run(scenario)


def test_a_worker_that_does_not_follow_times_out_and_the_route_stays(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(router: Any, routes: RouteRequests) -> None:
        late = RouteRequests(router.core, lambda: [Follower(router.core, behind=1)])
        monkeypatch.setattr("ribcage.controlplane.workers.visible.DEADLINE", 0.0)
        real = wait_with_deadline()
        monkeypatch.setattr("ribcage.controlplane.routes.requests.wait_visible", real)
        with pytest.raises(RibcageError) as caught:
            await late.add({"dst": NET, "nexthops": [VIA2]})
        assert caught.value.exit_code == Exit.TIMEOUT
        assert via(router, "203.0.113.7") == "10.0.2.9"

    run(scenario)


def wait_with_deadline() -> Any:
    from ribcage.controlplane.workers.visible import wait_visible

    async def wait(watches: Any, generation: int) -> Any:
        return await wait_visible(watches, generation, 0.0)

    return wait


# -- loads


def load(routes: RouteRequests, **params: Any) -> tuple[Loads, dict[str, Any]]:
    loads = Loads(routes.core, routes.finish)
    return loads, {"id": loads.begin(params).number}


def test_a_load_is_in_force_as_a_whole(run: Any) -> None:
    """Numbers go round the given next hops; addresses are gateways themselves."""

    async def scenario(router: Any, routes: RouteRequests) -> None:
        loads, number = load(routes, vias=["10.0.1.9", "10.0.2.9", "2001:db8:1::9"], atomic=True)
        text = "# table\n" + "".join(f"20.0.{i}.0/24 {i + 1}\n" for i in range(100))
        assert loads.chunk({**number, "text": text}) == 100
        assert loads.chunk({**number, "text": "30.0.0.0/8 10.0.2.44\n2001:db8:7::/48 2\n"}) == 102
        reply = await loads.commit(number)
        assert reply["routes"] == 102
        assert [via(router, f"20.0.{i}.1") for i in (0, 1, 2)] == [
            "10.0.1.9",
            "10.0.2.9",
            "10.0.1.9",
        ]
        assert via(router, "30.1.1.1") == "10.0.2.44"
        assert via(router, "2001:db8:7::1") == "2001:db8:1::9"

    run(scenario)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("20.0.0.0/24 1\n20.0.0.1/24 1\n", "E_HOST_BITS", "line 2"),
        ("20.0.0.0/24 1\n20.0.0.1/24 1\n", "E_HOST_BITS", "20.0.0.0/24?"),
        ("20.0.0.0/99 1\n", "E_PREFIX", "line 1"),
        ("nonsense\n", "E_PREFIX", "nonsense"),
        ("20.0.0.0/24 where\n", "E_NEXTHOP", "neither"),
        ("20.0.0.0/24 1 2\n", "E_PREFIX", "two fields"),
    ],
)
def test_a_bad_line_is_named_and_the_load_is_over(
    run: Any, text: str, code: str, words: str
) -> None:
    async def scenario(router: Any, routes: RouteRequests) -> None:
        loads, number = load(routes, vias=["10.0.1.9"])
        with pytest.raises(RibcageError) as caught:
            loads.chunk({**number, "text": text})
        assert caught.value.code == code
        assert words in str(caught.value)
        with pytest.raises(RibcageError, match="no load"):
            await loads.commit(number)
        assert router.core.rib.best(ip_network("20.0.0.0/24")) is None

    run(scenario)


def test_an_atomic_load_that_does_not_fit_applies_nothing(run: Any) -> None:
    async def scenario(router: Any, routes: RouteRequests) -> None:
        loads, number = load(routes, vias=["10.0.1.9"], atomic=True)
        text = "".join(f"20.{i >> 8}.{i & 255}.0/24 1\n" for i in range(1999))
        loads.chunk({**number, "text": text})
        with pytest.raises(RibcageError, match="nothing was applied") as caught:
            await loads.commit(number)
        assert caught.value.code == "E_TABLE_FULL"
        assert router.reader.match("20.0.0.1") is None

    run(scenario)


def test_a_load_over_an_unknown_next_hop_is_refused_by_name(run: Any) -> None:
    async def scenario(router: Any, routes: RouteRequests) -> None:
        loads, number = load(routes)
        loads.chunk({**number, "text": "20.0.0.0/24 10.99.0.1\n"})
        with pytest.raises(RibcageError, match="no connected network"):
            await loads.commit(number)
        assert router.core.nexthops.pinned == {}
        loads, number = load(routes)
        loads.chunk({**number, "text": "20.0.0.0/24 5\n"})
        with pytest.raises(RibcageError, match="no IPv4 next hops were given"):
            await loads.commit(number)
        loads, number = load(routes)
        loads.chunk({**number, "text": "2001:db8:7::/48 10.0.1.9\n"})
        with pytest.raises(RibcageError, match=r"10\.0\.1\.9 cannot serve 2001:db8:7::/48"):
            await loads.commit(number)

    run(scenario)


def test_open_loads_are_bounded_and_abort_frees_them(run: Any) -> None:
    async def scenario(router: Any, routes: RouteRequests) -> None:
        loads = Loads(routes.core, routes.finish)
        numbers = [loads.begin({}).number for _ in range(4)]
        with pytest.raises(RibcageError, match="open already"):
            loads.begin({})
        assert loads.abort(numbers[0])
        assert not loads.abort(numbers[0])
        loads.begin({})

    run(scenario)


def test_a_load_numbers_its_next_hops_by_use(run: Any) -> None:
    """The most used one gets the smallest set number, whatever the order it was named in."""

    async def scenario(router: Any, routes: RouteRequests) -> None:
        loads, number = load(routes)
        hops = {"10.0.2.31": 3, "10.0.2.32": 1, "10.0.2.33": 9, "2001:db8:2::34": 5}
        lines, net = [], 0
        for via, count in hops.items():
            for _ in range(count):
                net += 1
                six = ":" in via
                lines.append(f"{f'2001:db8:{net:x}::/48' if six else f'20.0.{net}.0/24'} {via}\n")
        loads.chunk({**number, "text": "".join(lines)})
        await loads.commit(number)
        sets = {
            str(hop.gateway): group
            for group, nexthops in router.core.forwarding.sets.items()
            for hop in nexthops.hops()
        }
        numbers = [sets[via] for via in sorted(hops, key=hops.__getitem__, reverse=True)]
        assert numbers == sorted(numbers)
        assert numbers[-1] < lib.RIB_POPULAR

    run(scenario)
