"""SIGHUP: a broken file changes nothing, a good one changes what it says, and no packet is lost."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ribcage.lab.probe.traffic import Stream, probe
from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for
from tests.netns.router_rig import FLOWS, INTERFACES, ROUTES, Rig, config, rig
from tests.netns.worker.frames import udp_frame

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]

MORE_ROUTES = """
[[route]]
dst = "203.0.113.0/24"
via = "10.0.2.2"
"""
THIRD = """
[[interface]]
name = "eth3"
address = ["10.0.8.1/24"]
"""
WORKERS = 2
BROKEN = """
[[route]]
dst = "203.0.113.1/24"
via = "10.0.2.2"

[[route]]
dst = "198.51.100.0/24"
gateway = "10.0.2.2"
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One router for all: each test ends with the first configuration."""
    with rig(tmp_path_factory.mktemp("reload")) as made:
        yield made


def hup(built: Rig, text: str, done: str) -> None:
    """Another file, SIGHUP, and wait for the log to say what became of it."""
    before = len(built.log_lines(done))
    (built.router.folder / "rt.toml").write_text(text)
    os.kill(built.router.pid("supervisor"), signal.SIGHUP)
    wait_for(done, lambda: len(built.log_lines(done)) > before, 15)


def routes(built: Rig) -> set[str]:
    rows = built.router.call("route.list", source="static")["routes"]
    return {row["dst"] for row in rows if row["in_fib"]}


def test_a_broken_file_changes_nothing_and_the_log_names_its_errors(built: Rig) -> None:
    """Every error with its line in the log; same processes, same generation, no packet lost."""
    generation = built.router.call("fib.show")["published"]["generation"]
    pids = {row["pid"] for row in built.router.processes()}
    text = config(routes=ROUTES + BROKEN)
    with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
        hup(built, text, "reload.refused")
        stream.carried(0.2)
    built.nothing_lost(stream.result)
    said = "\n".join(built.log_lines("reload.invalid"))
    for word in ("203.0.113.0/24", "gateway"):
        assert word in said, said
    for row in ("203.0.113.1/24", "gateway ="):
        line = next(n for n, line in enumerate(text.splitlines(), 1) if row in line)
        assert f"rt.toml:{line}:" in said, said
    assert routes(built) == {"10.0.3.0/24", "2001:db8:3::/64"}
    assert built.router.call("fib.show")["published"]["generation"] == generation
    assert pids <= {row["pid"] for row in built.router.processes()}


def test_a_good_file_changes_routes_and_interfaces_without_loss(built: Rig) -> None:
    """A route and a port come, and go again with the first file; the stream loses nothing."""
    built.lab.node("a8")
    built.lab.link("a8", "eth0", "r1", "eth3")
    built.lab.nodes["a8"].ip("addr add 10.0.8.2/24 dev eth0", "route add default via 10.0.8.1")
    built.h2.ip("addr add 203.0.113.1/32 dev lo")
    pids = {row["pid"] for row in built.router.processes()}
    with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
        interfaces, more = INTERFACES + THIRD, ROUTES + MORE_ROUTES
        hup(built, config(interfaces=interfaces, routes=more), "reload.done")
        wait_for("the new route", lambda: "203.0.113.0/24" in routes(built))
        built.echo("203.0.113.1")
        seen = probe(built.lab.nodes["a8"], "echo", "10.0.2.2", "--count", "3")
        assert not seen["lost"], seen
        hup(built, config(), "reload.done")
        wait_for("the route is gone", lambda: "203.0.113.0/24" not in routes(built))
        wait_for("eth3 is given back", lambda: "eth3" not in _ports(built))
        stream.carried(0.2)
    built.nothing_lost(stream.result)
    assert stream.result.duplicates == 0
    assert pids <= {row["pid"] for row in built.router.processes()}
    built.verified()
    built.balanced()
    built.lab.nodes["a8"].ip("link del eth0")


def _ports(built: Rig) -> set[str]:
    return {row["name"] for row in built.stats()["ports"] if row["kind"] != "gone"}


def test_the_number_of_workers_can_change_under_traffic(built: Rig) -> None:
    """Two, three, one, two: flows are dealt anew, and no packet is lost by a worker that comes
    or leaves in order."""
    with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
        for count in (3, 1, 2):
            hup(built, config(workers=f"count = {count}"), "reload.done")
            wait_for(f"{count} workers", lambda count=count: _workers(built) == count)
            stream.carried(0.2)
    built.nothing_lost(stream.result)
    built.balanced()
    built.echo()


def test_totals_never_go_backwards_when_workers_leave(built: Rig) -> None:
    """Three, one, three workers, and a killed control: rx, forwarded and drops only grow, and all
    of it balances; `stats` lists those at work."""
    unknown = udp_frame(built.mac("h1", "eth0"), built.mac("r1", "eth1"), "10.0.1.2",
                        "192.0.2.9", b"?", port=4000)  # fmt: skip
    names = ("rx", "forwarded", "delivered", "dropped")

    def totals() -> list[int]:
        shown = built.balanced()
        return [shown[name] for name in names]

    def grown(before: list[int]) -> list[int]:
        now = totals()
        assert all(new >= old for new, old in zip(now, before, strict=True)), (before, now)
        return now

    with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
        last = totals()
        for count in (3, 1, 3, 2):
            built.send([unknown] * 5)
            hup(built, config(workers=f"count = {count}"), "reload.done")
            wait_for(f"{count} workers", lambda count=count: _workers(built) == count)
            last = grown(last)
            assert len(built.stats()["workers"]) == count
            stream.carried(0.1)
        hup(built, config(workers="count = 1"), "reload.done")
        wait_for("1 worker", lambda: _workers(built) == 1)
        last = grown(last)
        reasons = {
            row["reason"]: row["total"] for row in built.router.call("drops.show")["reasons"]
        }
        assert reasons["no-route"] >= 20
        built.standby_ready()
        old = built.router.pid("control")
        built.router.kill("control")
        built.successor("control", 0, old)
        grown(last)
        hup(built, config(), "reload.done")
        wait_for("2 workers", lambda: _workers(built) == 2)
    assert stream.result.lost == 0


def test_a_worker_that_leaves_forwards_what_it_has_first(tmp_path: Path) -> None:
    """The one that is to go does not run just then (SIGSTOP, 0.3 s): it is not ended before its
    ring is empty, so no packet is lost."""

    def text(count: int) -> str:
        # Rings for four seconds: the stop lasts as long as the file is compiled.
        rings = "slots = 4096\nslot_bytes = 4096"
        return config(workers=f"count = {count}", rings=rings)

    with rig(tmp_path, text(3)) as built:
        pid = built.router.pid("worker", 2)
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            stream.carried(0.2)
            os.kill(pid, signal.SIGSTOP)
            try:
                hup(built, text(2), "reload.done")  # its ring fills while the file is compiled
                stream.carried(0.3)
            finally:
                os.kill(pid, signal.SIGCONT)
            wait_for("2 workers", lambda: _workers(built) == 2)
            stream.carried(0.2)
        assert stream.result.lost == 0, (stream.result.lost, built.stats()["totals"])
        built.balanced()


LIMITS = """
[icmp]
rate = 1000
burst = 1000
per_source = 1000

[management]
max_clients = 9
"""
FEWER_SLOTS = "slots = 128\nslot_bytes = 4096"


def test_limits_change_while_packets_flow_or_are_named(built: Rig) -> None:
    """ICMP rates and client limits act at once, in each worker and in those that come later; what
    a running router cannot change is named, stays as it was, and is as it was in new workers."""
    mine, theirs = built.mac("h1", "eth0"), built.mac("r1", "eth1")
    expired = [
        udp_frame(mine, theirs, "10.0.1.2", "10.0.2.2", b"?", 1, port=port)
        for port in range(4000, 4060)
    ]

    def all_answered() -> None:
        before = built.stats()["totals"]
        for first in range(0, len(expired), 20):  # one batch raises 32 errors at most
            built.send(expired[first : first + 20])
            wanted = before["icmp_sent"] + first + 20
            built.counted("errors", lambda wanted=wanted: built.stats()["totals"]["icmp_sent"]
                          >= wanted)  # fmt: skip
        assert built.stats()["totals"]["icmp_limited"] == before["icmp_limited"]

    with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
        hup(built, config(LIMITS, rings=FEWER_SLOTS), "reload.done")
        assert "keys=rings.slots" in built.log_lines("reload.needs_restart")[-1]
        assert built.router.call("system.clients")["max_clients"] == 9
        wait_for("both told", lambda: len(built.log_lines("worker.plan")) >= WORKERS)
        all_answered()
    assert stream.result.lost == 0
    old = built.router.pid("worker", 0)
    built.router.kill("worker", 0)
    built.successor("worker", 0, old)
    all_answered()
    third = config(LIMITS, rings=FEWER_SLOTS, workers="count = 3")
    hup(built, third, "reload.done")
    wait_for("3 workers", lambda: _workers(built) == 3)
    all_answered()
    hup(built, config(), "reload.done")
    wait_for("2 workers", lambda: _workers(built) == 2)
    assert built.router.call("system.clients")["max_clients"] == 32


def _workers(built: Rig) -> int:
    rows = [row for row in built.router.processes() if row["role"] == "worker"]
    return len(rows) if all(row["state"] == "ready" for row in rows) else 0
