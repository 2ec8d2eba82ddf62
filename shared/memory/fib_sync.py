"""Strategies by name, what is peculiar about each, and what those with a lock need beside the FIB.

    STRATEGIES["epoch"]             the number in geometry.strategy; names as in the config
    Locks.of_memory(fd)             WITH_SEGMENT: the segment NAME.sync, mapped for writing
    Locks.of_semaphore(id)          WITH_SEMAPHORE: a System V set
    create_sync(names.sync, id)     makes that segment; create_semaphore() that set
    create_sealed_sync(label, id)   the same without a name, for a router

What each strategy promises is the table in csrc/sync/strategy.h. Readers need write access to
NAME.sync; it holds lock words and no route. A Locks outlives the readers and writers it was given
to.
"""

import fcntl
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.identity import SegmentKind, SegmentState
from ribcage.shared.memory.segment import Mapped, create_segment, map_segment


def _listed() -> Iterator[tuple[str, int]]:
    position = 0
    while number := int(lib.fib_strategy_at(position)):
        yield ffi.string(lib.fib_strategy_name(number)).decode(), number
        position += 1


STRATEGIES: dict[str, int] = dict(_listed())
"""The C table's (csrc/sync/table.h), the default first."""
DEFAULT_STRATEGY = next(iter(STRATEGIES))


def _with(flags: int) -> tuple[str, ...]:
    return tuple(n for n, number in STRATEGIES.items() if lib.fib_strategy_flags(number) & flags)


WITH_SEGMENT = _with(lib.SYNC_LOCK_MEMORY)
WITH_SEMAPHORE = _with(lib.SYNC_LOCK_SEMAPHORE)
WITH_LOCK = WITH_SEGMENT + WITH_SEMAPHORE
"""These waive "no lock a writer can hold"."""
TEACHING = _with(lib.SYNC_TEACHING)
"""These give wrong answers under change, to be seen."""
KEY_TRIES = 16
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def strategy_name(number: int) -> str:
    """The config's word for it; E_LAYOUT for a number this build does not know."""
    for name, known in STRATEGIES.items():
        if known == number:
            return name
    raise RibcageError("E_LAYOUT", f"this build knows no strategy {number}")


def refuse_untaught(sync: str, teach: bool) -> None:
    """E_TEACH for a strategy whose readers trust anything, unless that is the lesson."""
    if sync in TEACHING and not teach:
        raise RibcageError(
            "E_TEACH",
            f'strategy "{sync}" gives wrong answers under change and is for the lab',
            hint="run --teach, or set teach = true in [router], or choose another fib.sync",
            exit_code=Exit.CONFIG,
        )


@dataclass(slots=True)
class Locks:
    """`handle` is a `struct fib_locks *`; `mapped` the memory behind it, or None."""

    handle: Any
    mapped: Mapped | None = None

    @classmethod
    def of_memory(cls, source: int | Mapped) -> "Locks":
        """E_INITIALISING or E_LAYOUT when it is not a sync segment of this build. A descriptor
        stays the caller's."""
        if not isinstance(source, Mapped):
            source = map_segment(source, SegmentKind.SYNC, write=True)
        handle = ffi.new(
            "struct fib_locks *",
            {"memory": source.address, "size": source.size, "semaphore": -1},
        )
        return cls(handle, source)

    @classmethod
    def of_semaphore(cls, number: int) -> "Locks":
        return cls(ffi.new("struct fib_locks *", {"semaphore": number}))

    def close(self) -> None:
        if self.mapped is not None:
            self.mapped.close()


def create_sync(name: str, instance_id: int, mode: int = 0o600) -> Mapped:
    """A ready sync segment, every lock free. E_EXISTS, E_SHM_FULL."""
    mapped = create_segment(name, ffi.sizeof("struct sync_segment"), mode)
    if lib.sync_create(mapped.address, mapped.size, instance_id) != 0:
        mapped.close()
        raise RibcageError("E_SYNC", f"{name} cannot be formatted", exit_code=Exit.INTERNAL)
    mapped.state = SegmentState.READY
    return mapped


def create_sealed_sync(label: str, instance_id: int) -> int:
    """A ready sync segment in a memfd that cannot change its size: workers have to write to it,
    and none of them can take it away under control. A read-write descriptor; OSError."""
    size = ffi.sizeof("struct sync_segment")
    fd = os.memfd_create(label, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.fchmod(fd, 0o600)
        os.posix_fallocate(fd, 0, size)
        with mmap.mmap(fd, size) as memory, ffi.from_buffer(memory, require_writable=True) as base:
            if lib.sync_create(base, size, instance_id) != 0:
                raise RibcageError(
                    "E_SYNC", f"{label} cannot be formatted", exit_code=Exit.INTERNAL
                )
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def create_semaphore(group: int | None = None) -> tuple[int, int]:
    """(key, id) of a fresh set for WITH_SEMAPHORE, its key random; mode 0600, or 0660 with a group.
    E_SYNC when the kernel has none left."""
    mode = 0o600 if group is None else 0o660
    for _ in range(KEY_TRIES):
        key = int.from_bytes(os.urandom(4)) >> 2 | 1
        number = int(lib.sync_semaphore_create(key, mode, -1 if group is None else group))
        if number >= 0:
            return key, number
    raise RibcageError(
        "E_SYNC",
        f"no System V semaphore set could be made (error {-number})",
        hint="`ipcs -s` lists those there are; the limit is kernel.sem",
        exit_code=Exit.INTERNAL,
    )


def open_semaphore(key: int) -> int:
    """The id behind a key of `create_semaphore`. E_SYNC when it is gone."""
    number = int(lib.sync_semaphore_open(key))
    if number < 0:
        raise RibcageError("E_SYNC", f"semaphore set {key:#x} is gone", exit_code=Exit.INTERNAL)
    return number


def remove_semaphore(number: int) -> bool:
    return bool(lib.sync_semaphore_remove(number) == 0)
