"""Attaches the RIB and the FIB: takes ownership, takes over what is there, makes what is missing.

    segments = await open_segments(names, plan, instance_id, log)
    segments.fresh        # nothing was there: this is the router's start, not a takeover

The ownership lock is the kernel's to drop at the predecessor's death, so a successor may find it
held for a moment: it tries again until LOCK_WAIT. A damaged RIB is thrown away with an error:
routes added at run time are lost then, and the FIB is made to agree with what is left. Control
only.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from ribcage.controlplane.fib.segment.attach import attach_fib
from ribcage.controlplane.fib.segment.create import FibParams
from ribcage.controlplane.fib.segment.guard import WriterGuard
from ribcage.controlplane.fib.segment.tables import FibTables
from ribcage.controlplane.rib.mapping import RibParams
from ribcage.controlplane.rib.segment import Rib
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib import FibReader
from ribcage.shared.memory.fib_engines import engine_id
from ribcage.shared.memory.fib_sync import DEFAULT_STRATEGY, open_semaphore, refuse_untaught
from ribcage.shared.memory.segment import HugePages
from ribcage.shared.plan import Plan
from ribcage.shared.process.names import Names

LOCK_WAIT = 2.0
LOCK_RETRY = 0.005
SPARE_ROWS = 65_536  # candidates beyond the FIB's limits: runner-ups, rows not eligible now


@dataclass(slots=True)
class Segments:
    """Both tables, open for writing."""

    guard: WriterGuard
    rib: Rib
    fib: FibTables
    reader: FibReader
    fib_is_new: bool

    @property
    def fresh(self) -> bool:
        return self.rib.recovery.created

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
) -> Segments:
    """E_LOCKED after LOCK_WAIT, E_LAYOUT, E_INSTANCE, E_SHM_FULL; nothing stays held then."""
    guard = await _own(names)
    try:
        rib = _open_rib(names, plan, instance_id, log)
        try:
            refuse_untaught(plan.fib.sync, plan.teach)
            limits = FibParams(
                max_routes4=plan.fib.max_routes4,
                max_routes6=plan.fib.max_routes6,
                engine4=engine_id(4, plan.fib.lookup4),
                engine6=engine_id(6, plan.fib.lookup6),
                sync=plan.fib.sync or DEFAULT_STRATEGY,
                huge_pages=HugePages(plan.fib.huge_pages),
            )
            writer = attach_fib(
                names,
                limits,
                instance_id=instance_id,
                guard=guard,
                semaphore=-1 if sync_key is None else open_semaphore(sync_key),
                sync=sync,
            )
        except BaseException:
            rib.close()
            raise
    except BaseException:
        guard.close()
        raise
    reader = FibReader(writer.mapped.fd, writer.locks)
    return Segments(guard, rib, FibTables(writer, reader), reader, writer.outcome != "attached")


async def _own(names: Names) -> WriterGuard:
    end = time.monotonic() + LOCK_WAIT
    while True:
        try:
            return WriterGuard(names)
        except RibcageError as error:
            if error.code != "E_LOCKED" or time.monotonic() >= end:
                raise
        await asyncio.sleep(LOCK_RETRY)


def _open_rib(names: Names, plan: Plan, instance_id: int, log: Callable[..., None]) -> Rib:
    rows = plan.fib.max_routes4 + plan.fib.max_routes6 + SPARE_ROWS
    params = RibParams(max_rows=rows, instance_id=instance_id)
    try:
        rib = Rib.create_or_attach(names, params)
    except RibcageError as error:
        if error.code != "E_DAMAGED":
            raise
        log("error", "rib.damaged", why=error.message, hint=error.hint)
        Rib.remove(names)
        rib = Rib.create_or_attach(names, params)
    return rib
