"""Every packet's fate: where it should have gone, where it went, and whom to thank.

    ledger = Ledger(records)
    ledger.collect()                # what the probes and churn wrote meanwhile
    ledger.examine(now, faults)       # all that is old enough

A packet is judged HORIZON after it was sent, by then it has come or never will: against the routes
that were possible at some moment of its way (oracle.py), and when it is missing against the loss
windows of the faults around it. What no window covers counts against the last fault before it.
"""

import json
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ribcage.lab.chaos import plan
from ribcage.lab.chaos.kinds.kind import Fault
from ribcage.lab.chaos.oracle import Possible, allowed
from ribcage.lab.probe.records import RECEIVED, SENT, RecordReader

HORIZON = 5_000_000_000  # ns; the hold queue gives up after three seconds
EARLY = 20_000_000  # ns before a fault: what was under way when it struck
UNDER_WAY = 500_000_000  # ns; so long a packet may be under way on a busy machine, if it shows
LATE = 15_000_000  # ns; a packet that took longer was held up by something
NEAR = 150_000_000  # ns after a fault within which its effect has to begin
KEPT = 60_000_000_000  # ns for which judged packets are kept, to measure recoveries
EXAMPLES = 3  # told of one fault
CLOCKS = 1_000_000  # ns that the two clocks of an arrival may differ


@dataclass(slots=True)
class Tally:
    sent: int = 0
    received: int = 0
    lost: int = 0
    outside: int = 0
    misrouted: int = 0
    duplicates: int = 0
    late: int = 0
    routes_lost: int = 0
    acknowledged: int = 0
    examples: list[str] = field(default_factory=list)

    def example(self, text: str) -> None:
        if len(self.examples) < 40:
            self.examples.append(text)


@dataclass(slots=True)
class Ack:
    """An acknowledged change: when it was asked (the last time) and answered."""

    asked: int
    answered: int


class Ledger:
    """See the module's text."""

    def __init__(self, records: Path) -> None:
        self._sent = [RecordReader(records, f"s{n}", SENT) for n in range(1, plan.SOURCES + 1)]
        self._received = {
            n: RecordReader(records, f"k{n}", RECEIVED) for n in range(1, plan.SINKS + 1)
        }
        self._churn_file = records / "churn.jsonl"
        self._churn_at = 0
        self._flows = plan.flows()
        self._possible = {prefix: Possible() for prefix in
                          [*(flow.moved for flow in self._flows), *plan.bystanders()]}  # fmt: skip
        self._open: dict[int, dict[int, int]] = defaultdict(dict)  # flow -> number -> sent
        self._came: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        self._past: dict[int, deque[tuple[int, int | None]]] = defaultdict(deque)
        self._asked: dict[str, int] = {}
        self._lost_routes: list[dict[str, Any]] = []
        self.acks: deque[Ack] = deque(maxlen=20_000)
        self.newest = dict.fromkeys(range(plan.FLOWS), 0)  # flow -> newest arrival
        self.tally = Tally()

    def collect(self) -> None:
        """Arrivals first: what they belong to is read after them, so nothing comes from nowhere."""
        for sink, reader in self._received.items():
            for flow, number, _, when in reader.read():
                self._came[flow, number].append((when, sink))
                self.newest[flow] = max(self.newest[flow], when)
        for source in self._sent:
            for flow, number, when in source.read():
                self._open[flow][number] = when
                self.tally.sent += 1
        self._collect_churn()

    def _collect_churn(self) -> None:
        if not self._churn_file.exists():
            return
        with self._churn_file.open("rb") as file:
            file.seek(self._churn_at)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._churn_at += len(whole)
        for line in whole.splitlines():
            event = json.loads(line)
            prefix, when = event["prefix"], event["t"]
            match event["what"]:
                case "ask":
                    self._possible[prefix].asked(when, event["sink"])
                    self._asked[prefix] = when
                case "ack":
                    self._possible[prefix].confirmed(when, event["sink"])
                    self.acks.append(Ack(self._asked[prefix], when))
                    self.tally.acknowledged += 1
                case "lost":
                    self._lost_routes.append(event)
                    if event["where"] == "rib":  # what is there now is what packets follow
                        self._possible[prefix].asked(when, event["have"])

    def examine(self, now: int, faults: Sequence[Fault], everything: bool = False) -> None:
        """All packets sent more than HORIZON ago; while a fault lasts, none sent since."""
        until = now if everything else now - HORIZON
        if not everything and faults and not faults[-1].end and faults[-1].begin:
            until = min(until, faults[-1].begin - EARLY)
        recent = [fault for fault in faults if fault.begin and (fault.end or now) > until - KEPT]
        for flow in self._flows:
            waiting = self._open[flow.number]
            for number in [n for n, sent in waiting.items() if sent < until]:
                self._packet(flow, number, waiting.pop(number), recent)
            past = self._past[flow.number]
            while past and past[0][0] < until - KEPT:
                past.popleft()
        for key in [key for key, came in self._came.items() if came[0][0] < until - HORIZON]:
            # Judged long ago, and here once more: a copy, or later than anybody waits.
            self.tally.late += len(self._came.pop(key))
        self._examine_routes(until, recent)
        for possible in self._possible.values():
            possible.forget(until - HORIZON)

    def _packet(
        self, flow: plan.NumberedFlow, number: int, sent: int, faults: Sequence[Fault]
    ) -> None:
        came = self._came.pop((flow.number, number), [])
        self._past[flow.number].append((sent, min(came)[0] if came else None))
        if not came:
            self._missing(flow, number, sent, faults)
            return
        tally = self.tally
        tally.received += 1
        tally.duplicates += len(came) - 1
        before = _last_before(faults, sent)
        if len(came) > 1 and before is not None:
            before.duplicates += len(came) - 1
        moved = self._possible[flow.moved]
        for when, sink in came:
            doubtful = _doubtful(faults, sent, when)
            right = allowed(moved, flow.home, sent - CLOCKS, when + CLOCKS, doubtful)
            if sink in right:
                continue
            if any(_astray(fault, sent) for fault in faults):
                continue  # a table that was damaged on purpose, and not found out yet
            tally.misrouted += 1
            if before is not None:
                before.misrouted += 1
                if before.misrouted > EXAMPLES:
                    continue
            tally.example(
                f"packet {number} of flow {flow.number} ({flow.target}) came to sink {sink},"
                f" not {sorted(right)}; after fault {before.number if before else 'none'}"
            )

    def _missing(
        self, flow: plan.NumberedFlow, number: int, sent: int, faults: Sequence[Fault]
    ) -> None:
        self.tally.lost += 1
        excuses = [
            fault
            for fault in faults
            if fault.covers(flow.number, sent, EARLY)
            or self._under_way(flow.number, number, sent, fault)
        ]
        if excuses:
            excuses[-1].lost += 1
            return
        self.tally.outside += 1
        before = _last_before(faults, sent + EARLY)
        if before is not None:
            before.outside += 1
            if before.outside > EXAMPLES:
                return
        late = f"{(sent - before.begin) / 1e6:.0f} ms after fault {before.number}" if before else ""
        self.tally.example(f"packet {number} of flow {flow.number} is lost, sent {late}")

    def _under_way(self, flow: int, number: int, sent: int, fault: Fault) -> bool:
        """It was sent well before, and still waited somewhere when the fault struck: a flow's
        packets overtake none of their own, and of those sent after it none had come by then."""
        if not sent < fault.begin < sent + UNDER_WAY or not fault.covers(flow, fault.begin, EARLY):
            return False
        later = number + 1
        while (when := self._open[flow].get(later)) is not None and when < fault.begin:
            if any(came < fault.begin for came, _ in self._came.get((flow, later), [])):
                return False
            later += 1
        return True

    def _examine_routes(self, until: int, faults: Sequence[Fault]) -> None:
        for event in [event for event in self._lost_routes if event["t"] < until]:
            self._lost_routes.remove(event)
            when, where = event["t"], event["where"]
            # A next hop that is given up with its link: the FIB follows, the RIB does not forget.
            if where == "fib" and event["sink"] in _doubtful(faults, when - HORIZON // 5, when):
                continue
            self.tally.routes_lost += 1
            before = _last_before(faults, when)
            self.tally.example(
                f"{event['prefix']} was acknowledged for sink {event['sink']}, the {where} has"
                f" {event['have']}; after fault {before.number if before else 'none'}"
            )

    def recovery_ms(self, fault: Fault, until: int) -> float | None:
        """From the fault to the end of its effect on the packets; None: no packet felt it.

        The effect on a flow is a row of packets that are lost or late, and begins near the fault.
        """
        worst = None
        for number in fault.flows:
            row = [one for one in self._past[number] if fault.begin - EARLY <= one[0] <= until]
            felt, end, good = False, 0, 0
            for sent, came in row:
                if came is not None and came - sent < LATE:
                    if felt:
                        end = end or sent
                        good += 1
                        if good >= 3:
                            break
                    elif sent > fault.begin + NEAR:
                        break
                    continue
                if not felt and sent > fault.begin + NEAR:
                    break
                felt, good = True, 0
                end = max(end, came) if came is not None else 0
            if felt and end:
                worst = max(worst or 0.0, (end - fault.begin) / 1e6)
        return None if worst is None else round(worst, 1)

    def acknowledged_ms(self, fault: Fault) -> float | None:
        """From the fault to the first acknowledgement of a change that was asked after it."""
        for ack in self.acks:
            if ack.asked >= fault.begin:
                return round((ack.answered - fault.begin) / 1e6, 1)
        return None

    def close(self) -> None:
        for reader in [*self._sent, *self._received.values()]:
            reader.close()


def _last_before(faults: Sequence[Fault], when: int) -> Fault | None:
    return next((fault for fault in reversed(faults) if fault.begin <= when), None)


def _doubtful(faults: Sequence[Fault], begin: int, end: int) -> set[int]:
    """Sinks whose next hop could be given up at some moment between."""
    found: set[int] = set()
    for fault in faults:
        lasts = (fault.end or end) + fault.kind.window_ms * 1_000_000
        if fault.begin - EARLY <= end and lasts >= begin:
            found |= fault.doubtful
    return found


def _astray(fault: Fault, sent: int) -> bool:
    allowance = fault.kind.misroute_ms * 1_000_000
    return bool(allowance) and fault.begin - EARLY <= sent <= (fault.end or sent) + allowance
