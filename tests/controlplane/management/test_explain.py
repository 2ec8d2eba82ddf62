"""Explain tells the worker's own verdict, each with its reason."""

import asyncio
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest

from ribcage.controlplane.management.explain import Question, View, default_source, explain
from ribcage.controlplane.routes.requests import RouteRequests
from ribcage.controlplane.routes.sources.connected import CONNECTED
from ribcage.controlplane.values.neighbour import Neighbour
from ribcage.controlplane.values.nexthop import BLACKHOLE, PROHIBIT, UNREACHABLE, Hop, host
from ribcage.controlplane.values.topology import Port

A = ip_address("10.0.1.2")
B = ip_address("10.0.2.9")


@pytest.fixture
def view(router: Any) -> View:
    """Two ports, a resolved gateway with a route, and one route of each kind."""

    async def setup() -> None:
        core = router.core
        router.ports()
        await core.sync(CONNECTED)
        core.neighbour(Hop(2, B), Neighbour(b"\2\0\0\0\0\x99"))
        routes = RouteRequests(core, lambda: [])
        await routes.add({"dst": "203.0.113.0/24", "nexthops": [{"via": "10.0.2.9"}]})
        for kind, net in (("blackhole", 1), ("unreachable", 2), ("prohibit", 3)):
            await routes.add({"dst": f"198.51.{net}.0/24", "type": kind})

    asyncio.run(setup())
    assert BLACKHOLE != UNREACHABLE != PROHIBIT != host(2, B)
    return View(router.reader, router.core.topology, 7)


@pytest.mark.parametrize(
    ("dst", "more", "verdict", "reason"),
    [
        ("203.0.113.7", {}, "forward", None),
        ("203.0.113.7", {"ttl": 1}, "drop", "ttl-expired"),
        ("203.0.113.7", {"ttl": 2}, "forward", None),
        ("203.0.113.7", {"length": 1501}, "drop", "too-big"),
        ("203.0.113.7", {"length": 1501, "df": False}, "drop", "fragment-needed"),
        ("203.0.113.7", {"length": 1500}, "forward", None),
        ("203.0.113.7", {"source": "127.0.0.1"}, "drop", "bad-source"),
        ("203.0.113.7", {"source": "10.0.2.1"}, "drop", "bad-source"),
        ("10.0.2.1", {"source": "10.0.1.1"}, "drop", "bad-source"),
        ("192.0.2.77", {}, "drop", "no-route"),
        ("198.51.1.1", {}, "drop", "blackhole"),
        ("198.51.2.1", {}, "drop", "unreachable"),
        ("198.51.3.1", {}, "drop", "prohibited"),
        ("10.0.2.1", {}, "deliver", None),
        ("10.0.2.1", {"ttl": 1}, "deliver", None),
        ("10.0.2.255", {}, "drop", "broadcast"),
        ("10.0.2.77", {}, "hold", "no-neighbour"),
        ("127.0.0.1", {}, "drop", "bad-destination"),
        ("239.1.1.1", {}, "drop", "multicast"),
    ],
)
def test_every_verdict_has_its_reason(
    view: View, dst: str, more: dict[str, Any], verdict: str, reason: str | None
) -> None:
    source = ip_address(more.pop("source", "10.0.1.2"))
    story = explain(view, Question(ip_address(dst), source, view.topology.ports[1], **more))
    assert (story["verdict"], story.get("reason")) == (verdict, reason), story
    assert story["stages"]


def test_an_icmp_error_is_named_with_who_gets_it(view: View) -> None:
    story = explain(view, Question(ip_address("203.0.113.7"), A, view.topology.ports[1], ttl=1))
    assert story["icmp"] == "time-exceeded to 10.0.1.2"
    assert story["stages"][-1] == {
        "stage": "ttl",
        "verdict": "DROP",
        "detail": "ttl 1 would become 0",
    }


def test_ipv6_is_explained_alike(view: View) -> None:
    source = ip_address("2001:db8:1::9")
    dst = ip_address("2001:db8:2::1")
    assert explain(view, Question(dst, source, view.topology.ports[1]))["verdict"] == "deliver"
    dst = ip_address("2001:db8:99::1")
    story = explain(view, Question(dst, source, view.topology.ports[1]))
    assert story["reason"] == "no-route"


def test_a_source_is_found_on_the_ingress(view: View) -> None:
    port = Port(1, "eth1", addresses=(ip_interface("10.0.1.1/24"),))
    assert str(default_source(view.topology, port, ip_address("192.0.2.1"))) == "10.0.1.2"
    assert default_source(view.topology, None, ip_address("::1")).version == 6
