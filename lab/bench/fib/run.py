"""The whole run of `ribcage bench fib`: inputs checked, contestants started, measured, reported.

    document = run(Request(family=4), progress=print)

Everything that can be refused is refused before anything is compiled or measured. Files for the
contestants live in a temporary folder; processes, segments and semaphores end with the run.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ribcage.shared._core import ffi

from ribcage.lab.bench.fib import build, machine, report
from ribcage.lab.bench.fib.binding import binding_ns
from ribcage.lab.bench.fib.contestants import Ours, choose, choose_peers, params_file, started
from ribcage.lab.bench.fib.measure import BenchPlan, Measurement, Progress, Results
from ribcage.lab.bench.fib.python_peer import MODULES
from ribcage.lab.bench.fib.streams import ADDRESSES, STREAMS, make_pairs, make_streams
from ribcage.lab.bench.fib.table import Rows, find_updates, load_table, load_updates
from ribcage.lab.bench.fib.updates import synthetic_updates


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """What is asked for; the defaults measure this build's own default alone."""

    family: int
    table: Path | None = None
    updates: Path | None = None
    engines: Sequence[str] = ()
    strategies: Sequence[str] = ()
    against: Sequence[str] = ()
    portable: bool = False
    teach: bool = False
    quick: bool = False
    repetitions: int | None = None
    seed: int = 1
    addresses: int = ADDRESSES
    routes: int = 100_000
    """Of the synthetic table, where there is no other."""
    plan: BenchPlan | None = None
    """Instead of what `quick` and `repetitions` mean."""
    command: Sequence[str] = field(default_factory=lambda: sys.argv)


def run(request: BenchRequest, progress: Progress) -> dict[str, Any]:
    """The document; `void` is None, or says what disagreed. RibcageError for bad input."""
    began = time.monotonic()
    stages = Stages(progress)
    progress = stages.enter
    ours = choose(request.family, request.engines, request.strategies, request.teach)
    peers = choose_peers(request.against)
    progress("reading the table")
    table = load_table(request.family, request.table, request.routes, request.seed)
    updates = _updates(request, table)
    cpu, second = _cpus()
    plan = request.plan or BenchPlan.of(request.quick, request.repetitions, request.seed)
    before = machine.load()
    progress("compiling")
    for program in ("ribcage_fib", *(["dpdk_fib"] if "dpdk" in peers else [])):
        build.build(program)
    with tempfile.TemporaryDirectory(prefix="ribcage-bench-") as name:
        folder = Path(name)
        progress("making the streams")
        _write(folder, request, table, updates, ours)
        python = [peer for peer in peers if peer in MODULES]
        with started(ours, peers, folder, table, cpu) as programs:
            names = [one.name for one in ours]
            results = Measurement(
                programs, names, python, plan, second, request.portable, progress
            ).run()
        binding: list[int] = []
        if second is not None and results.disagreement is None:
            progress("visible through the binding")
            binding = binding_ns(ours[0], table, folder, cpu, second, plan.binding, plan.seed)
    document = _document(request, results, ours, peers, table, updates, binding)
    document["machine"] |= {
        **machine.disturbance(before, machine.load()),
        "pinned": {"measured_cpu": cpu, "second_cpu": second},
    }
    document["settings"] |= asdict(plan)
    document["stages"] = stages.seconds()
    document["seconds"] = round(time.monotonic() - began, 1)
    return document


class Stages:
    """Passes progress on and remembers how long each kind of work took."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._found: dict[str, float] = {}
        self._kind, self._since = "start", time.monotonic()

    def enter(self, step: str) -> None:
        now = time.monotonic()
        self._found[self._kind] = self._found.get(self._kind, 0.0) + now - self._since
        self._kind, self._since = step.rstrip("0123456789/ "), now
        self._progress(step)

    def seconds(self) -> dict[str, float]:
        self.enter("report")
        return {kind: round(seconds, 2) for kind, seconds in self._found.items()}


def _updates(request: BenchRequest, table: Rows) -> Rows:
    path = request.updates or find_updates(request.family, request.table)
    if path is not None:
        return load_updates(request.family, path)
    return synthetic_updates(table, request.seed)


def _cpus() -> tuple[int, int | None]:
    """Where contestants run (the last CPU: the first serves most interrupts), and where a second
    process does; None on a machine with one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[-1], allowed[0] if len(allowed) > 1 else None


def _write(
    folder: Path, request: BenchRequest, table: Rows, updates: Rows, ours: Sequence[Ours]
) -> None:
    (folder / "rows.bin").write_bytes(table.to_bytes())
    (folder / "updates.bin").write_bytes(updates.to_bytes())
    (folder / "pairs.bin").write_bytes(make_pairs(table, request.seed))
    streams = make_streams(table, request.seed, request.addresses)
    for i, stream in enumerate(STREAMS):
        (folder / f"stream-{i}.bin").write_bytes(streams[stream])
    for one in ours:
        params = one.params(table, updates)
        (folder / params_file(one)).write_bytes(bytes(ffi.buffer(params)))


def _document(
    request: BenchRequest,
    results: Results,
    ours: Sequence[Ours],
    peers: Sequence[str],
    table: Rows,
    updates: Rows,
    binding: Sequence[int],
) -> dict[str, Any]:
    first = ours[0]
    return {
        "bench": "fib",
        "family": request.family,
        "version": version("ribcage"),
        "void": results.disagreement,
        "summary": report.summary(results, first.name, peers[0] if peers else None, binding),
        "contestants": {
            name: {**_kind(name, ours), **report.contestant(raw)}
            for name, raw in results.raw.items()
        },
        "binding_visible_us": {
            "contestant": first.name,
            "samples": len(binding),
            "p50": report.quantile(binding, 0.5),
            "p99": report.quantile(binding, 0.99),
        },
        "checksums": {
            moment: {
                stream: {name: f"{value:016x}" for name, value in found.items()}
                for stream, found in sums.items()
            }
            for moment, sums in results.checksums.items()
        },
        "table": {
            "source": table.source,
            "routes": table.count,
            "nexthops": table.max_nexthop,
            "updates": {"source": updates.source, "rows": updates.count},
        },
        "machine": machine.machine(),
        "settings": {
            "quick": request.quick,
            "portable": request.portable,
            "addresses": request.addresses,
        },
        "command": list(request.command),
    }


def _kind(name: str, ours: Sequence[Ours]) -> dict[str, Any]:
    for one in ours:
        if one.name == name:
            return {"kind": "ribcage", "engine": one.engine, "strategy": one.strategy}
    version = build.dpdk_version() if name == "dpdk" else None
    return {"kind": "peer", "version": version}
