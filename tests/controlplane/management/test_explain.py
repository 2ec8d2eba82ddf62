"""Explain tells the worker's own verdict, each with its reason."""

import asyncio
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest

from ribcage.controlplane.management.decision import View
from ribcage.controlplane.management.explain import explain
from ribcage.controlplane.management.question import (
    Question,
    default_source,
    frame_question,
    make_frame,
    question_of,
)
from ribcage.controlplane.routes.requests import RouteRequests
from ribcage.controlplane.routes.sources.connected import CONNECTED
from ribcage.controlplane.values.neighbour import Neighbour
from ribcage.controlplane.values.nexthop import BLACKHOLE, PROHIBIT, UNREACHABLE, Hop, host
from ribcage.shared.memory.fib_records import Port

A = ip_address("10.0.1.2")
B = ip_address("10.0.2.9")


@pytest.fixture
def view(router: Any) -> View:
    """Two ports, a resolved gateway with a route, and one route of each kind."""

    async def setup() -> None:
        core = router.core
        router.ports()
        await core.sync(CONNECTED)
        for gateway in (B, ip_address("2001:db8:2::9")):
            core.neighbour(Hop(2, gateway), Neighbour(b"\2\0\0\0\0\x99"))
        routes = RouteRequests(core, lambda: [])
        await routes.add({"dst": "2001:db8:3::/48", "nexthops": [{"via": "2001:db8:2::9"}]})
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
    assert story["stages"][-2:] == [
        {"stage": "ttl", "verdict": "DROP", "detail": "ttl 1 would become 0"},
        {
            "stage": "icmp",
            "verdict": "HOLD",
            "detail": "time-exceeded from 10.0.1.1 to 10.0.1.2 waits for a neighbour on eth1,"
            " subject to the rate limit",
        },
    ]


def test_ipv6_is_explained_alike(view: View) -> None:
    source = ip_address("2001:db8:1::9")
    dst = ip_address("2001:db8:2::1")
    assert explain(view, Question(dst, source, view.topology.ports[1]))["verdict"] == "deliver"
    dst = ip_address("2001:db8:99::1")
    story = explain(view, Question(dst, source, view.topology.ports[1]))
    assert story["reason"] == "no-route"


def udp_frame(view: View, **words: Any) -> bytes:
    """A frame to eth1, from words; bytes of it may then be changed."""
    port = view.topology.ports[1]
    question = Question(ip_address("203.0.113.7"), A, port, protocol=17, **words)
    return port.mac + make_frame(question)[6:]


def asked(view: View, frame: bytes) -> dict[str, Any]:
    return explain(view, frame_question(frame, view.topology.ports[1]))


def test_a_frame_is_explained_as_its_words_are(view: View) -> None:
    """The same stages, whether the packet comes in words or in bytes."""
    words = Question(ip_address("203.0.113.7"), A, view.topology.ports[1], protocol=17)
    assert asked(view, udp_frame(view)) == explain(view, words)


@pytest.mark.parametrize(
    ("at", "value", "outcome"),
    [
        (0, b"\x06", ("ignore", None)),  # another station's
        (0, b"\xff" * 6, ("drop", "broadcast")),
        (12, b"\x08\x06", ("ignore", None)),  # ARP
        (12, b"\x81\0\0\5\x08\0", ("ignore", None)),  # a VLAN's
        (14, b"\x65", ("drop", "bad-version")),
        (16, b"\xff\xff", ("drop", "bad-checksum")),
        (24, b"\0\0", ("drop", "bad-checksum")),
    ],
)
def test_what_a_frame_is_wrong_with_is_told(
    view: View, at: int, value: bytes, outcome: tuple[str, str | None]
) -> None:
    frame = udp_frame(view)
    story = asked(view, frame[:at] + value + frame[at + len(value) :])
    assert (story["verdict"], story.get("reason")) == outcome, story


def test_a_priority_tag_is_no_vlan(view: View) -> None:
    frame = udp_frame(view)
    tagged = frame[:12] + b"\x81\0\x20\0" + frame[12:]
    assert asked(view, tagged) == asked(view, frame)
    assert asked(view, tagged[:19])["verdict"] == "ignore"  # the kernel throws it away


def test_a_packet_larger_than_a_ring_slot_is_told_as_cut(view: View) -> None:
    view.slot_bytes = 1024
    assert asked(view, udp_frame(view, length=1024))["reason"] == "truncated"
    assert asked(view, udp_frame(view, length=900))["verdict"] == "forward"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("family", [4, 6])
def test_a_super_frame_is_as_large_as_its_segments(view: View, protocol: str, family: int) -> None:
    """20,000 bytes cross a link of 1,500 when no segment is larger."""
    dst, source = ("203.0.113.7", "10.0.1.2") if family == 4 else ("2001:db8:3::7", "2001:db8::9")
    head = (20 if family == 4 else 40) + (20 if protocol == "tcp" else 8)
    for gso, outcome in ((1500 - head, "forward"), (1501 - head, "drop")):
        params = {"dst": dst, "source": source, "in": "eth1", "length": 20_000, "gso": gso}
        params["protocol"] = protocol
        story = explain(view, question_of(params, view.topology))
        assert story["verdict"] == outcome, story
        assert f"in segments of {gso} bytes" in story["stages"][0]["detail"]


def test_an_error_that_may_not_be_sent_is_said_to_be_none(view: View) -> None:
    """No error about an ICMP error (RFC 1812 4.3.2.7), and the stage says so."""
    question = Question(ip_address("203.0.113.7"), A, view.topology.ports[1], ttl=1)
    frame = bytearray(view.topology.ports[1].mac + make_frame(question)[6:])
    assert asked(view, bytes(frame))["icmp"] == "time-exceeded to 10.0.1.2"
    frame[34] = 3  # of type: destination unreachable
    story = asked(view, bytes(frame))
    assert story["reason"] == "ttl-expired" and "icmp" not in story
    assert story["stages"][-1]["verdict"] == "no" and "RFC 1812" in story["stages"][-1]["detail"]


def test_an_error_without_a_way_back_is_said_to_be_lost(view: View) -> None:
    source = ip_address("192.0.2.9")
    story = explain(view, Question(B, source, view.topology.ports[1], ttl=1))
    assert story["reason"] == "ttl-expired" and "icmp" not in story
    assert story["stages"][-1]["detail"].endswith("finds no way: no-route")


def test_a_source_is_found_on_the_ingress(view: View) -> None:
    port = Port(1, "eth1", addresses=(ip_interface("10.0.1.1/24"),))
    assert str(default_source(view.topology, port, ip_address("192.0.2.1"))) == "10.0.1.2"
    assert default_source(view.topology, None, ip_address("::1")).version == 6
