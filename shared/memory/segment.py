"""POSIX shared-memory segments: made whole, opened checked, closed and removed by name.

Use: `create_segment(names.fib, size)` gives zeroed memory to format; `open_segment(name,
SegmentKind.FIB)` maps one that another process made, or says in a RibcageError what is there
instead; `map_segment(fd, kind)` does the same for a descriptor that was handed over. What the
first 64 bytes say is in csrc/layout/segment_layout.h and checked there, by segment_check().

    absent        no such object
    initialising  its maker has not stored the magic yet (or died before)
    foreign       made by another build, version, or for another purpose: both sides are shown
    ready         mapped and usable

Any process. A mapping without write=True is read-only in the page tables: a store through it
faults this process and nobody else. Nothing here promises that the content is consistent.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

import posix_ipc
from ribcage.shared._core import ffi, lib

from ribcage.shared.errors import Exit, RibcageError

SHM = "/dev/shm"


class SegmentKind(IntEnum):
    FIB = lib.SEGMENT_FIB
    RIB = lib.SEGMENT_RIB
    STATS = lib.SEGMENT_STATS
    SYNC = lib.SEGMENT_SYNC


class SegmentState(IntEnum):
    ABSENT = lib.SEGMENT_ABSENT
    INITIALISING = lib.SEGMENT_INITIALISING
    FOREIGN = lib.SEGMENT_FOREIGN
    READY = lib.SEGMENT_READY


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


@dataclass(frozen=True, slots=True)
class Side:
    """What an identity line says, or what this build expects of one."""

    magic: int
    kind: int
    major: int
    layout: int
    header_size: int
    incompat: int

    def differences(self, expected: "Side") -> str:
        """`layout 0x91c2, this build 0x77ab; ...`: only what differs, both sides."""
        words = {"magic": "#x", "layout": "#x", "incompat": "#x"}
        found = []
        for field in ("magic", "kind", "major", "layout", "header_size"):
            mine, theirs = getattr(expected, field), getattr(self, field)
            if mine != theirs:
                form = words.get(field, "d")
                found.append(f"{field} {theirs:{form}}, this build {mine:{form}}")
        if self.incompat & ~expected.incompat:
            found.append(f"features {self.incompat:#x}, this build {expected.incompat:#x}")
        return "; ".join(found)


def expected_side(kind: SegmentKind) -> Side:
    """What this build writes into, and asks of, a segment of this kind."""
    expect = ffi.new("struct segment_expect *")
    if lib.segment_expected(lib.segment_format(kind), expect) != 0:
        raise RibcageError("E_KIND", f"this build knows no segments of kind {kind.name}")
    return Side(
        expect.magic,
        expect.kind,
        expect.major,
        expect.layout_id,
        expect.header_size,
        expect.incompat_known,
    )


def _side(address: Any) -> Side:
    line = ffi.cast("struct segment_identity *", address)
    return Side(line.magic, line.kind, line.major, line.layout_id, line.header_size, line.incompat)


def _unready(name: str, kind: SegmentKind, state: SegmentState, why: str) -> RibcageError:
    if state is SegmentState.ABSENT:
        return RibcageError(
            "E_ABSENT",
            f"there is no segment {name}",
            hint="is the router of this name running? `ribcage ps` tells",
            exit_code=Exit.NO_DAEMON,
        )
    if state is SegmentState.INITIALISING:
        return RibcageError(
            "E_INITIALISING",
            f"segment {name} is not ready: {why}",
            hint="its maker is still at work, or died at it; a new start removes it",
            exit_code=Exit.TIMEOUT,
        )
    return RibcageError(
        "E_LAYOUT",
        f"segment {name} is not a {kind.name} segment of this build: {why}",
        hint="stop the router with the build that made it"
        + (f", or remove {SHM}{name}" if name.startswith("/") else ""),
        exit_code=Exit.INTERNAL,
    )


def _check(address: Any, size: int, kind: SegmentKind) -> tuple[SegmentState, str]:
    """The state, and in words why it is not ready."""
    state = SegmentState(lib.segment_check(address, size, lib.segment_format(kind)))
    if state is SegmentState.READY:
        return state, ""
    if state is SegmentState.INITIALISING:
        return state, f"it has {size} bytes and no magic yet"
    why = _side(address).differences(expected_side(kind))
    line = ffi.cast("struct segment_identity *", address)
    if not why and line.segment_size > size:
        why = f"its line says {line.segment_size} bytes, the object has {size}"
    return state, why or "its identity line is damaged (the checksum does not fit)"


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
            raise _unready(label, kind, state, f"it has {size} bytes")
        mapped = _map(fd, size, label, write=write, owns_fd=owns_fd)
    except BaseException:
        if owns_fd:
            os.close(fd)
        raise
    mapped.state, why = _check(mapped.address, size, kind)
    if mapped.state is not SegmentState.READY:
        error = _unready(label, kind, mapped.state, why)
        mapped.close()
        raise error
    return mapped


def _map(fd: int, size: int, name: str, *, write: bool, owns_fd: bool) -> Mapped:
    error = ffi.new("int32_t *")
    address = ffi.cast("char *", lib.segment_map(fd, size, write, error))
    if address == ffi.NULL:
        raise OSError(-error[0], f"cannot map {name}: {os.strerror(-error[0])}")
    return Mapped(name, fd, size, SegmentState.INITIALISING, address, write, owns_fd)


def open_segment(name: str, kind: SegmentKind, *, write: bool = False) -> Mapped:
    """Maps the segment `name`; E_ABSENT, E_INITIALISING or E_LAYOUT when it is not ready."""
    try:
        shm = posix_ipc.SharedMemory(name, read_only=not write)
    except posix_ipc.ExistentialError:
        raise _unready(name, kind, SegmentState.ABSENT, "") from None
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
    except RibcageError:
        os.close(shm.fd)
        remove_segment(name)
        raise
    except OSError as error:
        os.close(shm.fd)
        remove_segment(name)
        room = os.statvfs(SHM)
        raise RibcageError(
            "E_SHM_FULL",
            f"segment {name} needs {size >> 20} MiB, {SHM} has "
            f"{room.f_bavail * room.f_frsize >> 20} MiB left: {error.strerror}",
            hint="lower max-routes, or enlarge /dev/shm (docker: --shm-size)",
            exit_code=Exit.INTERNAL,
        ) from error


def _back(mapped: Mapped, huge: HugePages) -> None:
    most = 0 if huge is HugePages.NEVER else int(lib.SEGMENT_HUGE_MOST)
    units = ffi.new("uint32_t *")
    error = lib.segment_back(mapped.fd, mapped.address, mapped.size, most, units)
    if error != 0:
        raise OSError(-error, os.strerror(-error))
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
