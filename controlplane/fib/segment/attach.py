"""Who writes the FIB: takes the segment of the process before over, or makes one.

    writer = attach_fib(names, FibParams(), instance_id=..., guard=guard)

A half-made or corrupt segment is replaced; one of another build or purpose is refused (E_LAYOUT).
An attached segment keeps the size and the strategy it was made with. Control only.
"""

import os

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
from ribcage.shared.memory.segment import open_segment, remove_segment, segment_state
from ribcage.shared.process.names import Names


def attach_fib(
    names: Names,
    params: FibParams | None = None,
    *,
    instance_id: int | None = None,
    guard: WriterGuard | None = None,
    semaphore: int = -1,
    sync: int = -1,
) -> FibWriter:
    """Takes ownership (unless handed a guard), then attaches what is there, or makes it.

    The semaphore of a dead writer is put right here; a guard shared with the RIB stays the
    caller's to close. `semaphore` is the id of the set that the strategy `sem_undo` needs,
    `sync` a descriptor of the lock words of `rwlock` and `mutex`; without one they have a name.
    """
    wanted = params or FibParams()
    number = int.from_bytes(os.urandom(8)) if instance_id is None else instance_id
    own, owned = guard or WriterGuard(names), guard is None
    try:
        writer = _attach(names, own, semaphore, sync, owned)
        if writer is None:
            outcome = "replaced" if remove_segment(names.fib) else "created"
            remove_segment(names.sync)
            locks = _locks(names, wanted.sync, number, semaphore, sync)
            made = make_segment(names.fib, wanted, number)
            writer = FibWriter(names, own, made, outcome, locks, owns_guard=owned)
        own.recovered()
    except BaseException:
        if owned:
            own.close()
        raise
    return writer


def _attach(
    names: Names, guard: WriterGuard, semaphore: int, sync: int, owned: bool
) -> FibWriter | None:
    state = segment_state(names.fib, SegmentKind.FIB)
    if state in (SegmentState.ABSENT, SegmentState.INITIALISING):
        return None
    mapped = open_segment(names.fib, SegmentKind.FIB, write=True)
    header = ffi.cast("struct fib_header *", mapped.address)
    try:
        strategy = strategy_name(header.geometry.strategy)
        locks = _locks(names, strategy, header.identity.instance_id, semaphore, sync)
        return FibWriter(names, guard, mapped, "attached", locks, owns_guard=owned)
    except RibcageError:
        mapped.close()
        return None


def _locks(names: Names, strategy: str, number: int, semaphore: int, sync: int) -> Locks | None:
    """What the strategy needs beside the FIB: attached, or made."""
    if strategy in WITH_SEMAPHORE:
        if semaphore < 0:
            raise RibcageError("E_SYNC", f"strategy {strategy} needs a System V semaphore set")
        return Locks.of_semaphore(semaphore)
    if strategy not in WITH_SEGMENT:
        return None
    if sync >= 0:
        return Locks.of_memory(sync)
    if segment_state(names.sync, SegmentKind.SYNC) is SegmentState.READY:
        return Locks.of_memory(open_segment(names.sync, SegmentKind.SYNC, write=True))
    remove_segment(names.sync)
    return Locks.of_memory(create_sync(names.sync, number))
