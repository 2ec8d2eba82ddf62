"""Sentences and figures out of what a Watcher saw. Pure.

lines(document)     # the story, a line an event, then what became of the packets
"""

from collections.abc import Iterator
from typing import Any


def ledger(before: dict[str, Any], after: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the counters say of the packets meanwhile; None when nobody could be asked."""
    if after is None:
        return None
    a, b = before["totals"], after["totals"]
    drops = {
        reason: count - a["drops"].get(reason, 0)
        for reason, count in b["drops"].items()
        if count != a["drops"].get(reason, 0)
    }
    was = {row["worker"]: row["rx"] for row in before["workers"]}
    return {
        "rx": b["rx"] - a["rx"],
        "forwarded": b["forwarded"] - a["forwarded"],
        "delivered": b["delivered"] - a["delivered"],
        "drops": drops,
        "balanced": after["balanced"],
        "workers": {
            str(row["worker"]): row["rx"] - was.get(row["worker"], 0) for row in after["workers"]
        },
    }


def lines(document: dict[str, Any]) -> Iterator[str]:
    """The story for people, a sentence a line."""
    yield from (head + text for head, text in rows(document))


def rows(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The same as (what stands in front, sentence): a terminal wraps the second."""
    longest = max((len(event["who"]) for event in document["events"]), default=0)
    for event in document["events"]:
        yield f"{event['t_ms']:>9.1f} ms  {event['who']:<{longest}}  ", event["what"]
    yield "", ""
    yield from (("", line) for line in _packets(document["packets"]))
    yield from (("", line) for line in _end(document))


def _end(document: dict[str, Any]) -> Iterator[str]:
    if document["healed"]:
        last = document["events"][-1]["t_ms"] if document["events"] else 0
        yield f"The router is whole again; the last thing that happened was after {last:g} ms."
    else:
        yield "The router was not whole again when the story ended: ribcage ps says who is missing."
    yield f"What should happen: {document['expect']}."


def _packets(packets: dict[str, Any] | None) -> Iterator[str]:
    if packets is None:
        yield "Nobody could be asked for the counters."
        return
    if packets["rx"] == 0:
        yield "No packet came meanwhile, so none was lost; send some, and try again."
        return
    shares = ", ".join(f"worker {n} {count}" for n, count in packets["workers"].items())
    came = f"{packets['rx']} packet{'' if packets['rx'] == 1 else 's'} came"
    yield f"{came} meanwhile ({shares}): {packets['forwarded']} forwarded."
    lost = ", ".join(f"{count} {reason}" for reason, count in packets["drops"].items())
    yield f"Dropped: {lost}." if lost else "None was dropped."
    if not packets["balanced"]:
        yield "The counters do not balance: ribcage stats --check."
