"""On-link hosts in use are asked about again: who left or changed his card is noticed.

The kernel's neighbour timers are shortened; the router's own pace is the real one.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for
from tests.netns.router_rig import Rig, rig

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]

HOST = "10.0.2.9"  # no gateway of any route


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("probes")) as made:
        timers = "net/ipv4/neigh/eth2/"
        made.r1.sysctl(3000, timers + "base_reachable_time_ms")
        made.r1.sysctl(1, timers + "delay_first_probe_time")
        made.r1.sysctl(200, timers + "retrans_time_ms")
        yield made


def row_of(built: Rig, address: str = HOST) -> dict[str, Any]:
    rows = built.router.call("neighbour.list")["neighbours"]
    return next((row for row in rows if row["address"] == address), {"mac": None, "state": "gone"})


def at_rest(built: Rig) -> None:
    """Waits until the kernel itself would ask no more: nobody has used the entry lately."""
    wait_for("stale", lambda: row_of(built)["state"] == "stale")


def test_a_new_mac_is_followed_without_an_announcement(built: Rig) -> None:
    """A host's card is changed and it says nothing by itself: packets reach it again soon."""
    built.h2.ip(f"addr add {HOST}/24 dev eth0")
    built.echo(HOST)
    old, new = built.mac("h2", "eth0").hex(":"), "02:00:00:00:09:09"
    assert row_of(built)["mac"] == old
    at_rest(built)
    built.h2.ip(f"link set eth0 address {new}")
    # Or h2 asks for r1, which tells r1 of h2's new MAC.
    built.h2.ip(f"neigh replace 10.0.2.1 lladdr {built.mac('r1', 'eth2').hex(':')} dev eth0 "
                "nud permanent")  # fmt: skip
    wait_for("the old MAC given up", lambda: row_of(built)["mac"] != old, 20.0)
    built.echo(HOST)
    assert row_of(built)["mac"] == new


def test_a_host_that_fell_silent_loses_its_route(built: Rig) -> None:
    """A host that left without a word: its route goes, so that senders hear `unreachable`; the
    one that stayed is reached as before."""
    built.h2.ip("addr add 10.0.2.8/24 dev eth0")
    built.echo("10.0.2.8")
    built.echo(HOST)
    at_rest(built)
    built.h2.ip(f"addr del {HOST}/24 dev eth0")
    wait_for("the route withdrawn", lambda: not row_of(built).get("route"), 20.0)
    built.echo("10.0.2.8")
    assert built.router.call("ipc.show")["counters"]["probed"] > 0
