"""fib.aggregate in a whole router: fewer entries, the same packets, through SIGHUP and SIGKILL."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for
from tests.netns.router_rig import FLOWS, ROUTES, Rig, config, rig

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]

NESTED = """
[[route]]
dst = "198.51.0.0/16"
via = "10.0.2.2"

[[route]]
dst = "198.51.100.0/24"
via = "10.0.2.2"

[[route]]
dst = "198.51.100.128/25"
type = "blackhole"
"""
FIB = "max_routes4 = 10_000\nmax_routes6 = 1_000\naggregate = "
HIDDEN = "198.51.100.0/24"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    text = config(fib=FIB + "true", routes=ROUTES + NESTED)
    with rig(tmp_path_factory.mktemp("aggregate"), text=text) as made:
        yield made


def row(built: Rig, dst: str) -> dict[str, Any]:
    rows = built.router.call("route.list", prefix=dst)["routes"]
    found: dict[str, Any] = next(one for one in rows if one["dst"] == dst)
    return found


def report(built: Rig) -> dict[str, Any]:
    found: dict[str, Any] = built.router.call("fib.show")["aggregation"]
    return found


def agree(built: Rig) -> None:
    assert built.router.call("fib.verify", samples=2000, timeout=60.0)["differences"] == []


def test_a_hidden_route_is_in_force_and_says_so(built: Rig) -> None:
    """Every way to look: list, get, explain, show; and the tables agree."""
    hidden = row(built, HIDDEN)
    assert (hidden["selected"], hidden["in_fib"], hidden["aggregated"]) == (True, False, True)
    got = built.router.call("route.get", dst="198.51.100.7")
    assert (got["prefix"], got["route"]) == ("198.51.0.0/16", HIDDEN)
    assert got["gateway"] == "10.0.2.2"
    stages = built.router.call("explain", dst="198.51.100.7")["stages"]
    assert "198.51.0.0/16 (for 198.51.100.0/24, static)" in str(stages)
    assert built.router.call("route.get", dst="198.51.100.200")["type"] == "blackhole"
    shown = report(built)
    assert shown["state"] == "on"
    assert shown["entries4"] < shown["routes4"]
    agree(built)


def test_a_dead_control_leaves_a_successor_that_goes_on_aggregating(built: Rig) -> None:
    built.router.call("route.add", dst="203.0.0.0/16", nexthops=[{"via": "10.0.2.2"}])
    built.router.call("route.add", dst="203.0.113.0/24", nexthops=[{"via": "10.0.2.2"}])
    pid = built.router.pid("control")
    with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
        os.kill(pid, signal.SIGKILL)
        built.successor("control", 0, pid)
        stream.carried(0.2)
    built.nothing_lost(stream.result)
    assert row(built, "203.0.113.0/24")["aggregated"]
    built.router.call("route.del", dst="203.0.0.0/16")
    assert row(built, "203.0.113.0/24")["in_fib"]
    agree(built)


def test_sighup_switches_it_off_and_on_again_without_a_lost_packet(built: Rig) -> None:
    with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
        for value, state, held in (("false", "off", True), ("true", "on", False)):
            done = len(built.log_lines("reload.done"))
            text = config(fib=FIB + value, routes=ROUTES + NESTED)
            (built.router.folder / "rt.toml").write_text(text)
            os.kill(built.router.pid("supervisor"), signal.SIGHUP)
            wait_for("reload", lambda seen=done: len(built.log_lines("reload.done")) > seen, 15)
            assert report(built)["state"] == state
            assert row(built, HIDDEN)["in_fib"] == held
            agree(built)
        stream.carried(0.2)
    built.nothing_lost(stream.result)
