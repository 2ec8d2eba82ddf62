"""Looks after the tables while control lives: are they there, are they whole, do they agree?

    healing = Healing(names, segments, core, workers, say, fail, log)
    healing.begin();  healing.look();  healing.close()
    await healing.check()                # once, after a takeover

Every LOOK, whatever somebody did in /dev/shm:

    name removed or replaced    written again from the mapping, which is whole     no packet notices
    FIB or locks cut short,     another FIB from the RIB (fib/rebuild.py), workers get it
      or overwritten            through the supervisor
    RIB cut short, overwritten  control ends; the next one makes it anew from the FIB
    semaphore gone or wrong     put right

and in slices the audit (fib/audit.py), whose differences mean another FIB as well. One that cannot
be made now (no room in /dev/shm) is tried again; while the old one cannot even be written, control
ends, and its successor waits for room. Everything is counted, and told in the log. Control only.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ribcage.controlplane.fib.audit import Audit, Difference
from ribcage.controlplane.fib.rebuild import Rebuild
from ribcage.controlplane.process.tables.segments import Segments
from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.workers.workers import Workers
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.segment import Mapped, blank, cut_short, set_aside, write_again
from ribcage.shared.process.names import Names

LOOK = 0.2  # seconds; 30 us each
TRY_AGAIN = 2.0  # what could not be put right
SLICE_EVERY, SLICE = 0.1, 0.002  # of the audit: 2 % of a CPU, with which a million routes take
A_ROUND = 60.0  # about a minute; another `fib.audit` stretches the pause between slices
QUICKEST = 0.01
PATIENCE, PATIENCE_MOST = (
    10.0,
    600.0,
)  # between two rebuilds for differences: doubles while they stay
NAMELESS = ("removed", "replaced")  # what is mapped is whole
VERIFY_LOOKUPS = 10_000  # of the check after a takeover


class Healing:
    """See the module's text. `say` goes to the supervisor, `fail` ends the process."""

    def __init__(
        self,
        names: Names,
        segments: Segments,
        core: Core,
        workers: Workers,
        say: Callable[[dict[str, Any]], None],
        fail: Callable[[Exception], None],
        log: Callable[..., None],
    ) -> None:
        self.names, self.segments, self.core = names, segments, core
        self.workers, self.say, self.fail, self.log = workers, say, fail, log
        self.audit = Audit(core.entries, core.forwarding, core.reader)
        self.last: dict[str, Any] | None = None
        """The last thing that was put right: what, why, when."""
        self.counters = {
            "fib_rebuilt": segments.healed.get("fib", 0),
            "rib_rebuilt": segments.healed.get("rib", 0),
            "names_restored": 0,
            "semaphore": 0,
            "failed": 0,
        }
        self._rebuild = Rebuild(
            names, segments.params, segments.fib, core.forwarding,
            core.reconcile, core.publisher, core.reader,
        )  # fmt: skip
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._try_again: dict[str, float] = {}
        self._patience, self._not_before = PATIENCE, 0.0
        self._round_at = 0.0

    def begin(self) -> None:
        self._later("look", LOOK, self._look)
        self._later("audit", SLICE_EVERY, self._audit)

    def close(self) -> None:
        """No timer runs any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def report(self) -> dict[str, Any]:
        """For `fib show`."""
        state = asdict(self.audit.state)
        ended = state.pop("ended")
        state["age"] = round(time.monotonic() - ended, 1) if ended else None
        state["seconds"], state["cpu"] = round(state["seconds"], 3), round(state["cpu"], 4)
        return {"period": self.core.plan.fib.audit, **state, **self.counters, "last": self.last}

    def _later(self, name: str, delay: float, work: Callable[[], None]) -> None:
        self._timers[name] = asyncio.get_running_loop().call_later(delay, work)

    # -- the objects and their names

    def _look(self) -> None:
        self._later("look", LOOK, self._look)
        self.look()

    def look(self) -> None:
        """At once: a worker died, or says that its FIB is none. Never raises."""
        try:
            self._look_at_rib()
            self._look_at_fib()
            self._look_at_semaphore()
        except Exception as error:
            self.counters["failed"] += 1
            self.log("error", "healing.failed", exc_info=error)

    def _look_at_rib(self) -> None:
        rib = self.segments.rib
        if rib.head is None or not isinstance(rib.memory, Mapped):
            return
        trouble = rib.head.trouble(self.names.rib)
        if trouble in NAMELESS:
            self._name_again("rib", self.names.rib, rib.memory, trouble)
        elif trouble:
            self._rib_is_lost(trouble)

    def _rib_is_lost(self, why: str) -> None:
        """Nothing it says counts any more, and nobody here can know which part is right: the FIB
        does, and whoever takes over asks it before anything else."""
        memory = self.segments.rib.memory
        if isinstance(memory, Mapped) and cut_short(memory):
            blank(memory)
        self.close()
        error = RibcageError("E_DAMAGED", f"the routing table {self.names.rib} was {why}")
        self.log("error", "rib.damaged", why=error.message)
        self.fail(error)

    def _look_at_fib(self) -> None:
        writer, names = self.core.fib.writer, self.names
        trouble = writer.head.trouble(names.fib)
        if not trouble and writer.locks_head is not None:
            locks = writer.locks_head.trouble(names.sync)
            if locks:  # two sets of locks keep nobody apart: all get others, with another FIB
                self.heal(f"its locks: {locks}", sound=locks in NAMELESS)
                return
        if trouble in NAMELESS:
            if self._name_again("fib", names.fib, writer.mapped, trouble):
                self.core.reader.move_to(writer.mapped.fd, writer.locks)
                self._tell_supervisor()
        elif trouble:
            self.heal(trouble, sound=False)

    def _name_again(self, what: str, name: str, mapped: Mapped, trouble: str) -> bool:
        """A whole object that others cannot find."""
        if time.monotonic() < self._try_again.get(what, 0.0):
            return False
        names, huge = self.names, self.segments.params.huge_pages
        try:
            if trouble == "replaced":
                set_aside(name, names.damaged(name))
            write_again(mapped, name, names.fresh(name), huge)
        except RibcageError as error:
            self._failed(f"{what}.{trouble}", error)
            self._try_again[what] = time.monotonic() + TRY_AGAIN
            return False
        self.counters["names_restored"] += 1
        self._told("warning", f"{what}.restored", trouble)
        return True

    def _look_at_semaphore(self) -> None:
        trouble = self.segments.guard.look()
        if trouble:
            self.counters["semaphore"] += 1
            self._told("warning", "semaphore.restored", trouble)

    # -- another FIB

    def heal(self, why: str, *, sound: bool) -> bool:
        """Another FIB from the RIB, and the workers get it. `sound`: the one there is can go on
        being written until then; if not, and there is no room for another, control ends."""
        start = time.monotonic()
        if start < self._try_again.get("rebuild", 0.0):
            return False
        try:
            writer = self._rebuild.run(self.segments.semaphore, sound=sound, sync=self.workers.sync)
        except RibcageError as error:
            self._failed("fib.rebuild", error)
            self._try_again["rebuild"] = time.monotonic() + TRY_AGAIN
            if not sound:
                self.close()
                self.fail(error)
            return False
        self.workers.use(writer.born, lambda: self.core.fib.writer.generation)
        self.audit.again()
        self.counters["fib_rebuilt"] += 1
        self._tell_supervisor()
        published = writer.published()
        self._told(
            "error", "fib.rebuilt", why, routes=published["routes4"] + published["routes6"],
            ms=round((time.monotonic() - start) * 1e3, 1),
            aside=self.names.damaged(self.names.fib),
        )  # fmt: skip
        return True

    def _tell_supervisor(self) -> None:
        writer = self.core.fib.writer
        self.say({"type": "fib-ready", "name": self.names.fib, "size": writer.mapped.size,
                  "instance_id": writer.instance_id_at_open})  # fmt: skip

    def _told(self, level: str, event: str, why: str, **facts: Any) -> None:
        self.last = {"what": event, "why": why, "at": round(time.time(), 3), **facts}
        self.log(level, event, why=why, **facts)

    def _failed(self, what: str, error: RibcageError) -> None:
        self.counters["failed"] += 1
        self.log("error", "healing.failed", what=what, code=error.code, why=error.message,
                 hint=error.hint)  # fmt: skip

    # -- the audit

    def _audit(self) -> None:
        period = self.core.plan.fib.audit
        self._later("audit", self._pause(period), self._audit)
        if not period or (not self.audit.under_way and time.monotonic() < self._round_at):
            return
        self.look()  # a damaged head would lead the audit astray
        if not self._timers:
            return  # the look ended it all
        if self.core.publisher.waiting or self.core.publisher.behind:
            self.audit.state.skipped += 1
            return
        if not self.audit.under_way:
            self._round_at = time.monotonic() + period
        try:
            found = self.audit.slice(SLICE)
        except RibcageError as error:
            self._rib_is_lost(f"overwritten: {error.message}")
            return
        except Exception as error:
            self.counters["failed"] += 1
            self.audit.again()
            self.log("error", "audit.failed", exc_info=error)
            return
        if self.core.forwarding.changed:
            self.core.publisher.touch(time.monotonic_ns())
        if self.audit.reselect:
            self.audit.reselect = False
            self.core.reselect()
        if found:
            self._differ(found)

    @staticmethod
    def _pause(period: float) -> float:
        return max(QUICKEST, SLICE_EVERY * period / A_ROUND) if period else 1.0

    def _differ(self, found: list[Difference]) -> None:
        """Damage, or a bug of ours. Either way the RIB is right; a bug would differ again."""
        now = time.monotonic()
        self.log("error", "audit.differs", count=len(found), first=str(found[:2])[:400])
        if now < self._not_before:
            return
        if now > self._not_before + 2 * self._patience:
            self._patience = PATIENCE
        if self.heal(f"the audit found {found[0].what} {found[0].which}", sound=True):
            self._not_before = now + self._patience
            self._patience = min(2 * self._patience, PATIENCE_MOST)
        else:
            self._not_before = now + PATIENCE

    # -- after a takeover

    async def check(self) -> None:
        """RIB and FIB agree, or are made to, with an error in the log."""
        self.core.clear_strays()
        report = await self.core.verify(VERIFY_LOOKUPS)
        if report["count"] == 0:
            self.log("info", "verify.done", routes=report["rib"], seconds=report["seconds"])
            return
        self.log("error", "verify.differs", count=report["count"],
                 first=str(report["differences"][:3])[:500])  # fmt: skip
        self.heal("verify after the takeover", sound=True)
