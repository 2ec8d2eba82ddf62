"""How long flows pause when the worker that carries them is killed, hangs, is stopped, keeps dying.

    python -m ribcage.lab.bench.failover --kills 100 --runs 5

A router with two workers in a lab of its own carries a paced stream of numbered packets in many
flows. After each thing that is done to a worker the longest pause of any flow around that instant
is taken; pauses below 15 ms do not show in a flow's own pace and count as 0. Prints median, 99th
percentile and maximum in milliseconds, and the packets that were lost: those that found no room in
the ring of a worker that hung, which the router has to have counted. --json prints one document.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ribcage.lab.bench.tcp import machine
from ribcage.lab.demo.demo import CONFIG
from ribcage.lab.probe.traffic import Stream, StreamResult, probe
from ribcage.lab.topology.namespaces import Lab
from ribcage.lab.topology.router import Router, running, wait_for
from ribcage.lab.topology.topologies import demo as demo_topology

FLOWS = 16
RATE = 4000
EVERY = 0.75  # seconds between two kills; a worker that lived a second is replaced at once
KEEP = "count = 2\nrestart = { max = 1000 }\n"
EARLIER = 20_000_000  # ns: a pause that begins so long before the instant may be its own


def longest_pause(result: StreamResult, at: int) -> float:
    """Milliseconds from `at` until the last flow that paused around it went on."""
    ends = [
        end
        for flow in result.flows.values()
        for begin, end in flow.pauses
        if begin <= at + EARLIER and end > at
    ]
    return max(((end - at) / 1e6 for end in ends), default=0.0)


def successor(router: Router, worker: int, old: int) -> int:
    """Waits for another process, ready, in this slot."""

    def look() -> int | None:
        for row in router.processes():
            if (row["role"], row["index"], row["state"]) == ("worker", worker, "ready"):
                return int(row["pid"]) if row["pid"] != old else None
        return None

    return wait_for(f"a new worker {worker}", look, 30.0)


class Deeds:
    """What is done to workers, and when."""

    def __init__(self, lab: Lab, router: Router) -> None:
        self.lab = lab
        self.router = router
        self.pids = [router.pid("worker", worker) for worker in range(2)]
        self.times: list[int] = []

    def kill(self, worker: int) -> None:
        os.kill(self.pids[worker], signal.SIGKILL)

    def stop(self, worker: int) -> None:
        os.kill(self.pids[worker], signal.SIGSTOP)

    def hang(self, worker: int) -> None:
        self.router.call("fault.inject", worker=worker, kind="hang")

    def run(
        self, deed: Callable[[int], None], times: int, pause: float, worker: int
    ) -> dict[str, float]:
        """Does it so many times, to worker `worker` or (-1) to both in turn; pauses, in ms."""
        done: list[int] = []
        h1, h2 = self.lab.nodes["h1"], self.lab.nodes["h2"]
        with Stream(h1, h2, "10.0.2.2", rate=RATE, flows=FLOWS) as stream:
            stream.carried(1.2)
            for turn in range(times):
                one = turn % 2 if worker < 0 else worker
                done.append(time.monotonic_ns())
                deed(one)
                self.pids[one] = successor(self.router, one, self.pids[one])
                stream.carried(max(0.0, pause - (time.monotonic_ns() - done[-1]) / 1e9))
        result = stream.result
        told = summary([longest_pause(result, at) for at in done])
        return told | {"sent": result.sent, "lost": result.lost, "twice": result.duplicates}


def summary(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "n": len(ordered),
        "median": round(statistics.median(ordered), 1),
        "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 1),
        "max": round(ordered[-1], 1),
    }


def measure(kills: int, runs: int) -> dict[str, Any]:
    """Everything, in one router."""
    with tempfile.TemporaryDirectory() as name, Lab() as lab:
        demo_topology(lab)
        folder = Path(name)
        config = CONFIG.replace("count = 2\n", KEEP)
        if "teach" not in config:
            config = config.replace("[router]\n", "[router]\nteach = true\n")
        with running(Router(lab.nodes["r1"], config, "failover", folder, folder / "run")) as router:
            probe(lab.nodes["h1"], "echo", "10.0.2.2", "--count", "3")
            deeds = Deeds(lab, router)
            result: dict[str, Any] = {
                "killed": deeds.run(deeds.kill, kills, EVERY, -1),
                "hung": deeds.run(deeds.hang, runs, 2.0, 0),
                "stopped": deeds.run(deeds.stop, runs, 2.0, 1),
                "keeps dying": deeds.run(deeds.kill, 10, 0.0, 0),
            }
            stats = router.call("stats.show")
            result["balanced"] = stats["balanced"]
            result["rx_ring_full"] = stats["totals"]["drops"]["rx-ring-full"]
    return result | {"machine": machine()}


def main() -> int:
    """Command-line face."""
    parser = argparse.ArgumentParser(description="Pauses of flows when workers fail.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5, help="hangs, and stops")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    result = measure(args.kills, args.runs)
    if args.json:
        print(json.dumps(result))
        return 0
    facts = result["machine"]
    print(f"{facts['cpu']}, {facts['cpus']} CPUs, Linux {facts['kernel']}")
    for what in ("killed", "hung", "stopped", "keeps dying"):
        one = result[what]
        print(f"{what:12} {one['n']:4} times, flows pause ms: median {one['median']:6.1f}"
              f"  p99 {one['p99']:6.1f}  max {one['max']:6.1f}; lost {one['lost']} of"
              f" {one['sent']}, twice {one['twice']}")  # fmt: skip
    print(f"counted as rx-ring-full: {result['rx_ring_full']}; balanced: {result['balanced']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
