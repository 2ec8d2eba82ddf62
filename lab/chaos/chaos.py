"""One run: lab, router, traffic, churn, faults, the books, the end; one JSON document.

    document = run(ChaosRequest(minutes=2, seed=1), say=print)

    make chaos MINUTES=10 SEED=1       or   ribcage lab chaos --minutes 10 --seed 1
    make soak HOURS=8                  or   ribcage lab soak --hours 8

Everything is kept where `out` says: the router's log and configuration, what the probes said, the
document. The same seed draws the same faults in the same order.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ribcage.lab.chaos import plan, report
from ribcage.lab.chaos.engine import Engine
from ribcage.lab.chaos.growth import Growth
from ribcage.lab.chaos.kinds.kind import Kind
from ribcage.lab.chaos.kinds.table import DEFAULT
from ribcage.lab.chaos.ledger import Ledger
from ribcage.lab.chaos.rig import Rig
from ribcage.lab.topology.namespaces import LabError
from ribcage.shared.errors import RibcageError

CALM = 1.0  # seconds of traffic before the first fault and after the last
TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True, slots=True)
class ChaosRequest:
    """What a run is asked for. `rate`: packets a second of each flow."""

    minutes: float
    seed: int = 1
    kinds: Sequence[Kind] = field(default_factory=lambda: list(DEFAULT.values()))
    out: Path | None = None
    workers: int = 3
    rate: float = 200.0
    per_minute: float = 400.0
    soak: bool = False


def run(request: ChaosRequest, say: Callable[[str], None]) -> dict[str, Any]:
    """Builds, plays, judges, removes. LabError when no lab or no router can be had at all."""
    given = request.out
    out = Path(tempfile.mkdtemp(prefix="ribcage-chaos-")) if given is None else given.absolute()
    out.mkdir(parents=True, exist_ok=True)
    if any((out / name).exists() for name in ("records", "report.json", "router.log")):
        raise LabError(f"{out} holds another run; name a new folder")
    say(f"seed {request.seed}, log and report in {out}")
    try:
        document = _played(request, out, say)
    finally:
        shutil.rmtree(out / "records", ignore_errors=True)
        with contextlib.suppress(OSError):
            (out / "run").rmdir()
    document["passed"] = report.passed(document)
    if given is None and document["passed"]:
        shutil.rmtree(out)
        document["out"] = None
        return document
    (out / "report.json").write_text(json.dumps(document, indent=1) + "\n")
    return document


def _played(request: ChaosRequest, out: Path, say: Callable[[str], None]) -> dict[str, Any]:
    before = _outside()
    with Rig(out, request.workers, request.seed, request.rate) as rig:
        rig.start()
        ledger = Ledger(rig.records)
        engine = Engine(rig, ledger, request.kinds, request.seed, request.per_minute, say)
        growth = Growth(rig, every=min(60.0, max(1.0, request.minutes * 2)))
        origin = time.monotonic_ns()
        failure = ""
        time.sleep(CALM)
        try:
            engine.run(time.monotonic() + request.minutes * 60, growth.look)
        except LabError as error:  # the router is beyond repair: what was seen counts all the same
            failure = str(error)
        time.sleep(CALM)
        seconds = (time.monotonic_ns() - origin) / 1e9
        probes = rig.quiet()
        engine.finish()
        ledger.close()
        after = _afterwards(rig)
        left = _stopped(rig)
        left += sorted(_outside() - before)
    tally = ledger.tally
    missing = after.pop("routes_missing")
    tally.routes_lost += missing
    if failure:
        tally.example(failure)
        engine.faults[-1].unhealed.append(failure)
    log = rig.log.read_text(errors="replace") if rig.log.exists() else ""
    summary = report.summary(engine.faults, tally, log.count(TRACEBACK), left)
    watched = growth.to_json()
    summary["grown"] = len(watched["grown"]) if request.soak else 0
    return {
        "seed": request.seed,
        "seconds": round(seconds, 1),
        "out": str(out),
        "summary": summary,
        "kinds": report.by_kind(engine.faults),
        "faults": [fault.to_json(origin) for fault in engine.faults],
        "left_behind": left,
        "examples": tally.examples,
        "after": after,
        "growth": watched,
        "tool": probes,
    }


def _afterwards(rig: Rig) -> dict[str, Any]:
    """What the router says of itself when all is over, before it is stopped."""
    try:
        verify = rig.call("fib.verify", timeout=20.0, samples=20_000, seed=7)
        stats = rig.call("stats.show")
        have = {row["dst"] for row in _all_routes(rig)}
        return {
            "fib_differences": verify["count"],
            "balanced": stats["balanced"],
            "totals": stats["totals"],
            "routes_missing": len(set(plan.loaded()) - have),
        }
    except RibcageError as error:
        return {"error": error.message, "routes_missing": plan.LOADED}


def _outside() -> set[str]:
    """Objects of this instance's name that lie outside every lab, where none should ever be."""
    return {str(path) for path in Path("/dev/shm").glob(f"*ribcage.{plan.INSTANCE}.*")}


def _all_routes(rig: Rig) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    while True:
        page = rig.call("route.list", timeout=5.0, source="added", **more)
        rows += page["routes"]
        more = {"cursor": page["cursor"]}
        if not page["cursor"]:
            return rows


def _stopped(rig: Rig) -> list[str]:
    try:
        return rig.stop()
    except (LabError, subprocess.SubprocessError) as error:
        return [f"stop: {str(error)[:200]}"]
