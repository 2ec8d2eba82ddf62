"""Attaches the RIB and the FIB: takes ownership, takes over what is there, makes what is missing.

    segments = await open_segments(names, plan, instance_id, log)
    segments.fresh        # nothing was there: this is the router's start, not a takeover

The ownership lock is the kernel's to drop at the predecessor's death, so a successor may find it
held for a moment: it tries again until LOCK_WAIT.

A table that is lost or damaged comes from the other: the FIB from the RIB (Core.takeover compares
all of it), the RIB from the FIB (fib/salvage.py) before any group number is given out. Only when
both are lost do the sources alone remain. A new table has a name of its own until it is whole, so a
death at any step leaves the next one the same task. What was damaged is kept aside.
While the workers have a FIB and shared memory is full, control waits for room. Control only.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ribcage.controlplane.fib.salvage import Salvaged, salvage
from ribcage.controlplane.fib.segment.attach import UNFIT, attach_fib, with_room
from ribcage.controlplane.fib.segment.create import FibParams
from ribcage.controlplane.fib.segment.guard import WriterGuard
from ribcage.controlplane.fib.segment.tables import FibTables
from ribcage.controlplane.fib.segment.writer import FibWriter
from ribcage.controlplane.rib.mapping import RibParams
from ribcage.controlplane.rib.segment import Rib
from ribcage.controlplane.routes.sources.recovered import RECOVERED
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib import FibReader
from ribcage.shared.memory.fib_engines import engine_id
from ribcage.shared.memory.fib_sync import DEFAULT_STRATEGY, open_semaphore, refuse_untaught
from ribcage.shared.memory.segment import HugePages, rename_segment, set_aside
from ribcage.shared.plan import Plan
from ribcage.shared.process.names import Names

LOCK_WAIT = 2.0
LOCK_RETRY = 0.005
ROOM_WAIT = 20.0  # for room in shared memory, at a takeover; the supervisor's deadline is 30 s
ROOM_RETRY = 0.5
SPARE_ROWS = 65_536  # candidates beyond the FIB's limits: runner-ups, rows not eligible now
RIB_UNFIT = (*UNFIT, "E_DAMAGED", "E_INSTANCE", "E_OWNER")


@dataclass(slots=True)
class Segments:
    """Both tables, open for writing. `salvaged`: what a lost RIB got back from the FIB."""

    guard: WriterGuard
    rib: Rib
    fib: FibTables
    reader: FibReader
    params: FibParams
    semaphore: int = -1
    lent: bool = False
    """The workers had a FIB when this control began."""
    salvaged: Salvaged | None = None
    healed: dict[str, int] = field(default_factory=dict)
    """What was lost or damaged, by name of the table: for the counters."""

    @property
    def fresh(self) -> bool:
        return self.rib.recovery.created and self.salvaged is None

    @property
    def fib_is_new(self) -> bool:
        return self.fib.writer.outcome in ("created", "replaced")

    def close(self) -> None:
        """Lets go; the segments stay for the workers and the successor."""
        self.reader.close()
        self.fib.writer.close()
        self.rib.close()
        self.guard.close()


async def open_segments(
    names: Names,
    plan: Plan,
    instance_id: int,
    log: Callable[..., None],
    sync_key: int | None = None,
    sync: int = -1,
    lent: int | None = None,
) -> Segments:
    """`lent`: a descriptor of the FIB that the workers have; None at the router's start. `sync`:
    one of the lock words, -1 where there are none.

    E_LOCKED after LOCK_WAIT, E_PERMISSION, E_OWNER, E_SYNC, E_SHM_FULL; nothing stays held then."""
    guard = await _own(names)
    try:
        refuse_untaught(plan.fib.sync, plan.teach)
        opening = _Opening(names, plan, instance_id, guard, log, sync_key, sync, lent)
        return await opening.with_patience()
    except BaseException:
        guard.close()
        raise


async def _own(names: Names) -> WriterGuard:
    end = time.monotonic() + LOCK_WAIT
    while True:
        try:
            return WriterGuard(names)
        except RibcageError as error:
            if error.code != "E_LOCKED" or time.monotonic() >= end:
                raise
        await asyncio.sleep(LOCK_RETRY)


def params_of(plan: Plan) -> FibParams:
    """What a FIB of this plan is made for."""
    return FibParams(
        max_routes4=plan.fib.max_routes4,
        max_routes6=plan.fib.max_routes6,
        engine4=engine_id(4, plan.fib.lookup4),
        engine6=engine_id(6, plan.fib.lookup6),
        sync=plan.fib.sync or DEFAULT_STRATEGY,
        huge_pages=HugePages(plan.fib.huge_pages),
    )


class _Opening:
    """One opening of both tables, the FIB first: a lost RIB comes from it."""

    def __init__(
        self,
        names: Names,
        plan: Plan,
        instance_id: int,
        guard: WriterGuard,
        log: Callable[..., None],
        sync_key: int | None,
        sync: int,
        lent: int | None,
    ) -> None:
        self.names, self.plan, self.guard, self.log = names, plan, guard, log
        self.instance_id = instance_id
        self.semaphore = -1 if sync_key is None else open_semaphore(sync_key)
        self.sync = sync
        self.lent = lent
        self.params = params_of(plan)

    async def with_patience(self) -> Segments:
        """At a takeover packets flow meanwhile, so a full /dev/shm is waited for."""
        end = time.monotonic() + ROOM_WAIT
        told = False
        while True:
            try:
                return self._open()
            except RibcageError as error:
                full = error.code == "E_SHM_FULL" and self.lent is not None
                if not full or time.monotonic() >= end:
                    raise
                if not told:
                    self.log("error", "segment.no-room", why=error.message, hint=error.hint)
                    told = True
            await asyncio.sleep(ROOM_RETRY)

    def _open(self) -> Segments:
        writer = attach_fib(
            self.names,
            self.params,
            instance_id=self.instance_id,
            guard=self.guard,
            semaphore=self.semaphore,
            sync=self.sync,
            lent=self.lent,
        )
        try:
            reader = FibReader(writer.mapped.fd, writer.locks)
        except BaseException:
            writer.close()
            raise
        try:
            found = self._open_rib(writer, reader)
        except BaseException:
            reader.close()
            writer.close()
            raise
        if writer.outcome in ("replaced", "restored"):
            found.healed["fib"] = 1
            why = writer.why or "its name was removed"
            self.log("error", f"fib.{writer.outcome}", why=why,
                     aside=self.names.damaged(self.names.fib))  # fmt: skip
        elif writer.outcome == "created" and self.lent is not None:
            found.healed["fib"] = 1
        return found

    def _open_rib(self, writer: FibWriter, reader: FibReader) -> Segments:
        plan, names = self.plan, self.names
        rows = plan.fib.max_routes4 + plan.fib.max_routes6 + SPARE_ROWS
        params = RibParams(max_rows=rows, instance_id=self.instance_id)
        tables = FibTables(writer, reader)
        why = "its name was removed"
        try:
            rib = Rib.attach(names, params)
            return self._segments(rib, tables)
        except RibcageError as error:
            if error.code != "E_ABSENT":
                if error.code not in RIB_UNFIT:
                    raise
                why = error.message
                set_aside(names.rib, names.damaged(names.rib))
        rib = with_room(names, lambda: Rib.create(names.fresh(names.rib), params))
        try:
            made = self._segments(rib, tables)
            if writer.outcome in ("attached", "restored"):
                made.salvaged = salvage(rib, tables, RECOVERED.number, RECOVERED.distance)
            rename_segment(names.fresh(names.rib), names.rib)
        except BaseException:
            rib.close()
            raise
        if made.salvaged is not None or self.lent is not None:
            saved = made.salvaged or Salvaged()
            made.healed["rib"] = 1
            self.log("error", "rib.lost", why=why, recovered=saved.routes, sets=saved.sets,
                     lost=saved.lost)  # fmt: skip
        return made

    def _segments(self, rib: Rib, tables: FibTables) -> Segments:
        return Segments(
            self.guard, rib, tables, tables.reader, self.params, self.semaphore,
            self.lent is not None,
        )  # fmt: skip
