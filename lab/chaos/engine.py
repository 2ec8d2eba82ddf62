"""Draws faults by seed, plays them one after the other, and waits for the router to be whole.

    engine = Engine(rig, ledger, kinds, seed=1, per_minute=100)
    engine.run(until)              # monotonic seconds
    engine.faults

Kinds are drawn from a bag that is emptied before one comes twice; what lasts for seconds lies in
every second one, so that it does not take the time of the others. Every fourth fault or so is not
waited for: the next one strikes while its effects last. What does not heal within PATIENCE is told
(`unhealed`) and repaired by the tool, so that one weakness does not hide the others.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Sequence

from ribcage.lab.chaos import plan
from ribcage.lab.chaos.kinds.kind import Fault, Kind, Scene, Skipped, Watched
from ribcage.lab.chaos.ledger import HORIZON, Ledger
from ribcage.lab.chaos.rig import Rig
from ribcage.lab.topology.namespaces import LabError

PATIENCE = 10.0  # seconds to heal in
OVERLAP = 0.25  # share of faults that the next one does not wait for
LOOK = 0.02  # between two looks
AFTERWARDS = 3_000_000_000  # ns after a fault in which its effect on packets is looked for


class Engine:
    """See the module's text. `say` gets a line for each fault."""

    def __init__(
        self,
        rig: Rig,
        ledger: Ledger,
        kinds: Sequence[Kind],
        seed: int,
        per_minute: float,
        say: Callable[[str], None],
    ) -> None:
        self._rig, self._ledger, self._kinds = rig, ledger, list(kinds)
        self._seed, self._pause, self._say = seed, 60 / per_minute, say
        self._random = random.Random(seed)
        self._bag: list[Kind] = []
        self._bags = 0
        self._watches: list[tuple[Fault, Watched]] = []
        self._unmeasured: list[Fault] = []
        self.faults: list[Fault] = []

    def run(self, until: float, each: Callable[[], None] = lambda: None) -> None:
        """Until that moment of time.monotonic(), and until the last fault has healed."""
        due = time.monotonic()
        while (now := time.monotonic()) < until:
            each()
            if now < due:
                time.sleep(min(due - now, 0.2))
                self._books()
                continue
            due = now + self._pause
            self._one(overlaps=self._random.random() < OVERLAP)
        played = [fault for fault in self.faults if fault.begin]
        if played and played[-1].open:
            self._until_healed(played[-1])
        self._books()

    def finish(self) -> None:
        """Judges everything, once traffic has ended."""
        self._ledger.collect()
        self._ledger.examine(time.monotonic_ns(), self.faults, everything=True)
        self._measure(everything=True)

    def draw(self) -> Kind:
        """The next kind; each comes once before one comes twice, those that last in every second
        bag alone."""
        if not self._bag:
            odd, self._bags = self._bags % 2, self._bags + 1
            kinds = [kind for kind in self._kinds if not (odd and kind.seldom)]
            self._bag = kinds or list(self._kinds)
            self._random.shuffle(self._bag)
        return self._bag.pop()

    def _next(self) -> Fault:
        kind = self.draw()
        return Fault(len(self.faults) + 1, kind, measure=kind.measure)

    def _one(self, overlaps: bool) -> None:
        fault = self._next()
        scene = Scene(self._rig, random.Random(f"{self._seed}:{fault.number}"), fault)
        self.faults.append(fault)
        try:
            fault.kind.play(scene)
        except Skipped as reason:
            fault.skipped = str(reason)
        except Exception as error:  # told, and no reason to lose what was seen so far
            text = f"{type(error).__name__}: {str(error)[:200]}"
            fault.begin = fault.begin or time.monotonic_ns()
            fault.unhealed.append(f"the tool could not go on: {text}")
        if fault.begin:
            fault.end = time.monotonic_ns()
            self._unmeasured.append(fault)
            self._watches += [(fault, watch) for watch in scene.watches]
        played = [one for one in self.faults if one.begin]
        # What was to strike is not there: then what struck before has to heal first.
        if played and played[-1].open and (not overlaps or not fault.begin):
            self._until_healed(played[-1])
        self._books()
        self._say(_line(fault))

    def _books(self) -> None:
        self._ledger.collect()
        self._ledger.examine(time.monotonic_ns(), self.faults)
        self._measure()

    # -- until it is whole again

    def _until_healed(self, fault: Fault) -> None:
        deadline = time.monotonic() + PATIENCE
        while lack := self._lacks(fault):
            if time.monotonic() > deadline:
                fault.unhealed.append(lack)
                self._repair(fault)
                break
            time.sleep(LOOK)
        else:
            fault.healed_at = time.monotonic_ns()
        for owner, watch in self._watches:
            if watch.read() != watch.wanted:
                owner.unhealed.append(f"{watch.what} did not come back")
                watch.restore()
        self._watches.clear()

    def _lacks(self, fault: Fault) -> str:
        """What is missing to a whole router, in words; empty: nothing."""
        found = self._rig.processes()
        if found and not fault.answered:
            fault.answered = time.monotonic_ns()
        if not found:
            return "no answer to process.list"
        if not self._rig.complete(found):
            states = [f"{p.get('role')} {p.get('index', 0)} {p.get('state')}" for p in found]
            return f"not all ready: {', '.join(states)}"
        self._ledger.collect()
        if not any(ack.asked >= fault.end for ack in reversed(self._ledger.acks)):
            return "no change was acknowledged"
        silent = [n for n in range(plan.FLOWS) if self._ledger.newest[n] < fault.end]
        if silent:
            return f"no packet of flows {silent}"
        changed = [watch.what for _, watch in self._watches if watch.read() != watch.wanted]
        return f"{', '.join(changed)} did not come back" if changed else ""

    def _repair(self, fault: Fault) -> None:
        """By the mildest means that helps: a new supervisor beside the living, else all anew."""
        rig = self._rig
        fault.repaired = True
        self._say(f"{fault.number}: {fault.unhealed[-1]}; repaired by the tool")
        if not rig.cast.found()["supervisor"] and self._launched():
            return
        if rig.complete() and fault.unhealed[-1].endswith("did not come back"):
            return
        rig.kill_everybody()
        rig.shm_room()
        if not self._launched():
            raise LabError(f"after fault {fault.number} the router does not start: {rig.log}")
        rig.routes_again()

    def _launched(self) -> bool:
        try:
            self._rig.launch()
        except (LabError, subprocess.SubprocessError):
            return False
        deadline = time.monotonic() + PATIENCE
        while not self._rig.complete():
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK)
        return True

    # -- what it took

    def _measure(self, everything: bool = False) -> None:
        """Recoveries of the faults whose packets are all judged."""
        now = time.monotonic_ns()
        for fault in list(self._unmeasured):
            until = fault.end + AFTERWARDS
            if now < until + HORIZON and not everything:
                continue
            following = [one.begin for one in self.faults[fault.number :] if one.begin]
            if following:
                until = min(until, following[0])
            self._unmeasured.remove(fault)
            if fault.measure in ("takeover", "cold", "silent"):
                fault.recovery_ms = self._ledger.acknowledged_ms(fault)
            elif fault.measure == "adopt":
                if fault.answered:
                    fault.recovery_ms = round((fault.answered - fault.begin) / 1e6, 1)
            else:
                fault.recovery_ms = self._ledger.recovery_ms(fault, until)


def _line(fault: Fault) -> str:
    if fault.skipped and not fault.begin:
        return f"{fault.number:4} {fault.kind.name}: skipped, {fault.skipped}"
    took = (
        f"{(fault.healed_at - fault.begin) / 1e6:.0f} ms" if fault.healed_at else "not waited for"
    )
    if fault.unhealed:
        took = f"NOT HEALED: {'; '.join(fault.unhealed)}"
    return f"{fault.number:4} {fault.kind.name} ({fault.target}): {took}"
