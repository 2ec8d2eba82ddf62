"""Who writes the FIB: takes the segment of the process before over, or makes one.

    writer = attach_fib(names, FibParams(), instance_id=..., guard=guard)
    writer.outcome, writer.why       # "attached", "created", "restored" or "replaced", and why

A segment whose name is gone is written again from the descriptor that the workers have. One that
cannot be used (cut short, overwritten, of another build or purpose) is set aside under
names.damaged(), and another is made; it is empty, and takes its name when it is whole. An attached
segment keeps the size and the strategy it was made with. Control only.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from ribcage.shared._core import ffi

from ribcage.controlplane.fib.segment.create import FibParams, make_segment
from ribcage.controlplane.fib.segment.guard import WriterGuard
from ribcage.controlplane.fib.segment.writer import FibWriter
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib_sync import (
    WITH_SEGMENT,
    WITH_SEMAPHORE,
    Locks,
    create_sync,
    strategy_name,
)
from ribcage.shared.memory.identity import SegmentKind, SegmentState
from ribcage.shared.memory.segment import (
    HugePages,
    copy_segment,
    map_segment,
    open_segment,
    remove_segment,
    rename_segment,
    segment_state,
    set_aside,
)
from ribcage.shared.process.names import Names

UNFIT = ("E_INITIALISING", "E_LAYOUT", "E_FIB_CORRUPT", "E_OPEN")
"""Of a segment that another is made for; all else (no right, no memory, no locks) is told."""

Made = TypeVar("Made")


def attach_fib(
    names: Names,
    params: FibParams | None = None,
    *,
    instance_id: int | None = None,
    guard: WriterGuard | None = None,
    semaphore: int = -1,
    sync: int = -1,
    lent: int | None = None,
) -> FibWriter:
    """Takes ownership (unless handed a guard), then attaches what is there, or makes it.

    The semaphore of a dead writer is put right here; a guard shared with the RIB stays the
    caller's to close. `semaphore` is the id of the set that the strategy `sem_undo` needs, `sync` a
    descriptor of the lock words of `rwlock` and `mutex` (without one they have a name), `lent` one
    of the FIB that the workers have, in case its name is gone.
    """
    wanted = params or FibParams()
    number = int.from_bytes(os.urandom(8)) if instance_id is None else instance_id
    own, owned = guard or WriterGuard(names), guard is None
    try:
        writer = _find(names, own, semaphore, sync, wanted, number, lent)
        writer.owns_guard = owned
        own.recovered()
    except BaseException:
        if owned:
            own.close()
        raise
    return writer


def _find(
    names: Names,
    guard: WriterGuard,
    semaphore: int,
    sync: int,
    wanted: FibParams,
    number: int,
    lent: int | None,
) -> FibWriter:
    outcome, why = "attached", ""
    try:
        return _attach(names, guard, semaphore, sync, outcome)
    except RibcageError as error:
        absent = error.code == "E_ABSENT"
        if not absent and error.code not in UNFIT:
            raise
        outcome, why = "created" if absent else "replaced", error.message
    if outcome == "created" and lent is not None:
        try:
            map_lent = map_segment(lent, SegmentKind.FIB)
            with map_lent:
                copy_segment(map_lent, names.fib, names.fresh(names.fib), wanted.huge_pages).close()
            return _attach(names, guard, semaphore, sync, "restored")
        except RibcageError as error:
            if error.code not in UNFIT:
                raise
            outcome, why = (
                "replaced",
                f"its name was removed, and what is left of it: {error.message}",
            )
    if segment_state_or_none(names) is not SegmentState.ABSENT:
        set_aside(names.fib, names.damaged(names.fib))
    writer = make_fib(names, guard, wanted, number, semaphore, sync, outcome)
    writer.why = why
    take_name(names, writer)
    return writer


def segment_state_or_none(names: Names) -> SegmentState | None:
    """What stands at the FIB's name; None: no segment at all."""
    try:
        return segment_state(names.fib, SegmentKind.FIB)
    except RibcageError:
        return None


def make_fib(
    names: Names,
    guard: WriterGuard,
    wanted: FibParams,
    number: int,
    semaphore: int,
    sync: int,
    outcome: str,
) -> FibWriter:
    """An empty FIB and its locks beside whatever has their names. Where packets flow already, huge
    pages are no condition, and what was kept for a look gives way. E_SHM_FULL leaves nothing."""
    if outcome != "created" and wanted.huge_pages is HugePages.REQUIRE:
        wanted = replace(wanted, huge_pages=HugePages.TRY)
    return with_room(names, lambda: _make(names, guard, wanted, number, semaphore, sync, outcome))


def with_room(names: Names, make: Callable[[], Made]) -> Made:
    """Makes a segment; when there is no room, once more without the damaged ones."""
    try:
        return make()
    except RibcageError as error:
        kept = [names.damaged(name) for name in (names.fib, names.rib)]
        if error.code != "E_SHM_FULL" or not any([remove_segment(name) for name in kept]):
            raise
    return make()


def _make(
    names: Names,
    guard: WriterGuard,
    wanted: FibParams,
    number: int,
    semaphore: int,
    sync: int,
    outcome: str,
) -> FibWriter:
    fresh = names.fresh(names.fib)
    remove_segment(fresh)
    locks = _fresh_locks(names, wanted.sync, number, semaphore, sync)
    try:
        return FibWriter(names, guard, make_segment(fresh, wanted, number), outcome, locks)
    except BaseException:
        remove_segment(fresh)
        remove_segment(names.fresh(names.sync))
        raise


def take_name(names: Names, writer: FibWriter) -> None:
    """What `make_fib` made is the FIB from now on. The locks first: whoever finds the new FIB
    finds them too."""
    if writer.locks is not None and writer.has_named_locks:
        rename_segment(names.fresh(names.sync), names.sync)
    rename_segment(names.fresh(names.fib), names.fib)
    writer.mapped.name = names.fib


def _attach(names: Names, guard: WriterGuard, semaphore: int, sync: int, outcome: str) -> FibWriter:
    mapped = open_segment(names.fib, SegmentKind.FIB, write=True)
    header = ffi.cast("struct fib_header *", mapped.address)
    try:
        strategy = strategy_name(header.geometry.strategy)
        locks = _locks(names, strategy, header.identity.instance_id, semaphore, sync)
        return FibWriter(names, guard, mapped, outcome, locks)
    except BaseException:
        mapped.close()
        raise


def _locks(names: Names, strategy: str, number: int, semaphore: int, sync: int) -> Locks | None:
    """What the strategy needs beside an attached FIB. Lock words that are gone or unusable are made
    anew: the supervisor sees that they are others, and hands them to every worker."""
    if strategy in WITH_SEGMENT and sync < 0:
        try:
            return Locks.of_memory(open_segment(names.sync, SegmentKind.SYNC, write=True))
        except RibcageError as error:
            if error.code not in (*UNFIT, "E_ABSENT"):
                raise
    made = _fresh_locks(names, strategy, number, semaphore, sync)
    if made is not None and made.mapped is not None and sync < 0:
        rename_segment(names.fresh(names.sync), names.sync)
        made.mapped.name = names.sync
    return made


def _fresh_locks(
    names: Names, strategy: str, number: int, semaphore: int, sync: int
) -> Locks | None:
    if strategy in WITH_SEMAPHORE:
        if semaphore < 0:
            raise RibcageError("E_SYNC", f"strategy {strategy} needs a System V semaphore set")
        return Locks.of_semaphore(semaphore)
    if strategy not in WITH_SEGMENT:
        return None
    if sync >= 0:
        return Locks.of_memory(sync)
    remove_segment(names.fresh(names.sync))
    return Locks.of_memory(create_sync(names.fresh(names.sync), number))
