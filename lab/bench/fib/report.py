"""Makes the report of raw repetitions: medians with their spread, ratios, JSON, CSV, text.

Ratios are medians of ours over medians of the peer, of the same run; `summary` speaks of the first
engine and strategy named, against the first peer named. A figure that was not measured is None.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ribcage.lab.bench.fib.measure import MODES, Raw, Results
from ribcage.lab.bench.fib.streams import STREAMS


def spread(values: Sequence[float], digits: int = 6) -> dict[str, Any] | None:
    """Median, least, greatest, and the repetitions in order."""
    if not values:
        return None
    return {
        "median": _round(statistics.median(values), digits),
        "min": _round(min(values), digits),
        "max": _round(max(values), digits),
        "raw": [_round(value, digits) for value in values],
    }


def quantile(values: Sequence[int], share: float) -> float | None:
    """The value below which `share` of them lie, in microseconds."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000, 3)


def contestant(raw: Raw) -> dict[str, Any]:
    """One contestant's figures."""
    seen = [ns for samples in raw.visible_ns for ns in samples]
    calls = [ns for samples in raw.call_ns for ns in samples]
    figures: dict[str, Any] = {
        "load_seconds": spread(raw.load, 9),
        "lookups_per_second": {
            stream: {mode: spread(raw.lookups[stream][mode], 0) for mode in MODES}
            for stream in STREAMS
        },
        "updates_per_second": {
            "pairs": spread(raw.pairs, 0),
            "pairs_each_published": spread(raw.pairs_published, 0),
            "stream": spread(raw.stream, 0),
        },
        "memory_bytes": raw.memory,
        "memory_bytes_after_load": raw.memory_after_load,
    }
    if seen:
        figures["visible_us"] = {
            "samples": len(seen),
            "p50": quantile(seen, 0.5),
            "p90": quantile(seen, 0.9),
            "p99": quantile(seen, 0.99),
            "max": quantile(seen, 1.0),
            "call_p50": quantile(calls, 0.5),
            "rounds_p50": [quantile(samples, 0.5) for samples in raw.visible_ns],
            "rounds_p99": [quantile(samples, 0.99) for samples in raw.visible_ns],
        }
    if raw.slowdown:
        figures["reader_slowdown"] = slowdown(raw.slowdown)
    if raw.takeover_ns:
        figures["takeover_seconds"] = spread([ns / 1e9 for ns in raw.takeover_ns], 9)
    return figures


def slowdown(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """Each idle, busy, busy, idle is one pair of rates; `noise` is what idle differs from idle."""
    idle, busy = answer["idle"], answer["busy"]
    lost, noise = [], []
    for i in range(0, min(len(idle), len(busy)) - 1, 2):
        still, at_work = idle[i] + idle[i + 1], busy[i] + busy[i + 1]
        # By the wall clock a busy block without an answer is one: the reader was kept out.
        if idle[i] and idle[i + 1] and (answer["wall"] or (busy[i] and busy[i + 1])):
            lost.append(1 - at_work / still)
            noise.append(abs(1 - idle[i + 1] / idle[i]))
    if not lost:
        return None
    return {
        **(spread(lost, 5) or {}),
        "noise": round(statistics.median(noise), 5),
        "idle_per_second": spread(idle, 0),
        "busy_per_second": spread(busy, 0),
        "updates_per_second": round(answer["updates"] * 1e9 / max(1, answer["busy_ns"])),
        "retries": answer["retries"],
        "clock": "wall" if answer["wall"] else "cpu",
    }


def summary(
    results: Results, ours: str, against: str | None, binding: Sequence[int]
) -> dict[str, Any]:
    """The figures the project is measured by."""
    void = results.disagreement is not None
    mine = results.raw[ours]
    peer = results.raw[against] if against is not None and not void else Raw()
    seen = [ns for samples in mine.visible_ns for ns in samples]
    slow = slowdown(mine.slowdown) if mine.slowdown else None
    return {
        "contestant": ours,
        "against": against,
        "lookup_ratio": {
            stream: _ratio(mine.lookups[stream]["batch"], peer.lookups[stream]["batch"])
            for stream in STREAMS
        },
        "update_ratio": {
            "pairs": _ratio(mine.pairs, peer.pairs),
            "stream": _ratio(mine.stream, peer.stream),
        },
        "visible_us": {
            "c_p50": quantile(seen, 0.5),
            "c_p99": quantile(seen, 0.99),
            "binding_p50": quantile(binding, 0.5),
        },
        "reader_slowdown": slow["median"] if slow is not None else None,
        "memory_bytes": mine.memory.get("used"),
        "load_seconds": _median(mine.load),
        "takeover_seconds": _median([ns / 1e9 for ns in mine.takeover_ns]),
        "checksums_agree": not void,
    }


def to_csv(document: Mapping[str, Any]) -> str:
    """contestant, metric, repetition, value: every repetition a row."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["contestant", "metric", "repetition", "value"])
    for name, figures in document["contestants"].items():
        for metric, values in _flat(figures):
            for i, value in enumerate(values):
                writer.writerow([name, metric, i, value])
    return out.getvalue().rstrip("\n")


def _flat(figures: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, list[Any]]]:
    for key, value in figures.items():
        name = f"{above}.{key}" if above else key
        if isinstance(value, Mapping):
            if "raw" in value:
                yield name, value["raw"]
                value = {k: v for k, v in value.items() if k not in ("raw", "min", "max", "median")}
            yield from _flat(value, name)
        elif isinstance(value, list):
            yield name, value
        elif value is not None:
            yield name, [value]


def to_text(document: Mapping[str, Any]) -> Iterator[str]:
    """A page for people."""
    facts, summed = document["machine"], document["summary"]
    yield f"{facts['cpu']}, {facts['cpus']} CPUs, Linux {facts['kernel']}" + (
        " (virtual machine)" if facts["virtual"] else ""
    )
    yield f"table: {document['table']['source']}, {document['table']['routes']} routes"
    if document["void"]:
        yield f"VOID: {document['void']}"
    yield ""
    names = list(document["contestants"])
    width = max(12, *(len(name) for name in names))
    yield f"{'median [min max]':<34}" + "  ".join(f"{name:>{width + 12}}" for name in names)
    for label, path, scale in _lines(document):
        cells = [_cell(_at(document["contestants"][name], path), scale) for name in names]
        if any(cells):
            yield f"{label:<34}" + "  ".join(f"{cell:>{width + 12}}" for cell in cells)
    yield ""
    yield from _summary_text(summed)


def _lines(document: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...], float]]:
    for mode in MODES:
        for stream in STREAMS:
            path = ("lookups_per_second", stream, mode)
            yield f"M lookups/s, {stream}, {mode}", path, 1e6
    yield "M updates/s, random pairs", ("updates_per_second", "pairs"), 1e6
    yield "  each published", ("updates_per_second", "pairs_each_published"), 1e6
    yield "M updates/s, stream", ("updates_per_second", "stream"), 1e6
    yield "load, ms", ("load_seconds",), 1e-3
    yield "takeover, ms", ("takeover_seconds",), 1e-3
    yield "visible in C, us, p50", ("visible_us", "p50"), 1
    yield "visible in C, us, p99", ("visible_us", "p99"), 1
    yield "reader slowdown, %", ("reader_slowdown",), 0.01
    yield "memory, MiB", ("memory_bytes", "used"), 1 << 20


def _at(figures: Any, path: Sequence[str]) -> Any:
    for key in path:
        figures = figures.get(key) if isinstance(figures, Mapping) else None
    return figures


def _cell(value: Any, scale: float) -> str:
    if isinstance(value, Mapping):
        low, high = value["min"] / scale, value["max"] / scale
        return f"{_short(value['median'] / scale)} [{_short(low)} {_short(high)}]"
    return "" if value is None else _short(value / scale)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _summary_text(summed: Mapping[str, Any]) -> Iterator[str]:
    if summed["against"] is not None and summed["checksums_agree"]:
        ratios = {**summed["lookup_ratio"], **summed["update_ratio"]}
        shown = ", ".join(f"{name} {value}" for name, value in ratios.items() if value is not None)
        yield f"{summed['contestant']} / {summed['against']}: {shown}"
    if (binding := summed["visible_us"]["binding_p50"]) is not None:
        yield f"visible through the binding: p50 {binding} us"
    yield f"checksums agree: {'yes' if summed['checksums_agree'] else 'NO, the run is void'}"


def _ratio(mine: Sequence[float], theirs: Sequence[float]) -> float | None:
    if not mine or not theirs:
        return None
    return round(statistics.median(mine) / statistics.median(theirs), 3)


def _median(values: Sequence[float]) -> float | None:
    return round(statistics.median(values), 9) if values else None


def _round(value: float, digits: int) -> float:
    return round(value, digits) if digits else round(value)
