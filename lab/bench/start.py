"""From `ribcage run` to ready, stage by stage, and from SIGTERM to the end.

    python -m ribcage.lab.bench.start --runs 10
    python -m ribcage.lab.bench.start --runs 5 --routes 1000000     # with a checkpoint of so many

A router with two ports and two workers in a lab of its own is started and stopped again and again,
in the foreground and with --daemon in turn. A stage is the moment of a line of the router's log,
after the command was started: what the log says, in microseconds of the wall clock. A run in which
that clock was set is told and left out. `up` is the log's `ready`; `returned` the end of `run
--daemon`; `stop` lasts from SIGTERM to the end of the supervisor.

With --routes the table is loaded once, and each start reads the checkpoint that the stop before it
wrote. Prints medians, minima and maxima; --json prints one document.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ribcage.lab.bench.takeover import load
from ribcage.lab.bench.tcp import machine
from ribcage.lab.demo.demo import CONFIG
from ribcage.lab.tables import find_table
from ribcage.lab.topology.guarded import GuardedRouter
from ribcage.lab.topology.namespaces import Lab
from ribcage.lab.topology.router import Router, wait_for
from ribcage.lab.topology.topologies import demo as demo_topology

NAME = "start"
SETTINGS = "\n[log]\nformat = 'json'\nlevel = 'debug'\n"
CHECKPOINT = "\n[rib]\ncheckpoint = true\ncheckpoint_interval = '24h'\n"
CLOCK_STEP = 0.005  # seconds between the clocks that a run may gain or lose
WAIT = 60.0
# (stage, role of the line, its event, which of them: the first or the last)
STAGES = (
    ("supervisor", "supervisor", "supervisor.starts", 0),
    ("control forked", "supervisor", "child.start", 0),
    ("control attached", "control", "control.attached", 0),
    ("tables taken over", "control", "takeover.done", 0),
    ("host port made", "control", "kernel.host-port", 0),
    ("first port open", "supervisor", "port.open", 0),
    ("last port open", "supervisor", "port.open", -1),
    ("checkpoint read", "control", "checkpoint.restored", 0),
    ("last child ready", "supervisor", "child.ready", -1),
    ("up", "supervisor", "ready", 0),
)


def _offset() -> float:
    """Wall clock minus monotonic clock."""
    return time.time() - time.monotonic()


def lines_of(log: Path, since: int) -> list[dict[str, Any]]:
    """The log's lines from that byte on; what is no JSON is not the router's."""
    found = []
    for line in log.read_bytes()[since:].splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return [line for line in found if isinstance(line, dict)]


def stages_of(lines: list[dict[str, Any]], begin: float) -> dict[str, float]:
    """Milliseconds after `begin` (wall clock) of each stage that the log tells, up to `up`."""
    up = next((at for at, line in enumerate(lines) if line.get("event") == "ready"), len(lines))
    found = {}
    for stage, role, event, which in STAGES:
        at = [float(line["ts"]) for line in lines[: up + 1]
              if line.get("role") == role and line.get("event") == event]  # fmt: skip
        if at:
            found[stage] = (at[which] - begin) * 1e3
    return found


class Starts:
    """One lab, one configuration, many starts."""

    def __init__(self, lab: Lab, folder: Path, config: str) -> None:
        node = lab.nodes["r1"]
        self.forms: dict[str, Router] = {
            "foreground": Router(node, config, NAME, folder, folder / "run"),
            "daemon": GuardedRouter(node, config, NAME, folder, folder / "run"),
        }
        (folder / f"{NAME}.toml").write_text(config)
        self.folder = folder

    def one(self, form: str, routes: int) -> dict[str, float] | None:
        """Milliseconds of each stage and of the stop; None when the wall clock was set."""
        router = self.forms[form]
        size = router.log.stat().st_size if router.log.exists() else 0
        words = ["-i", NAME, "run", "-c", str(self.folder / f"{NAME}.toml")]
        if form == "daemon":
            words += ["--daemon", "--log-file", str(router.log)]
        environment = {**os.environ, "RIBCAGE_RUN_DIR": str(router.run_base)}
        offset = _offset()
        with router.log.open("ab") as log:
            begin = time.monotonic()
            process = router.node.popen(
                [sys.executable, "-m", "ribcage", *words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
            )  # fmt: skip
            returned = process.wait(WAIT) if form == "daemon" else 0
            took = (time.monotonic() - begin) * 1e3
        router.process = process if form == "foreground" else None
        if returned:
            raise RuntimeError(router.log.read_text(errors="replace")[size:][-2000:])
        wait_for("ready", lambda: self._ready(router, size, process), WAIT)
        found = stages_of(lines_of(router.log, size), begin + offset)
        if form == "daemon":
            found["returned"] = took
        self._check(router, routes)
        found["stop"] = self._stop(router)
        process.wait(WAIT)
        return found if abs(_offset() - offset) < CLOCK_STEP else None

    def _ready(self, router: Router, size: int, process: subprocess.Popen[bytes]) -> bool:
        if process.poll():
            raise RuntimeError(router.log.read_text(errors="replace")[size:][-2000:])
        return any(line.get("event") == "ready" for line in lines_of(router.log, size))

    def _check(self, router: Router, routes: int) -> None:
        """It is what it says: every process runs, the table is there."""
        router.wait_ready(WAIT)
        if routes:
            restored = router.call("system.version")["checkpoint"]["restored"]
            if restored is None or restored["routes"] < routes:
                raise RuntimeError(f"{routes} routes were wanted, restored: {restored}")

    def _stop(self, router: Router) -> float:
        """Milliseconds from SIGTERM to the end of the supervisor, by its pidfd."""
        pid = os.pidfd_open(router.pid("supervisor"))
        try:
            begin = time.monotonic()
            signal.pidfd_send_signal(pid, signal.SIGTERM)
            if not select.select([pid], [], [], WAIT)[0]:
                raise TimeoutError("the router does not stop")
            took = (time.monotonic() - begin) * 1e3
        finally:
            os.close(pid)
        wait_for("everything removed", lambda: not router.names.supervisor_lock.exists(), WAIT)
        return took

    def fill(self, routes: int) -> None:
        """A table that the stop writes as a checkpoint."""
        router = self.forms["foreground"]
        router.start(WAIT)
        load(router, find_table(4, routes))
        router.stop(WAIT)


def spread(runs: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Median, least and greatest of each stage that all runs have."""
    names = [*(stage[0] for stage in STAGES), "returned", "stop"]
    return {
        name: {
            "median": statistics.median(run[name] for run in runs),
            "min": min(run[name] for run in runs),
            "max": max(run[name] for run in runs),
        }
        for name in names
        if runs and all(name in run for run in runs)
    }


def measure(runs: int, routes: int) -> dict[str, Any]:
    """`runs` starts in each form, in turn, after one that nobody counts."""
    facts = machine()
    found: dict[str, list[dict[str, float]]] = {"foreground": [], "daemon": []}
    left_out = 0
    # A short path: sockets lie below it, and their names are bounded.
    with tempfile.TemporaryDirectory() as name, Lab() as lab:
        demo_topology(lab)
        folder = Path(name)
        folder.chmod(0o711)  # the router's processes have users of their own
        os.environ["RIBCAGE_STATE_DIR"] = str(folder / "state")
        starts = Starts(lab, folder, CONFIG + SETTINGS + (CHECKPOINT if routes else ""))
        if routes:
            starts.fill(routes)
        else:
            starts.one("foreground", 0)
        for run in range(runs * 2):
            form = ("foreground", "daemon")[run % 2]
            one = starts.one(form, routes)
            if one is None:
                left_out += 1
            else:
                found[form].append(one)
    return {"ms": {form: spread(ones) for form, ones in found.items()}, "runs": found,
            "routes": routes, "left_out": left_out, "machine": facts,
            "load": os.getloadavg()[0]}  # fmt: skip


def main() -> int:
    """Command-line face."""
    parser = argparse.ArgumentParser(description="From `ribcage run` to ready.")
    parser.add_argument("--runs", type=int, default=10, help="of each form")
    parser.add_argument("--routes", type=int, default=0, help="of a checkpoint")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    result = measure(args.runs, args.routes)
    if args.json:
        print(json.dumps(result))
        return 0
    facts = result["machine"]
    print(f"{facts['cpu']}, {facts['cpus']} CPUs, Linux {facts['kernel']}")
    print(f"{args.runs} starts of each form, checkpoint of {args.routes} routes, "
          f"load {result['load']:.1f}, left out {result['left_out']}")  # fmt: skip
    for form, stages in result["ms"].items():
        print(f"{form}, ms after the command:")
        for stage, ms in stages.items():
            print(f"  {stage:<18} median {ms['median']:7.1f}  min {ms['min']:7.1f}  "
                  f"max {ms['max']:7.1f}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
