"""What a kind of fault is, one fault of it, and the scene it is played in.

    def down(scene):
        port = scene.port()
        scene.begins(port, scene.flows_of(port), doubtful=...)
        scene.rig.r1.ip(f"link set {port} down")
        ...

`window_ms` is the documented loss window: packets of the touched flows that were sent between the
begin of the fault and so many milliseconds after its end may be lost. 0 means that none may.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ribcage.lab.chaos import plan
from ribcage.lab.chaos.rig import Rig


class Skipped(Exception):
    """The fault cannot be played here and now; the text says why."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`measure`: which figure its recovery belongs to: restart, hang (of a worker), takeover, cold,
    silent (of control), adopt, or none."""

    name: str
    says: str  # what is done
    expect: str  # what a router does about it
    play: Callable[[Scene], None]
    window_ms: int = 0
    measure: str = ""
    misroute_ms: int = 0  # a damaged table may send packets astray until it is found
    seldom: bool = False  # it lasts for seconds: drawn in every second round
    later: str = ""  # why a run draws it only when it is named: what the router cannot do yet


@dataclass(slots=True)
class Fault:
    """One fault, filled in as it happens and as its packets are judged. Times: monotonic ns."""

    number: int
    kind: Kind
    target: str = ""
    measure: str = ""  # as its kind's, or what it turned out to be: `cold` without a standby
    begin: int = 0
    end: int = 0  # the cause is gone; 0: not yet
    flows: frozenset[int] = frozenset()
    doubtful: frozenset[int] = frozenset()  # sinks whose next hop may be given up meanwhile
    healed_at: int = 0  # the router was whole again; 0: it was not looked for, or never was
    answered: int = 0  # the first answer of the supervisor's successor to `process.list`
    lost: int = 0  # inside its window
    outside: int = 0  # with nothing to excuse it, and this the last fault before
    misrouted: int = 0
    duplicates: int = 0
    recovery_ms: float | None = None
    skipped: str = ""
    repaired: bool = False  # by the tool, after `unhealed` said why
    unhealed: list[str] = field(default_factory=list)

    def covers(self, flow: int, sent: int, early: int) -> bool:
        """Whether a packet may be lost to it."""
        if not self.begin or not self.kind.window_ms or flow not in self.flows:
            return False
        until = (self.end or sent) + self.kind.window_ms * 1_000_000
        return self.begin - early <= sent <= until

    @property
    def open(self) -> bool:
        """It was played, and nobody has looked yet whether all is whole again."""
        return bool(self.begin) and not self.healed_at and not self.repaired

    def to_json(self, origin: int) -> dict[str, Any]:
        """JSON values; times in milliseconds since `origin`."""
        return {
            "number": self.number,
            "t_ms": round((self.begin - origin) / 1e6, 1) if self.begin else None,
            "held_ms": round((self.end - self.begin) / 1e6, 1) if self.end else None,
            "kind": self.kind.name,
            "target": self.target,
            "skipped": self.skipped,
            "recovery_ms": self.recovery_ms,
            "healed_ms": round((self.healed_at - self.begin) / 1e6, 1) if self.healed_at else None,
            "lost": self.lost,
            "lost_outside_windows": self.outside,
            "misrouted": self.misrouted,
            "duplicates": self.duplicates,
            "unhealed": self.unhealed,
        }


@dataclass(slots=True)
class Watched:
    """Something of the router's in the kernel: it has to come back, or the tool puts it back."""

    what: str
    wanted: str
    read: Callable[[], str]
    restore: Callable[[], None]


class Scene:
    """What a kind may use, and where it says what it did."""

    def __init__(self, rig: Rig, drawn: random.Random, fault: Fault) -> None:
        self.rig, self.random, self.fault = rig, drawn, fault
        self.watches: list[Watched] = []

    def begins(
        self, target: str, flows: Iterable[int] | None = None, doubtful: Iterable[int] = ()
    ) -> None:
        """To be called just before the harm; `flows` None: all."""
        fault = self.fault
        fault.target = target
        fault.flows = frozenset(range(plan.FLOWS) if flows is None else flows)
        fault.doubtful = frozenset(doubtful)
        fault.begin = time.monotonic_ns()

    def watch(self, what: str, read: Callable[[], str], restore: Callable[[], None]) -> None:
        """Before `begins`: what is so now has to be so again."""
        self.watches.append(Watched(what, read(), read, restore))

    def hold(self, least: float, most: float) -> None:
        """How long the cause stays; drawn, so that one seed is one run."""
        time.sleep(self.random.uniform(least, most))

    def port(self) -> str:
        return self.random.choice(list(plan.port_addresses()))

    def touched(self, port: str) -> tuple[list[int], list[int]]:
        """(flows that may pass a port, sinks behind it). Churn may lead any flow to any sink."""
        sinks = [n for n in range(1, plan.SINKS + 1) if plan.sink_port(n) == port]
        if sinks:
            return list(range(plan.FLOWS)), sinks
        flows = [flow.number for flow in plan.flows() if plan.source_port(flow.source) == port]
        return flows, []
