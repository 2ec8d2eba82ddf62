"""The demo: packets cross a router, its processes are killed, everything balances.

    make demo            build, run, remove everything; exit 1 when a step fails
    make demo KEEP=1     leave the lab up and say what to try in it; STOP=1 takes it down
    make demo JSON=1     one JSON document on stdout instead

    h1 10.0.1.2 --- eth1 [ r1: supervisor, control, worker 0, worker 1 ] eth2 --- h2 --- n2 10.0.3.2

Runs as root or as a plain user, in user, network, mount and IPC namespaces of its own; it never
touches the machine's own links, addresses or shared memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from ribcage.lab.demo.keep import (
    hold_elsewhere,
    holder,
    note,
    remember,
    remove_if_empty,
    take_down,
)
from ribcage.lab.demo.steps import STEPS, Demo, Step, leftovers, stop
from ribcage.lab.tables import SampleTable, find_table
from ribcage.lab.topology.guarded import GuardedRouter
from ribcage.lab.topology.namespaces import Lab, available
from ribcage.lab.topology.topologies import R1_INTERFACES, R1_ROUTES
from ribcage.lab.topology.topologies import demo as demo_topology
from ribcage.shared.process.names import Names

INSTANCE = "demo"
CONFIG = f"""\
schema = 1

[router]
name = "demo"
orphan_timeout = "5s"
teach = true

[workers]
count = 2
{R1_INTERFACES}{R1_ROUTES}"""
TRY = """
The lab is up. Try:
  .venv/bin/ribcage -i demo ps --maps
  .venv/bin/ribcage -i demo route get 10.0.3.2
  .venv/bin/ribcage -i demo explain 10.0.1.2 10.0.3.2 --in eth1 --ttl 1
  .venv/bin/ribcage -i demo stats --check
  .venv/bin/ribcage -i demo fib verify
  .venv/bin/ribcage -i demo fault kill worker0   # a lesson; fault --list: others
  nsenter -t {h1} {user}-n .venv/bin/python -m ribcage.lab.probe.echo \\
    10.0.3.2 --count 200000 > /dev/null &   # packets for a lesson, some seconds
  kill -9 {control}   # control; then again: .venv/bin/ribcage -i demo ps
  make demo STOP=1   # take it down
"""
ENDS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
TRY_AGAIN = """
Everything was removed. Try:
  make demo KEEP=1           # the same, and the lab stays up for commands of your own
  make test
"""


class StepReport:
    """Prints a line a step, or collects them for one JSON document."""

    def __init__(self, as_json: bool, out: TextIO) -> None:
        self._json, self._out = as_json, out
        self.steps: list[dict[str, Any]] = []

    def line(self, text: str) -> None:
        """Talk for a person; silent when the answer is JSON."""
        if not self._json:
            print(text, file=self._out, flush=True)

    def step(self, name: str, ok: bool, seconds: float, text: str, facts: dict[str, Any]) -> None:
        """One checked and timed step."""
        number = len(self.steps) + 1
        entry = {"name": name, "ok": ok, "seconds": round(seconds, 3), "text": text}
        self.steps.append({**entry, "facts": facts})
        mark = "" if ok else "FAILED: "
        self.line(
            f"{number:3}. {name} {'.' * max(2, 28 - len(name))} {mark}{text}  ({seconds:.1f} s)"
        )

    def finish(self, table: SampleTable | None) -> bool:
        """The verdict; in JSON mode the whole document."""
        ok = bool(self.steps) and all(step["ok"] for step in self.steps)
        if self._json:
            about = {"routes": len(table.lines), "source": table.source} if table else None
            json.dump({"ok": ok, "steps": self.steps, "table": about}, self._out)
            self._out.write("\n")
        return ok


def _run_steps(demo: Demo, steps: Sequence[tuple[str, Step]], report: StepReport) -> None:
    """All `steps`; the first failure ends them, since the later ones build on it."""
    for name, step in steps:
        started = time.monotonic()
        try:
            text, facts = step(demo)
        except Exception as error:  # any failure is the step's result, never a traceback
            words = f"{type(error).__name__}: {error}"
            report.step(name, False, time.monotonic() - started, words, {})
            return
        report.step(name, True, time.monotonic() - started, text, facts)


def run(keep: bool, report: StepReport) -> bool:
    """Build the lab, run the steps, remove the lab; True when every step held.

    With `keep` the calling process ends here, and a child of it goes on: see keep.py.
    """
    table = find_table(4)
    release = hold_elsewhere() if keep else None
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ribcage-demo-")))
        # A lab that is kept has to be found by `ribcage -i demo`; another needs no place outside.
        names = Names.resolve(INSTANCE) if keep else Names(INSTANCE, folder / "run")
        stack.callback(remove_if_empty, names.run_base)
        names.run_base.mkdir(mode=0o700 if os.getuid() else 0o755, parents=True, exist_ok=True)
        started = time.monotonic()
        lab = demo_topology(stack.enter_context(Lab()))
        router = GuardedRouter(lab.nodes["r1"], CONFIG, INSTANCE, folder, names.run_base)
        before = leftovers(router)
        table_file = folder / "table.txt"
        table_file.write_text("\n".join(table.lines) + "\n")
        stack.callback(router.kill_all)
        try:
            router.start()
        except Exception as error:  # the log's last lines are in the message
            report.step("start", False, time.monotonic() - started, str(error), {})
            return report.finish(table)
        demo = Demo(lab, router, table, table_file, before)
        pids = {p["role"] + str(p.get("index", 0)): p["pid"] for p in router.processes()}
        who = "as root" if os.getuid() == 0 else "no root used"
        report.line(f"ribcage demo: namespaces of its own, {who}")
        report.line(
            f"  h1 10.0.1.2 --- eth1 [ r1: control pid {pids['control0']} | worker 0 pid"
            f" {pids['worker0']} | worker 1 pid {pids['worker1']} ] eth2 --- h2 --- n2 10.0.3.2"
        )
        report.step("start", True, time.monotonic() - started, "lab and router up", {"pids": pids})
        _run_steps(demo, STEPS, report)
        ok = all(step["ok"] for step in report.steps)
        if not ok and router.log.exists():
            print(
                f"--- the router's log, last lines\n{router.log.read_text()[-4000:]}",
                file=sys.stderr,
            )
        if release is None or not ok:
            _run_steps(demo, [("stop", stop)], report)
            return report.finish(table)
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
        remember(names, folder)
        stack.callback(note(names).unlink, missing_ok=True)
        report.finish(table)
        user = "" if os.getuid() == 0 else "-U --preserve-credentials "
        report.line(TRY.format(control=router.pid("control"), h1=lab.nodes["h1"].pid, user=user))
        release()
        signal.sigwait(ENDS)
        router.stop()
    return True


def main() -> int:
    """Command-line face; see the module's text."""
    parser = argparse.ArgumentParser(description="Packets across a router whose processes die.")
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    parser.add_argument("--stop", action="store_true", help="take a kept lab down")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    args = parser.parse_args()
    kept = Names.resolve(INSTANCE)
    if args.stop:
        return take_down(kept)
    if args.keep and holder(kept) is not None:
        print("error: a kept lab is up already; end it first: make demo STOP=1", file=sys.stderr)
        return 1
    possible, reason = available()
    if not possible:
        print(f"error: the demo needs namespaces: {reason}", file=sys.stderr)
        return 5
    report = StepReport(args.json, sys.stdout)
    ok = run(args.keep, report)
    if ok and not args.keep:
        report.line(TRY_AGAIN)
    return 0 if ok else 1
