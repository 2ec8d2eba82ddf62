"""The document of a run, and what a person reads of it.

`summary` has the figures that decide: all of VERDICT must be zero. A percentile of few values is
one of them: nothing is interpolated. Pure.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ribcage.lab.chaos.kinds.kind import Fault
from ribcage.lab.chaos.ledger import Tally

VERDICT = (
    "lost_outside_windows",
    "misrouted",
    "routes_lost",
    "tracebacks",
    "left_behind",
    "unhealed",
    "grown",
)


def spread(values: Iterable[float | None]) -> dict[str, float | int | None]:
    """{count, p50, p99, max} of those that are known."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return {"count": 0, "p50": None, "p99": None, "max": None}

    def rank(share: float) -> float:
        return known[max(0, math.ceil(share * len(known)) - 1)]

    return {"count": len(known), "p50": rank(0.5), "p99": rank(0.99), "max": known[-1]}


def summary(
    faults: Sequence[Fault], tally: Tally, tracebacks: int, left_behind: Sequence[str]
) -> dict[str, Any]:
    """The figures of a run."""
    played = [fault for fault in faults if fault.begin]

    def measured(what: str) -> dict[str, float | int | None]:
        return spread(fault.recovery_ms for fault in played if fault.measure == what)

    return {
        "faults": len(played),
        "skipped": len(faults) - len(played),
        "kinds": len({fault.kind.name for fault in played}),
        "sent": tally.sent,
        "received": tally.received,
        "lost": tally.lost,
        "lost_outside_windows": tally.outside,
        "misrouted": tally.misrouted,
        "duplicates": tally.duplicates,
        "late": tally.late,
        "changes": tally.acknowledged,
        "routes_lost": tally.routes_lost,
        "unhealed": sum(bool(fault.unhealed) for fault in played),
        "worker_restart_ms": measured("restart"),
        "control_takeover_ms": measured("takeover"),
        "control_cold_ms": measured("cold"),
        "control_silent_ms": measured("silent"),
        "hang_recovery_ms": measured("hang"),
        "supervisor_adopt_ms": measured("adopt"),
        "tracebacks": tracebacks,
        "left_behind": len(left_behind),
    }


def by_kind(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """A row a kind, in the order of their first fault."""
    rows = []
    for kind in dict.fromkeys(fault.kind for fault in faults):
        own = [fault for fault in faults if fault.kind is kind]
        played = [fault for fault in own if fault.begin]
        bad = [fault for fault in played
               if fault.unhealed or fault.outside or fault.misrouted]  # fmt: skip
        rows.append(
            {
                "kind": kind.name,
                "faults": len(played),
                "skipped": len(own) - len(played),
                "failed": len(bad),
                "window_ms": kind.window_ms,
                "lost": sum(fault.lost for fault in played),
                "lost_outside_windows": sum(fault.outside for fault in played),
                "misrouted": sum(fault.misrouted for fault in played),
                "duplicates": sum(fault.duplicates for fault in played),
                "recovery_ms": spread(fault.recovery_ms for fault in played),
                "unhealed": sorted({text for fault in played for text in fault.unhealed})[:5],
            }
        )
    return rows


def passed(document: dict[str, Any]) -> bool:
    return not any(document["summary"][name] for name in VERDICT)


def lines(document: dict[str, Any]) -> Iterator[str]:
    """A table of the kinds, the figures, what went wrong, the verdict."""
    head = ("FAULTS", "FAILED", "LOST", "OUTSIDE", "ASTRAY")
    yield f"{'KIND':<26}{''.join(name.rjust(8) for name in head)}  RECOVERY ms"
    for row in document["kinds"]:
        took = row["recovery_ms"]
        text = f"{took['p50']:g} / {took['max']:g}" if took["count"] else "-"
        yield (
            f"{row['kind']:<26}{row['faults']:>8}{row['failed']:>8}{row['lost']:>8}"
            f"{row['lost_outside_windows']:>8}{row['misrouted']:>8}  {text}"
        )
        yield from (f"    {text}" for text in row["unhealed"])
    yield ""
    figures = document["summary"]
    yield (
        f"{figures['faults']} faults of {figures['kinds']} kinds, seed {document['seed']},"
        f" {document['seconds']:.0f} s; {figures['changes']} route changes acknowledged"
    )
    yield (
        f"packets: {figures['sent']} sent, {figures['received']} received, {figures['lost']} lost"
        f" ({figures['lost_outside_windows']} outside windows), {figures['misrouted']} misrouted,"
        f" {figures['duplicates']} duplicates"
    )
    for name in ("worker_restart_ms", "hang_recovery_ms", "control_takeover_ms", "control_cold_ms",
                 "control_silent_ms", "supervisor_adopt_ms"):  # fmt: skip
        took = figures[name]
        if took["count"]:
            yield f"{name}: p50 {took['p50']:g}, p99 {took['p99']:g}, max {took['max']:g}"
    yield from (f"grown: {text}" for text in document["growth"]["grown"])
    yield from (f"left behind: {text}" for text in document["left_behind"][:20])
    yield from document["examples"][:10]
    wrong = [f"{name} {figures[name]}" for name in VERDICT if figures[name]]
    yield f"FAILED: {', '.join(wrong)}" if wrong else "passed: nothing was lost that may not be"
    if document["out"]:
        yield f"log and report: {document['out']}"
