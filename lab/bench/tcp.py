"""One TCP flow through the router and through the kernel's own forwarding, side by side.

    make bench            or   python -m ribcage.lab.bench.tcp --runs 5 --seconds 2

Both paths are built at once from the same parts: two hosts, one middle, veth with default
offloads. In one the middle is a Ribcage router, in the other the kernel forwards. Runs alternate,
so that the machine's noise meets both; the figure that counts is the ratio of medians. Prints a
table and the machine's facts, or one JSON document with --json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from ribcage.lab.demo.demo import CONFIG
from ribcage.lab.probe.traffic import transfer
from ribcage.lab.topology.namespaces import Lab
from ribcage.lab.topology.router import Router, running
from ribcage.lab.topology.topologies import demo as demo_topology
from ribcage.lab.topology.topologies import kernel_path


def machine() -> dict[str, Any]:
    """Facts without which a figure means nothing."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def _summary(rates: list[float]) -> dict[str, float]:
    return {"median": statistics.median(rates), "min": min(rates), "max": max(rates)}


def measure(runs: int, seconds: float) -> dict[str, Any]:
    """Alternate `runs` flows of `seconds` each over both paths; Gbit/s as the receiver counts."""
    rates: dict[str, list[float]] = {"ribcage": [], "kernel": []}
    facts = machine()
    with tempfile.TemporaryDirectory() as name, Lab() as ours, Lab() as peers:
        demo_topology(ours)
        kernel_path(peers)
        folder = Path(name)
        with running(Router(ours.nodes["r1"], CONFIG, "demo", folder, folder / "run")) as router:
            for run in range(runs):
                order = [("ribcage", ours), ("kernel", peers)]
                for who, lab in order if run % 2 == 0 else reversed(order):
                    flow = transfer(
                        lab.nodes["h1"], lab.nodes["h2"], "10.0.2.2", "--seconds", str(seconds)
                    )
                    rates[who].append(flow["server"]["gbit_s"])
            balanced = router.call("stats.show")["balanced"]
    result = {who: _summary(values) for who, values in rates.items()}
    ratio = result["ribcage"]["median"] / result["kernel"]["median"]
    return {"gbit_s": result, "ratio": ratio, "runs": rates, "balanced": balanced, "machine": facts}


def main() -> int:
    """Command-line face."""
    parser = argparse.ArgumentParser(description="One TCP flow: the router beside the kernel.")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    result = measure(args.runs, args.seconds)
    if args.json:
        print(json.dumps(result))
        return 0
    facts = result["machine"]
    print(f"{facts['cpu']}, {facts['cpus']} CPUs, Linux {facts['kernel']}; {args.runs} runs each")
    print("path       median    min    max   Gbit/s, one TCP flow, default offloads")
    for who, row in result["gbit_s"].items():
        print(f"{who:9} {row['median']:7.1f} {row['min']:6.1f} {row['max']:6.1f}")
    print(f"ratio of medians {result['ratio']:.2f}; counters balanced: {result['balanced']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
