"""POSIX shared-memory segments: made whole, opened checked, closed and removed by name.

Use: `create_segment(names.fib, size)` gives zeroed memory to format; `open_segment(name,
SegmentKind.FIB)` maps one that another process made, or says in a RibcageError what is there
instead; `map_segment(fd, kind)` does the same for a descriptor that was handed over. What the
first 64 bytes say is in csrc/layout/segment_layout.h and checked there, by segment_check().

Any process. A mapping without write=True is read-only in the page tables: a store through it
faults this process and nobody else. Nothing here promises that the content is consistent.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import posix_ipc
from ribcage.shared._core import ffi, lib

from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.identity import SHM, SegmentKind, SegmentState, check, unready
from ribcage.shared.refusals import refused


class HugePages(StrEnum):
    """For a new segment's front: none, as many as there are, or all or an error."""

    NEVER = "never"
    TRY = "try"
    REQUIRE = "require"


@dataclass(slots=True)
class Mapped:
    """A mapped segment. `address` is a cffi `char *` valid until close(); `fd` belongs to the
    object when `owns_fd`, else to whoever handed it over."""

    name: str
    fd: int
    size: int
    state: SegmentState
    address: Any
    writable: bool
    owns_fd: bool

    def close(self) -> None:
        """Unmaps (and closes an own descriptor). A second call does nothing."""
        if self.address is None:
            return
        lib.segment_unmap(self.address, self.size)
        self.address = None
        if self.owns_fd:
            os.close(self.fd)

    def __enter__(self) -> "Mapped":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def map_segment(
    fd: int, kind: SegmentKind, *, write: bool = False, name: str = "", owns_fd: bool = False
) -> Mapped:
    """Maps an open descriptor. E_INITIALISING or E_LAYOUT when it is not ready; on an error an
    owned descriptor is closed too. A descriptor opened O_RDONLY cannot be mapped for writing."""
    label = name or f"of descriptor {fd}"
    try:
        size = os.fstat(fd).st_size
        if size < ffi.sizeof("struct segment_identity"):
            state = SegmentState.INITIALISING
            raise unready(label, kind, state, f"it has {size} bytes")
        mapped = _map(fd, size, label, write=write, owns_fd=owns_fd)
    except BaseException:
        if owns_fd:
            os.close(fd)
        raise
    mapped.state, why = check(mapped.address, size, kind)
    if mapped.state is not SegmentState.READY:
        error = unready(label, kind, mapped.state, why)
        mapped.close()
        raise error
    return mapped


def _map(fd: int, size: int, name: str, *, write: bool, owns_fd: bool) -> Mapped:
    error = ffi.new("int32_t *")
    address = ffi.cast("char *", lib.segment_map(fd, size, write, error))
    if address == ffi.NULL:
        raise refused("segment_map", error[0], name=name, size=size >> 20)
    return Mapped(name, fd, size, SegmentState.INITIALISING, address, write, owns_fd)


def open_segment(name: str, kind: SegmentKind, *, write: bool = False) -> Mapped:
    """Maps the segment `name`; E_ABSENT, E_INITIALISING or E_LAYOUT when it is not ready."""
    try:
        shm = posix_ipc.SharedMemory(name, read_only=not write)
    except posix_ipc.ExistentialError:
        raise unready(name, kind, SegmentState.ABSENT, "") from None
    except posix_ipc.PermissionsError:
        raise RibcageError(
            "E_PERMISSION",
            f"segment {name} may not be opened by uid {os.geteuid()}",
            exit_code=Exit.PRIVILEGE,
        ) from None
    return map_segment(shm.fd, kind, write=write, name=name, owns_fd=True)


def segment_state(name: str, kind: SegmentKind) -> SegmentState:
    """What `open_segment` would find, without raising for it."""
    states = {
        "E_ABSENT": SegmentState.ABSENT,
        "E_INITIALISING": SegmentState.INITIALISING,
        "E_LAYOUT": SegmentState.FOREIGN,
    }
    try:
        open_segment(name, kind).close()
    except RibcageError as error:
        if error.code not in states:
            raise
        return states[error.code]
    return SegmentState.READY


def create_segment(
    name: str, size: int, mode: int = 0o600, huge: HugePages = HugePages.NEVER
) -> Mapped:
    """Makes a new segment of `size` zeroed bytes, all of them really there, mapped for writing.

    The caller formats it and stores the identity line last. E_EXISTS when the name is taken,
    E_SHM_FULL when shared memory is short: found now, not by SIGBUS in the packet path;
    E_HUGE_PAGES when they are required and the kernel does not give enough.
    """
    try:
        shm = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=mode)
    except posix_ipc.ExistentialError:
        raise RibcageError("E_EXISTS", f"segment {name} exists already") from None
    try:
        os.ftruncate(shm.fd, size)
        os.fchmod(shm.fd, mode)
        mapped = _map(shm.fd, size, name, write=True, owns_fd=False)
        try:
            _back(mapped, huge)
        except BaseException:
            mapped.close()
            raise
        mapped.owns_fd = True
        return mapped
    except BaseException as error:
        os.close(shm.fd)
        remove_segment(name)
        if isinstance(error, OSError):
            raise _no_room(name, size, error.errno) from error
        raise


def _no_room(name: str, size: int, error: int | None) -> RibcageError:
    left = os.statvfs(SHM)
    room = left.f_bavail * left.f_frsize >> 20
    return refused("segment_create", error, name=name, size=size >> 20, where=SHM, room=room)


def _back(mapped: Mapped, huge: HugePages) -> None:
    most = 0 if huge is HugePages.NEVER else int(lib.SEGMENT_HUGE_MOST)
    units = ffi.new("uint32_t *")
    error = lib.segment_back(mapped.fd, mapped.address, mapped.size, most, units)
    if error != 0:
        raise _no_room(mapped.name, mapped.size, error)
    wanted = min(most, mapped.size) // lib.SEGMENT_UNIT
    if huge is HugePages.REQUIRE and units[0] < wanted:
        raise RibcageError(
            "E_HUGE_PAGES",
            f"segment {mapped.name}: the kernel gave {units[0]} of {wanted} huge pages of 2 MiB",
            hint='Linux 6.1 has them for shared memory; free memory, or write huge_pages = "try"',
            exit_code=Exit.PRIVILEGE,
        )


def huge_bytes(mapped: Mapped) -> int:
    """How much of a mapping this process's page tables hold as huge pages; 0 where the kernel
    does not say."""
    begin = f"{int(ffi.cast('uintptr_t', mapped.address)):x}-"
    inside = False
    with suppress(OSError), Path("/proc/self/smaps").open() as lines:
        for line in lines:
            if inside and line.startswith("ShmemPmdMapped:"):
                return int(line.split()[1]) << 10
            inside = inside or line.startswith(begin)
    return 0


def remove_segment(name: str) -> bool:
    """Removes the name; mappings stay valid. False when there was none."""
    try:
        posix_ipc.unlink_shared_memory(name)
    except posix_ipc.ExistentialError:
        return False
    return True
