"""The steps of the demo: each does one thing to the router, checks it, says what it saw.

A step takes the running `Demo` and returns (sentence, facts); it raises StepFailed when the
promise does not hold. The order is the story: packets cross, routes change, processes die,
everything balances. `demo.py` runs them, times them and prints them.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ribcage.controlplane.supervisor.start.lock import lock_owner
from ribcage.lab.probe.traffic import Stream, StreamResult, probe, transfer
from ribcage.lab.tables import SampleTable
from ribcage.lab.topology.namespaces import Lab
from ribcage.lab.topology.router import Router, wait_for
from ribcage.shared.process.python import python

StepOutcome = tuple[str, dict[str, Any]]
Step = Callable[["Demo"], StepOutcome]

FLOWS = 16  # of a paced stream: enough that each worker gets some
# Packets a second. The rings have the default 256 slots of 68 KiB (71 MB in all); at this rate
# one of them has room for half a second of the stream, should a CPU stand still that long, even
# with every flow on one worker.
RATE = 500
SETTING = re.compile("forward|redirects|rp_filter|accept_ra|autoconf|gc_")
AROUND = 0.3  # seconds of the stream before and after what is done under it


class StepFailed(Exception):
    """A promise that did not hold; the text says what was expected and what was seen."""


@dataclass(slots=True)
class Demo:
    """What the steps share."""

    lab: Lab
    router: Router
    table: SampleTable
    table_file: Path
    before: str  # leftovers() before the router was started


def check(condition: bool, text: str) -> None:
    """StepFailed(text) unless `condition`."""
    if not condition:
        raise StepFailed(text)


def load_table(demo: Demo) -> StepOutcome:
    """The routing table goes in through the same command a user would type."""
    command = python("ribcage", "-i", demo.router.instance, "-q", "-j")
    command += ["route", "load", str(demo.table_file), "--via", "10.0.2.2"]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=demo.router.environment)
    seconds = time.monotonic() - started
    check(done.returncode == 0, f"route load: exit {done.returncode}: {done.stdout}{done.stderr}")
    routes = len(demo.table.lines)
    facts = {"routes": routes, "source": demo.table.source, "routes_per_second": routes / seconds}
    return f"{routes:,} routes ({demo.table.source}) at {routes / seconds:,.0f}/s", facts


def echo_across(demo: Demo) -> StepOutcome:
    """Echo v4 and v6 from h1 to h2: one hop less, and not even the first packet lost."""
    facts, words = {}, []
    for name, target in (("v4", "10.0.2.2"), ("v6", "2001:db8:2::2")):
        seen = probe(demo.lab.nodes["h1"], "echo", target, "--count", "5")
        check(not seen["lost"], f"echo {name}: lost {seen['lost']} of {seen['sent']}")
        check(set(seen["hops"]) == {63}, f"echo {name}: TTL/hop limit {seen['hops']}, not 63")
        median = sorted(seen["rtt_us"])[2]
        words.append(f"{name} {seen['received']}/{seen['sent']} ttl 63, median {median:.0f} us")
        facts[name] = seen
    return "; ".join(words), facts


def echo_router(demo: Demo) -> StepOutcome:
    """The router's own address answers a host that is not on its links."""
    facts = {}
    for name, target in (("v4", "10.0.2.1"), ("v6", "2001:db8:2::1")):
        seen = probe(demo.lab.nodes["n2"], "echo", target, "--count", "3")
        check(not seen["lost"], f"r1 {name}: lost {seen['lost']} of {seen['sent']}")
        facts[name] = seen
    return "r1 answers 3/3 v4 and 3/3 v6 to a host behind h2", facts


def traceroute(demo: Demo) -> StepOutcome:
    """r1 shows itself as the first hop, in both families."""
    facts = {}
    for name, target, first in (
        ("v4", "10.0.3.2", "10.0.1.1"),
        ("v6", "2001:db8:3::2", "2001:db8:1::1"),
    ):
        seen = probe(demo.lab.nodes["h1"], "trace", target)
        hops = [hop["address"] for hop in seen["hops"]]
        check(hops[0] == first, f"traceroute {name}: first hop {hops[0]}, not {first}")
        check(seen["reached"], f"traceroute {name}: {target} not reached: {hops}")
        facts[name] = hops
    return " > ".join(facts["v4"]) + " and the same in v6", facts


def tcp(demo: Demo) -> StepOutcome:
    """64 MiB over TCP each way, default offloads, digests equal."""
    seen = transfer(demo.lab.nodes["h1"], demo.lab.nodes["h2"], "10.0.2.2", "--mib", "64")
    ours, theirs = seen["client"], seen["server"]
    check(ours["sent_sha256"] == theirs["received_sha256"], "h1 -> h2: digests differ")
    check(theirs["sent_sha256"] == ours["received_sha256"], "h2 -> h1: digests differ")
    rates = [64 * 8 * 1.048576 / 1000 / ours[f"seconds_{way}"] for way in ("out", "back")]
    text = f"64 MiB each way, sha256 equal, {rates[0]:.1f} and {rates[1]:.1f} Gbit/s"
    return text, {"gbit_s": rates}


@contextlib.contextmanager
def both_carrying(demo: Demo) -> Iterator[Stream]:
    """A stream of FLOWS flows, on every worker of the router before the block and after it."""
    before = _received(demo)
    ends = (demo.lab.nodes["h1"], demo.lab.nodes["h2"])
    with Stream(*ends, "10.0.2.2", rate=RATE, flows=FLOWS) as stream:
        wait_for(
            "packets of the stream on every worker",
            lambda: all(now > then for now, then in zip(_received(demo), before, strict=True)),
        )
        stream.carried(AROUND)
        yield stream
        stream.carried(AROUND)


def nothing_lost(demo: Demo, result: StreamResult) -> None:
    """StepFailed when a packet is missing, with what the router and the machine say of it."""
    if result.lost:
        stats = demo.router.call("stats.show")
        text = f"{result.lost} of {result.sent} packets lost; {result.circumstances}"
        raise StepFailed(f"{text}; the router counted {stats['totals']}")


def _received(demo: Demo) -> list[int]:
    return [worker["rx"] for worker in demo.router.call("stats.show")["workers"]]


def route_add(demo: Demo) -> StepOutcome:
    """A route added at the control plane is used by both workers, and by the next packet."""
    target = "203.0.113.1"
    demo.lab.nodes["h2"].ip(f"addr add {target}/32 dev lo")
    hop = {"via": "10.0.2.2", "dev": None, "weight": 1}
    with both_carrying(demo) as stream:
        added = demo.router.call("route.add", dst="203.0.113.0/24", nexthops=[hop], wait="visible")
    result = stream.result
    nothing_lost(demo, result)
    check(added["workers"]["seen"] == added["workers"]["of"], f"workers: {added['workers']}")
    seen = probe(demo.lab.nodes["h1"], "echo", target, "--count", "2")
    check(not seen["lost"], f"echo {target}: lost {seen['lost']}")
    text = (
        f"203.0.113.0/24 published as generation {added['generation']} in"
        f" {added['published_us']:.0f} us, used by {added['workers']['seen']} workers after"
        f" {added['visible_us']:.0f} us, both carrying packets"
    )
    return text, added


def kill_control(demo: Demo) -> StepOutcome:
    """kill -9 of control under a paced stream: nothing lost, no acknowledged route forgotten."""
    with both_carrying(demo) as stream:
        old = demo.router.kill("control")
        started = time.monotonic()
        wait_for("a new control", lambda: _successor(demo, "control", 0, old))
        hop = {"via": "10.0.2.2", "dev": None, "weight": 1}
        demo.router.call("route.add", dst="203.0.113.128/25", nexthops=[hop], wait="published")
        took = time.monotonic() - started
    result = stream.result
    nothing_lost(demo, result)
    kept = demo.router.call("route.get", dst="203.0.113.1")
    check(kept["prefix"] == "203.0.113.0/24", f"the acknowledged route is gone: {kept}")
    text = f"{result.received}/{result.sent} packets, next update after {took * 1000:.0f} ms"
    return text, {"sent": result.sent, "lost": result.lost, "takeover_seconds": took}


def _successor(demo: Demo, role: str, index: int, old: int) -> int | None:
    try:
        pid = demo.router.pid(role, index)
    except Exception:
        return None
    return pid if pid != old else None


def worker_writes(demo: Demo) -> StepOutcome:
    """A worker that writes to the FIB dies of SIGSEGV alone, and is replaced."""
    before = {p["pid"] for p in demo.router.processes()}
    digest = demo.router.call("fib.show")["published"]["digest"]
    old = demo.router.pid("worker", 1)
    with both_carrying(demo) as stream:
        demo.router.call("fault.inject", worker=1, kind="fib-write")
        wait_for("a new worker 1", lambda: _successor(demo, "worker", 1, old))
        processes = demo.router.wait_ready()
    result = stream.result
    nothing_lost(demo, result)
    worker = next(p for p in processes if p["role"] == "worker" and p["index"] == 1)
    check("SIGSEGV" in str(worker["last_exit"]), f"worker 1 ended otherwise: {worker['last_exit']}")
    gone = before - {p["pid"] for p in processes}
    check(gone == {old}, f"more than worker 1 died: {gone}")
    check(demo.router.call("fib.show")["published"]["digest"] == digest, "the FIB changed")
    text = (
        f"{worker['last_exit']}, pid {old} -> {worker['pid']}, FIB unchanged,"
        f" {result.received}/{result.sent} packets"
    )
    return text, {"pid": old, "sent": result.sent, "lost": result.lost}


def kill_supervisor(demo: Demo) -> StepOutcome:
    """kill -9 of the supervisor: the guardian starts the next one, which adopts its children."""
    before = {p["role"] + str(p.get("index", 0)): p["pid"] for p in demo.router.processes()}
    lock, old = demo.router.names.supervisor_lock, before["supervisor0"]
    with both_carrying(demo) as stream:
        os.kill(old, 9)
        started = time.monotonic()
        wait_for("the next supervisor", lambda: lock_owner(lock) not in (None, old))
        demo.router.wait_ready()
        took = time.monotonic() - started
    result = stream.result
    nothing_lost(demo, result)
    after = {p["role"] + str(p.get("index", 0)): p["pid"] for p in demo.router.processes()}
    for role in ("control0", "worker0", "worker1", "guardian0"):
        check(after[role] == before[role], f"{role} was replaced, not adopted")
    text = f"{result.received}/{result.sent} packets, all adopted by itself after "
    text += f"{took * 1000:.0f} ms"
    return text, {"sent": result.sent, "lost": result.lost, "adopted_seconds": took}


def kill_guardian(demo: Demo) -> StepOutcome:
    """kill -9 of the guardian: the supervisor makes another one, and stays what it was."""
    supervisor, old = demo.router.pid("supervisor"), demo.router.pid("guardian")
    os.kill(old, 9)
    wait_for("another guardian", lambda: demo.router.pid("guardian") not in (0, old))
    check(demo.router.pid("supervisor") == supervisor, "the supervisor was replaced")
    new = demo.router.pid("guardian")
    return f"pid {old} -> {new}, the supervisor stayed", {"pid": new}


def balance(demo: Demo) -> StepOutcome:
    """Every packet has an outcome, and RIB, FIB and real lookups agree."""
    stats = demo.router.call("stats.show")
    totals = stats["totals"]
    check(stats["balanced"], f"counters do not balance: {totals}")
    verify = demo.router.call("fib.verify", samples=100_000, seed=7, timeout=30)
    check(verify["count"] == 0, f"RIB and FIB differ: {verify['differences'][:3]}")
    drops = sum(totals["drops"].values())
    text = (
        f"rx {totals['rx']} = forwarded {totals['forwarded']} + delivered {totals['delivered']}"
        f" + dropped {drops} + waiting {totals['held']}; fib verify: 0 differences"
    )
    return text, {"totals": totals, "verify": verify}


def leftovers(router: Router) -> str:
    """What a router may leave behind in its namespaces, as text to compare.

    A command that fails is a LabError: two times nothing would be equal, too.
    """
    commands = (
        ["nft", "list", "ruleset"],
        ["tc", "qdisc"],
        ["ip", "-o", "link"],
        ["ip", "address"],
        ["ip", "route", "show", "table", "all"],
        ["ip", "-6", "route", "show", "table", "all"],
        ["ls", "/dev/shm"],
    )
    text = "".join(router.node.run(command, check=True).stdout for command in commands)
    text += router.node.call(settings) + router.node.call(ipc_objects)
    return text + str(sorted(router.names.run_dir.glob("*")))


def settings() -> str:
    """Inside a node: the kernel settings of the kinds a router changes, a line each."""
    found = [
        f"{path} = {path.read_text().strip()}"
        for version in ("ipv4", "ipv6")
        for path in sorted(Path("/proc/sys/net", version).rglob("*"))
        if SETTING.search(path.name) and path.is_file()
    ]
    assert found, "no settings in /proc/sys/net"
    return "\n".join(found) + "\n"


def ipc_objects() -> str:
    """Inside a node: kind, key and id of each System V object."""
    found = []
    for kind in ("msg", "sem", "shm"):
        rows = Path("/proc/sysvipc", kind).read_text().splitlines()[1:]
        found += [" ".join([kind, *row.split()[:2]]) for row in rows]
    return "\n".join(found) + "\n"


def stop(demo: Demo) -> StepOutcome:
    """The orderly stop removes every object, rule, link and setting the router made."""
    status = demo.router.stop()
    check(status == 0, f"exit status {status}")
    after = leftovers(demo.router)
    if after != demo.before:
        changes = difflib.unified_diff(demo.before.splitlines(), after.splitlines(), n=0)
        raise StepFailed("left behind: " + " | ".join(changes))
    return "nothing left in /dev/shm, ipcs, nft, tc, links, routes, settings", {"exit": status}


STEPS: list[tuple[str, Step]] = [
    ("load a routing table", load_table),
    ("echo h1 -> h2", echo_across),
    ("echo n2 -> r1", echo_router),
    ("traceroute h1 -> n2", traceroute),
    ("TCP h1 <-> h2", tcp),
    ("add a route", route_add),
    ("kill -9 control", kill_control),
    ("worker 1 writes to the FIB", worker_writes),
    ("kill -9 supervisor", kill_supervisor),
    ("kill -9 guardian", kill_guardian),
    ("the counters balance", balance),
]
