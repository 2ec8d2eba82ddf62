"""From the death of control to the next acknowledged update; how long its loop stands still.

    python -m ribcage.lab.bench.takeover --runs 10

A router in a lab of its own holds a full table (lab/tables.py). Control is ended in three ways, in
turn; a client that retries every millisecond asks for one route until the answer is there:

    standby   SIGKILL, three seconds after its predecessor's takeover at the earliest, so that the
              standby has its imports
    cold      SIGKILL, and no standby is there
    hung      SIGSTOP: the supervisor's watchdog has to notice (control.hang_timeout)

Meanwhile, and while the table is loaded, compared and written as a checkpoint, a client pings
every 2 ms: its longest wait is the longest stall of the loop. At the end the router is stopped
and started: from the command to the last route of the checkpoint in the FIB. Prints medians,
minima and maxima; --json prints one document.
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
import threading
import time
from collections.abc import Callable
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
HOW = ("standby", "cold", "hung")


def load(router: Router, table: SampleTable) -> None:
    """The whole table as run-time routes with one next hop."""
    with ManagementClient(router.names.control_socket, 60.0) as client:
        number = client.call("route.load.begin", {"source": "added", "vias": ["10.0.2.2"]})["id"]
        for at in range(0, len(table.lines), CHUNK):
            text = "\n".join(table.lines[at : at + CHUNK]) + "\n"
            client.call("route.load.chunk", {"id": number, "text": text})
        client.call("route.load.commit", {"id": number, "wait": "published"})


class Pinger(threading.Thread):
    """Pings control until `end()`; `worst` seconds between a ping and its answer."""

    def __init__(self, router: Router) -> None:
        super().__init__(daemon=True)
        self.router = router
        self.worst = 0.0
        self._over = threading.Event()

    def run(self) -> None:
        with ManagementClient(self.router.names.control_socket, 60.0) as client:
            while not self._over.wait(0.002):
                start = time.monotonic()
                client.call("system.ping")
                self.worst = max(self.worst, time.monotonic() - start)

    def end(self) -> float:
        self._over.set()
        self.join()
        return self.worst


def stalled(router: Router, work: Callable[[], object]) -> tuple[float, float]:
    """How long some work took, and the longest stall of control during it; in ms."""
    pinger = Pinger(router)
    pinger.start()
    start = time.monotonic()
    work()
    took = time.monotonic() - start
    return took * 1e3, pinger.end() * 1e3


def standby_ready(router: Router) -> bool:
    """Whether a standby waits with everything imported."""
    with contextlib.suppress(RibcageError):
        return any(p["role"] == "standby" and p["state"] == "ready" for p in router.processes())
    return False


def one(router: Router, run: int, how: str) -> dict[str, float]:
    """One end. Milliseconds to the acknowledged update, and control's own part of them."""
    wait_for("a standby", lambda: standby_ready(router), 60.0)
    time.sleep(WARM)  # what is measured is a takeover by a standby at rest
    pid, standby = router.pid("control"), router.pid("standby")
    route = {
        "dst": f"198.18.{run}.0/24",
        "nexthops": [{"via": "10.0.2.2"}],
        "wait": "published",
    }
    if how == "cold":
        os.kill(standby, signal.SIGKILL)
    start = time.monotonic()
    os.kill(pid, signal.SIGSTOP if how == "hung" else signal.SIGKILL)
    answer = _until_acknowledged(router, route)
    took = time.monotonic() - start
    takeover = router.call("system.version")["takeover"]
    _, stall = stalled(router, lambda: router.call("fib.verify", samples=10_000, timeout=60.0))
    return {"ms": took * 1e3, "control_ms": takeover["ms"], "stall_ms": stall,
            "generation": answer["generation"]}  # fmt: skip


def restart(router: Router) -> dict[str, float]:
    """The checkpoint written, the router stopped and started; in seconds."""
    written, stall = stalled(router, lambda: router.call("rib.checkpoint", timeout=60.0))
    begin = time.monotonic()
    router.stop(30.0)
    stopped = time.monotonic() - begin
    begin = time.monotonic()
    router.start(60.0)
    started = time.monotonic() - begin
    found = router.call("system.version")["checkpoint"]["restored"]
    return {"write": written / 1e3, "write_stall_ms": stall, "stop": stopped, "start": started,
            "restore": found["seconds"], "routes": found["routes"]}  # fmt: skip


def _until_acknowledged(router: Router, route: dict[str, Any], seconds: float = 30.0) -> Any:
    """The reply to `route.add`, tried again each millisecond while nobody listens."""
    end = time.monotonic() + seconds
    while True:
        try:
            with ManagementClient(router.names.control_socket, 0.5) as client:
                return client.call("route.add", route)
        except RibcageError as error:
            if time.monotonic() > end:
                raise TimeoutError(f"no update within {seconds:g} s: {error}") from error
        time.sleep(0.001)


def measure(runs: int, table: SampleTable) -> dict[str, Any]:
    """`runs` ends of each kind in one router that holds `table`."""
    facts = machine()
    with tempfile.TemporaryDirectory() as name, Lab() as lab:
        demo_topology(lab)
        folder = Path(name)
        # More deaths than a router forgives by default in a minute are wanted here.
        config = CONFIG.replace("count = 2\n", "count = 2\nrestart = {max = 1000}\n")
        config += "\n[rib]\ncheckpoint = true\ncheckpoint_interval = '24h'\n"
        router = Router(lab.nodes["r1"], config, "takeover", folder, folder / "run")
        begin = time.monotonic()
        with running(router):
            empty = time.monotonic() - begin
            took, stall = stalled(router, lambda: load(router, table))
            ends = {how: [one(router, 8 * runs * i + run, how) for run in range(runs)]
                    for i, how in enumerate(HOW)}  # fmt: skip
            same = router.call("fib.verify", samples=10_000, timeout=60.0)["count"] == 0
            again = restart(router)
    return {
        "ms": {how: _spread([one["ms"] for one in ones]) for how, ones in ends.items()},
        "control_ms": statistics.median(one["control_ms"] for one in ends["standby"]),
        "stall_ms": {"load": stall, "write": again["write_stall_ms"],
                     "verify": max(one["stall_ms"] for ones in ends.values() for one in ones)},
        "load_ms": took,
        "start_empty": empty,
        "checkpoint": again,
        "ends": ends,
        "routes": len(table.lines),
        "table": table.source,
        "fib_equals_rib": same,
        "machine": facts,
    }  # fmt: skip


def _spread(times: list[float]) -> dict[str, float]:
    return {"median": statistics.median(times), "min": min(times), "max": max(times)}


def main() -> int:
    """Command-line face."""
    parser = argparse.ArgumentParser(description="Death of control to the next update.")
    parser.add_argument("--runs", type=int, default=5, help="of each kind")
    parser.add_argument("--routes", type=int, default=100_000, help="of a synthetic table")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    result = measure(args.runs, find_table(4, args.routes))
    if args.json:
        print(json.dumps(result))
        return 0
    facts = result["machine"]
    print(f"{facts['cpu']}, {facts['cpus']} CPUs, Linux {facts['kernel']}")
    print(
        f"{result['routes']} routes ({result['table']}), {args.runs} ends of control of each kind"
    )
    print("end to next acknowledged update, ms:")
    for how, ms in result["ms"].items():
        print(f"  {how:<8} median {ms['median']:.1f}  min {ms['min']:.1f}  max {ms['max']:.1f}")
    print(f"  of the standby's, its own takeover: median {result['control_ms']:.1f}")
    stalls = "  ".join(f"{what} {ms:.0f}" for what, ms in result["stall_ms"].items())
    print(f"longest stall of control's loop, ms: {stalls}")
    kept = result["checkpoint"]
    print(f"checkpoint of {kept['routes']} routes, s: written {kept['write']:.2f}  read "
          f"{kept['restore']:.2f}  start with it {kept['start']:.2f}  start without "
          f"{result['start_empty']:.2f}  stop {kept['stop']:.2f}")  # fmt: skip
    print(f"FIB equals RIB afterwards: {result['fib_equals_rib']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
