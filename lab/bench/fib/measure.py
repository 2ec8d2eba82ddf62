"""The interleaved repetitions: in each, every contestant does the same thing, one after the other,
in an order drawn anew, so that a slow second of the machine meets all of them.

    results = measure(programs, ours, plan, progress)     # Results; raises Void

Every contestant's next hops are summed over every stream, weighted by their place, after the
load, the random pairs, the update stream and its undoing. Where two differ the run is void.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ribcage.lab.bench.fib.program import Program
from ribcage.lab.bench.fib.python_peer import SAMPLE
from ribcage.lab.bench.fib.streams import STREAMS

BATCH = 64
MODES = {"batch": BATCH, "single": 1}
LEAST = 1 << 16  # lookups of one turn
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """How much of each; `steps()` is how often progress is told."""

    repetitions: int
    turns: int  # of each contestant at lookups, in every repetition: short, so that they mix
    seed: int
    lookup_seconds: float  # of one turn
    pairs: int
    stream_repetitions: int
    loads: int
    visible: int  # samples a round
    blocks: int  # of the slowdown measurement
    block_ms: int
    rate: int  # updates/s in it
    takeovers: int
    binding: int

    @classmethod
    def of(cls, quick: bool, repetitions: int | None, seed: int, rate: int = 100_000) -> BenchPlan:
        if quick:
            reps = repetitions or 5
            return cls(reps, 6, seed, 0.004, 5_000, min(reps, 3), 3, 1_000, 80, 25, rate, 3, 500)
        reps = repetitions or 11
        return cls(reps, 8, seed, 0.008, 20_000, min(reps, 7), 7, 4_000, 240, 25, rate, 7, 3_000)


@dataclass(slots=True)
class Raw:
    """One contestant's figures, a value a repetition."""

    load: list[float] = field(default_factory=list)
    lookups: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: {stream: {mode: [] for mode in MODES} for stream in STREAMS}
    )
    pairs: list[float] = field(default_factory=list)
    pairs_published: list[float] = field(default_factory=list)
    stream: list[float] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)
    memory_after_load: dict[str, int] = field(default_factory=dict)
    visible_ns: list[list[int]] = field(default_factory=list)
    call_ns: list[list[int]] = field(default_factory=list)
    slowdown: dict[str, Any] = field(default_factory=dict)
    takeover_ns: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Results:
    raw: dict[str, Raw]
    checksums: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    """By moment, then `stream` or `stream/sample`, then contestant."""
    disagreement: str | None = None


class Void(Exception):
    """Two contestants do not agree on the next hops; the message says where."""


class Measurement:
    """One run over started contestants."""

    def __init__(
        self,
        programs: dict[str, Program],
        ours: Sequence[str],
        python: Sequence[str],
        plan: BenchPlan,
        second_cpu: int | None,
        portable: bool,
        progress: Progress,
    ) -> None:
        self.programs, self.ours, self.python = programs, ours, python
        self.plan, self.second_cpu, self.portable = plan, second_cpu, portable
        self.progress = progress
        self.rng = random.Random(f"{plan.seed} order")
        self.results = Results({name: Raw() for name in programs})

    def run(self) -> Results:
        """All of it; a disagreement ends it and stands in the results."""
        try:
            self._load()
            self._agree("loaded")
            self._lookups()
            self._updates()
            self._agree("pairs done")
            self._streams()
            for name in self.ours:
                self._processes(name)
            self._agree("at the end")
            for name in self.programs:
                self.results.raw[name].memory = self._ask(name, "memory")
        except Void as void:
            self.results.disagreement = str(void)
        return self.results

    def _ask(self, name: str, *words: object) -> dict[str, Any]:
        return self.programs[name].ask(*words)

    def _order(self) -> list[str]:
        names = list(self.programs)
        self.rng.shuffle(names)
        return names

    def _load(self) -> None:
        for name in self.programs:
            self.progress(f"load {name}")
            self.results.raw[name].load.append(self._ask(name, "load")["seconds"])
        for _ in range(self.plan.loads):  # the first filled the pages: these are warm
            for name in self.ours:
                self.results.raw[name].load.append(self._ask(name, "load")["seconds"])
        for name in self.ours:
            del self.results.raw[name].load[0]
        if self.portable:
            for name in self.programs:
                if name not in self.python:
                    self._ask(name, "vector", 0)
        for name in self.programs:
            self.results.raw[name].memory_after_load = self._ask(name, "memory")

    def _agree(self, moment: str) -> None:
        self.progress(f"checksums, {moment}")
        sums: dict[str, dict[str, int]] = {}
        for s, stream in enumerate(STREAMS):
            for name in self.programs:
                if name not in self.python:
                    sums.setdefault(stream, {})[name] = self._ask(name, "check", s, 1 << 62)["sum"]
                if self.python:
                    sampled = sums.setdefault(f"{stream}/sample", {})
                    sampled[name] = self._ask(name, "check", s, SAMPLE)["sum"]
        self.results.checksums[moment] = sums
        for stream, found in sums.items():
            if len(set(found.values())) > 1:
                shown = ", ".join(f"{name} {value:016x}" for name, value in found.items())
                raise Void(f"next hops differ on stream {stream}, {moment}: {shown}")

    def _lookups(self) -> None:
        counts = {
            (s, mode, name): self._count(name, s, size)
            for s in range(len(STREAMS))
            for mode, size in MODES.items()
            for name in self.programs
        }
        for repetition in range(self.plan.repetitions):
            self.progress(f"lookups {repetition + 1}/{self.plan.repetitions}")
            for s, stream in enumerate(STREAMS):
                for mode in MODES:
                    for _ in range(self.plan.turns):
                        first = self.rng.randrange(1 << 20) // BATCH * BATCH
                        for name in self._order():
                            count = counts[s, mode, name]
                            answer = self._ask(name, "lookup", s, MODES[mode], first, count)
                            rate = answer["lookups"] / answer["seconds"]
                            self.results.raw[name].lookups[stream][mode].append(rate)

    def _count(self, name: str, stream: int, batch: int) -> int:
        """Addresses that take about the time planned; enough of them to touch the tables."""
        took = self._ask(name, "lookup", stream, batch, 0, LEAST)["seconds"]
        wanted = int(LEAST * self.plan.lookup_seconds / max(took, 1e-9))
        return max(LEAST, wanted // BATCH * BATCH)

    def _updates(self) -> None:
        for repetition in range(self.plan.repetitions):
            self.progress(f"updates, pairs {repetition + 1}/{self.plan.repetitions}")
            first = repetition * self.plan.pairs
            self._reload_peers()
            for name in self._order():
                raw = self.results.raw[name]
                raw.pairs.append(self._rate(name, "pairs", first, self.plan.pairs, BATCH))
                if name in self.ours:
                    rate = self._rate(name, "pairs", first, self.plan.pairs, 1)
                    raw.pairs_published.append(rate)

    def _reload_peers(self) -> None:
        """So that what a peer loses by being updated does not add up (see dpdk_fib6.c)."""
        for name, raw in self.results.raw.items():
            if name not in self.ours and name not in self.python:
                raw.load.append(self._ask(name, "load")["seconds"])

    def _streams(self) -> None:
        for repetition in range(self.plan.stream_repetitions):
            self.progress(f"updates, stream {repetition + 1}/{self.plan.stream_repetitions}")
            self._reload_peers()
            for name in self._order():
                self.results.raw[name].stream.append(self._rate(name, "stream", BATCH))
            if repetition == 0:
                self._agree("stream applied")
            for name in self.programs:
                self._ask(name, "restore")
        self._agree("stream undone")

    def _rate(self, name: str, *words: object) -> float:
        answer = self._ask(name, *words)
        return float(answer["updates"]) / float(answer["seconds"])

    def _processes(self, name: str) -> None:
        raw, plan = self.results.raw[name], self.plan
        if self.second_cpu is not None:
            for repetition in range(plan.repetitions):
                self.progress(f"visible {name} {repetition + 1}/{plan.repetitions}")
                answer = self._ask(name, "visible", self.second_cpu, plan.visible)
                raw.visible_ns.append(answer["seen_ns"])
                raw.call_ns.append(answer["call_ns"])
            self.progress(f"reader slowdown {name}")
            raw.slowdown = self._ask(
                name, "slowdown", self.second_cpu, plan.blocks, plan.block_ms, plan.rate
            )
        self.progress(f"takeover {name}")
        raw.takeover_ns = self._ask(name, "takeover", plan.takeovers)["ns"]
