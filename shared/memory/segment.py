"""POSIX shared-memory segments: made whole, opened checked, closed and removed by name.

Use: `create_segment(names.fib, size)` gives zeroed memory to format; `open_segment(name,
SegmentKind.FIB)` maps one that another process made, or says in a RibcageError what is there
instead; `map_segment(fd, kind)` does the same for a descriptor that was handed over. What the
first 64 bytes say is in csrc/layout/segment_layout.h and checked there, by segment_check().

Any process. A mapping without write=True is read-only in the page tables: a store through it
faults this process and nobody else. Nothing here promises that the content is consistent.
"""

import errno
import os
import stat
from collections.abc import Sequence
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
        raise refused("segment_open", errno.EACCES, name=name, uid=os.geteuid()) from None
    except (posix_ipc.Error, OSError) as error:
        number = error.errno if isinstance(error, OSError) else errno.EINVAL
        raise refused("segment_open", number, name=name, uid=os.geteuid()) from error
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


def rename_segment(old: str, new: str) -> None:
    """In one step: whoever opens `new` finds what it was before or this one, whole. E_OWNER."""
    try:
        Path(f"{SHM}{old}").rename(f"{SHM}{new}")
    except OSError as error:
        raise refused("segment_rename", error.errno, name=new) from error


def leads_to(name: str, mapped: Mapped) -> bool | None:
    """Whether a name is that of a mapped object; None when nothing has it."""
    try:
        found = Path(f"{SHM}{name}").lstat()
    except FileNotFoundError:
        return None
    return os.path.samestat(found, os.fstat(mapped.fd))


def cut_short(mapped: Mapped) -> bool:
    """Whether somebody made the object smaller than it was: a look behind its end is SIGBUS."""
    return os.fstat(mapped.fd).st_size < mapped.size


class Head:
    """What the front of a mapped segment said when it was opened, and never changes: structs from
    its first byte on, one behind the other."""

    def __init__(self, mapped: Mapped, structs: Sequence[str]) -> None:
        self._mapped = mapped
        self._bytes = self._read(sum(ffi.sizeof(name) for name in structs))

    def _read(self, size: int) -> bytes:
        return bytes(ffi.buffer(self._mapped.address, size))

    def trouble(self, name: str) -> str:
        """What somebody did to the object or to its name: "cut short", "overwritten" (both: it is
        of no use), "removed", "replaced" (it is whole, and others cannot find it); "" as a rule."""
        if cut_short(self._mapped):
            return "cut short"
        if self._read(len(self._bytes)) != self._bytes:
            return "overwritten"
        found = leads_to(name, self._mapped)
        return "" if found else "removed" if found is None else "replaced"


def blank(mapped: Mapped) -> None:
    """Zeros in place of the object, for this process alone. The descriptor stays the object's."""
    lib.segment_blank(mapped.address, mapped.size)


def copy_segment(
    mapped: Mapped, name: str, fresh: str, huge: HugePages = HugePages.NEVER
) -> Mapped:
    """What is mapped, once more, as the segment `name`: called `fresh` until it is whole. The
    caller changes nothing meanwhile. E_SHM_FULL, E_OWNER: nothing was changed."""
    remove_segment(fresh)
    mode = stat.S_IMODE(os.fstat(mapped.fd).st_mode)
    copy = create_segment(fresh, mapped.size, mode, huge)
    try:
        ffi.memmove(copy.address, mapped.address, mapped.size)
        rename_segment(fresh, name)
    except BaseException:
        copy.close()
        remove_segment(fresh)
        raise
    copy.name, copy.state = name, mapped.state
    return copy


def write_again(mapped: Mapped, name: str, fresh: str, huge: HugePages = HugePages.NEVER) -> None:
    """A segment whose name is gone gets it again: a copy with this name is mapped in its place, at
    the same address. The copy has the name before the mapping moves, so that a death in between
    leaves it whole. Errors as copy_segment, and nothing was changed."""
    with copy_segment(mapped, name, fresh, huge) as copy:
        error = lib.segment_replace(mapped.address, copy.fd, mapped.size)
        if error != 0:
            raise refused("segment_map", error, name=name, size=mapped.size >> 20)
        if mapped.owns_fd:
            os.close(mapped.fd)
        mapped.fd, mapped.owns_fd = os.dup(copy.fd), True


def set_aside(name: str, aside: str) -> None:
    """What has the name keeps its content under another, for a look; what was there goes. E_OWNER
    when it is not ours to move."""
    with suppress(OSError):  # a folder that somebody put there: the rename says so
        remove_segment(aside)
    rename_segment(name, aside)


def remove_segment(name: str) -> bool:
    """Removes the name; mappings stay valid. False when there was none."""
    try:
        posix_ipc.unlink_shared_memory(name)
    except posix_ipc.ExistentialError:
        return False
    return True
