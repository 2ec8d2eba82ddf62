"""Links that go, come back, and come back as others: routes follow, forwarding resumes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ribcage.lab.probe.traffic import Stream, probe
from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for
from tests.netns.router_rig import FLOWS, VIA_H2, Rig, config, lab_and_router, rig

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]

WORKERS = 'count = 2\nrestart = { max = 1000, window = "60s" }'
HANGING = {"10.0.2.0/24", "2001:db8:2::/64", "10.0.3.0/24", "2001:db8:3::/64"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One router for all: each test leaves the links as they were, though not their numbers."""
    with rig(tmp_path_factory.mktemp("links"), config(workers=WORKERS), stop=False) as made:
        yield made
        assert made.router.stop() == 0


def in_fib(built: Rig) -> set[str]:
    rows = built.router.call("route.list")["routes"]
    return {row["dst"] for row in rows if row["in_fib"]}


def withdrawn(built: Rig) -> None:
    """Waits until nothing that hangs on eth2 is in the FIB."""
    wait_for("withdrawn", lambda: not (HANGING & in_fib(built)))


def restored(built: Rig) -> None:
    """Waits until all that hangs on eth2 is there again."""
    wait_for("restored", lambda: in_fib(built) >= HANGING)


def opened(built: Rig) -> int:
    """How often a worker was given a ring of eth2."""
    return sum("name=eth2" in line for line in built.log_lines("port.add"))


def h2_again(built: Rig) -> None:
    """h2's end lost its IPv6 addresses and routes with the link."""
    built.h2.ip(
        "addr replace 10.0.2.2/24 dev eth0",
        "addr replace 2001:db8:2::2/64 dev eth0",
        "route replace default via 10.0.2.1",
        "route replace ::/0 via 2001:db8:2::1",
    )


def unreachable_from_h1(built: Rig) -> None:
    """The router says that there is no way, and counts it: nothing vanishes silently."""
    before = built.balanced()["dropped"]
    seen = probe(built.h1, "echo", "10.0.3.2", "--count", "1", "--timeout", "0.2")
    assert seen["lost"]
    built.counted("counted", lambda: built.stats()["totals"]["dropped"] > before)


def test_routes_follow_a_link_down_and_up(built: Rig) -> None:
    """Connected and static routes go with eth2's carrier and come back with it, v4 and v6; the
    traffic between other ports and to the router goes on."""
    built.router.call("route.add", dst="203.0.113.0/24", nexthops=[VIA_H2])
    built.h2.ip("addr add 203.0.113.1/32 dev lo")
    for _ in range(2):
        built.r1.ip("link set eth2 down")
        withdrawn(built)
        assert "203.0.113.0/24" not in in_fib(built)
        unreachable_from_h1(built)
        built.echo("10.0.1.1")
        built.r1.ip("link set eth2 up")
        restored(built)
        h2_again(built)
        wait_for("run-time route", lambda: "203.0.113.0/24" in in_fib(built))
        for target in ("10.0.2.2", "10.0.3.2", "203.0.113.1", "2001:db8:3::2"):
            built.echo(target)
    built.verified()
    built.balanced()


def test_a_peer_that_goes_down_takes_the_carrier_and_the_routes(built: Rig) -> None:
    """eth2 stays up by itself, but its other end is down: the same as down."""
    built.h2.ip("link set eth0 down")
    withdrawn(built)
    unreachable_from_h1(built)
    built.h2.ip("link set eth0 up")
    h2_again(built)
    restored(built)
    built.echo("10.0.3.2")
    built.echo("2001:db8:3::2")
    built.balanced()


def test_an_interface_deleted_and_made_again_forwards_again(built: Rig) -> None:
    """Another ifindex, another MAC, new rings; the configured addresses are set again; the
    counters go on and balance."""
    for _ in range(2):
        rings = opened(built)
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS, linger=0.3):
            built.r1.ip("link del eth2")  # under traffic
            withdrawn(built)
        built.lab.link("r1", "eth2", "h2", "eth0")
        h2_again(built)
        restored(built)
        wait_for("its rings", lambda rings=rings: opened(built) == rings + 2)
        for target in ("10.0.2.2", "10.0.3.2", "2001:db8:3::2"):
            built.echo(target)
        carried = built.received()
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            built.both_carry(carried)
        built.nothing_lost(stream.result)
    built.verified()
    built.balanced()
    assert len(built.log_lines("child.exit")) == 0


def test_a_router_started_before_its_interface_takes_it_when_it_comes(tmp_path: Path) -> None:
    """eth2 is missing at the start: the router runs, says so by its routes, and uses it later."""
    with lab_and_router(tmp_path, config()) as built:
        built.r1.ip("link del eth2")
        built.router.start()
        assert not HANGING & in_fib(built)
        built.echo("10.0.1.1")
        built.lab.link("r1", "eth2", "h2", "eth0")
        h2_again(built)
        restored(built)
        wait_for("its rings", lambda: opened(built) == 2)
        built.echo("10.0.3.2")
        built.balanced()
        built.r1.ip("link del eth2")
        assert built.router.stop() == 0


def test_control_killed_while_a_link_is_down_still_follows_it(built: Rig) -> None:
    """The successor knows the link as it is, and sees it come back. It is the peer's end that goes
    down: a control that begins sets its own interfaces up, as the configuration has them."""
    built.standby_ready()
    built.h2.ip("link set eth0 down")
    withdrawn(built)
    built.successor("control", 0, built.router.kill("control"))
    assert not HANGING & in_fib(built)
    built.h2.ip("link set eth0 up")
    h2_again(built)
    restored(built)
    built.echo("10.0.3.2")
    built.verified()
