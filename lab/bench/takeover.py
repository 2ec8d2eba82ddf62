"""From the death of control to the next acknowledged update, with a warm standby.

    python -m ribcage.lab.bench.takeover --runs 10

A router in a lab of its own holds a full table (lab/tables.py). Control is killed by SIGKILL,
three seconds after its predecessor's takeover at the earliest, so that the standby has its imports;
a client that retries every millisecond asks for one route until the answer is there. Prints
median, minimum and maximum, and the part that control itself measured (`takeover`: from the
supervisor's word to the management socket being up). --json prints one document.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ribcage.lab.bench.tcp import machine
from ribcage.lab.demo.demo import CONFIG
from ribcage.lab.tables import SampleTable, find_table
from ribcage.lab.topology.namespaces import Lab
from ribcage.lab.topology.router import Router, running, wait_for
from ribcage.lab.topology.topologies import demo as demo_topology
from ribcage.shared.errors import RibcageError
from ribcage.shared.management import ManagementClient

WARM = 3.0  # seconds: the standby is forked a second after control is ready, then imports
CHUNK = 2000  # lines


def load(router: Router, table: SampleTable) -> None:
    """The whole table as run-time routes with one next hop."""
    with ManagementClient(router.names.control_socket, 60.0) as client:
        number = client.call("route.load.begin", {"source": "added", "vias": ["10.0.2.2"]})["id"]
        for at in range(0, len(table.lines), CHUNK):
            text = "\n".join(table.lines[at : at + CHUNK]) + "\n"
            client.call("route.load.chunk", {"id": number, "text": text})
        client.call("route.load.commit", {"id": number, "wait": "published"})


def standby_ready(router: Router) -> bool:
    """Whether a standby waits with everything imported."""
    with contextlib.suppress(RibcageError):
        return any(p["role"] == "standby" and p["state"] == "ready" for p in router.processes())
    return False


def one(router: Router, run: int) -> dict[str, float]:
    """One death. Milliseconds to the acknowledged update, and control's own part of them."""
    wait_for("a standby", lambda: standby_ready(router), 30.0)
    time.sleep(WARM)  # what is measured is a takeover by a standby at rest
    pid = router.pid("control")
    route = {
        "dst": f"198.18.{run}.0/24",
        "nexthops": [{"via": "10.0.2.2"}],
        "wait": "published",
    }
    start = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    answer = _until_acknowledged(router, route)
    took = time.monotonic() - start
    takeover = router.call("system.version")["takeover"]
    return {"ms": took * 1e3, "control_ms": takeover["ms"], "generation": answer["generation"]}


def _until_acknowledged(router: Router, route: dict[str, Any], seconds: float = 30.0) -> Any:
    """The reply to `route.add`, tried again each millisecond while nobody listens."""
    end = time.monotonic() + seconds
    while True:
        try:
            with ManagementClient(router.names.control_socket, 5.0) as client:
                return client.call("route.add", route)
        except RibcageError as error:
            if time.monotonic() > end:
                raise TimeoutError(f"no update within {seconds:g} s: {error}") from error
        time.sleep(0.001)


def measure(runs: int, table: SampleTable) -> dict[str, Any]:
    """`runs` deaths in one router that holds `table`."""
    facts = machine()
    with tempfile.TemporaryDirectory() as name, Lab() as lab:
        demo_topology(lab)
        folder = Path(name)
        # More deaths than a router forgives by default in a minute are wanted here.
        config = CONFIG.replace("count = 2\n", "count = 2\nrestart = {max = 1000}\n")
        with running(Router(lab.nodes["r1"], config, "takeover", folder, folder / "run")) as router:
            load(router, table)
            deaths = [one(router, run) for run in range(runs)]
            same = router.call("fib.verify", samples=10_000, timeout=60.0)["count"] == 0
    times = [death["ms"] for death in deaths]
    return {
        "ms": {"median": statistics.median(times), "min": min(times), "max": max(times)},
        "control_ms": statistics.median(death["control_ms"] for death in deaths),
        "deaths": deaths,
        "routes": len(table.lines),
        "table": table.source,
        "fib_equals_rib": same,
        "machine": facts,
    }


def main() -> int:
    """Command-line face."""
    parser = argparse.ArgumentParser(description="Death of control to the next update.")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--routes", type=int, default=100_000, help="of a synthetic table")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    result = measure(args.runs, find_table(4, args.routes))
    if args.json:
        print(json.dumps(result))
        return 0
    facts, ms = result["machine"], result["ms"]
    print(f"{facts['cpu']}, {facts['cpus']} CPUs, Linux {facts['kernel']}")
    print(f"{result['routes']} routes ({result['table']}), {args.runs} deaths of control")
    print("death to next acknowledged update, ms: "
          f"median {ms['median']:.1f}  min {ms['min']:.1f}  max {ms['max']:.1f}")  # fmt: skip
    print(f"of it, control's own takeover: median {result['control_ms']:.1f} ms")
    print(f"FIB equals RIB afterwards: {result['fib_equals_rib']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
