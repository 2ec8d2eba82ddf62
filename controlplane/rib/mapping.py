"""The shared memory under the routing table: made once, taken over by every control process.

    memory, created = map_rib("/ribcage.r1.rib", params)

The caller holds the control lock, so nobody else is making or mapping the object. A half-made
one (its maker died before the magic) is made anew; anything else that is not exactly ours is
refused with both sides shown, never touched.
"""

import mmap
import os
import stat
from dataclasses import dataclass
from typing import Any

import posix_ipc
from ribcage.shared._core import ffi, lib
from ribcage.shared.errors import Exit, RibcageError


@dataclass(frozen=True, slots=True)
class RibParams:
    """Limits of a table, fixed when it is made. max_rows: candidates of all sources together;
    max_nodes: paths of all next-hop sets together. instance_id: of the router's start."""

    max_rows: int = 1_500_000
    max_nexthops: int = 32_768
    max_nodes: int = 65_536
    instance_id: int = 0


class Memory:
    """A mapping and its C address. `close` once nothing uses `base` any more."""

    def __init__(self, area: mmap.mmap) -> None:
        self._area = area
        self.base: Any = ffi.from_buffer(area)
        self.size = len(area)

    def close(self) -> None:
        ffi.release(self.base)
        self._area.close()


def pack_params(params: RibParams) -> Any:
    """A `struct rib_params *` with a fresh seed; E_LIMIT when a number is out of range."""
    target = ffi.new("struct rib_params *")
    try:
        target.max_rows = params.max_rows
        target.max_nexthops = params.max_nexthops
        target.max_nodes = params.max_nodes
        target.instance_id = params.instance_id
        target.seed = int.from_bytes(os.urandom(8), "little")
    except OverflowError as error:
        raise _bad_limits(params) from error
    if lib.rib_segment_size(target) == 0:
        raise _bad_limits(params)
    return target


def anonymous_rib(params: RibParams) -> Memory:
    """A formatted table in private memory: for tests and dry runs."""
    packed = pack_params(params)
    memory = Memory(mmap.mmap(-1, lib.rib_segment_size(packed)))
    _format(memory, packed)
    return memory


def map_rib(name: str, params: RibParams) -> tuple[Memory, bool]:
    """The segment `name`, and whether it was made just now.

    E_LAYOUT (another build), E_INSTANCE (another start of the router), E_OWNER (made by
    somebody else, or open to others), E_SHM_FULL; all but the last exit 7.
    """
    while True:
        try:
            return _attach(name, params), False
        except posix_ipc.ExistentialError:
            pass
        try:
            return _create(name, params), True
        except posix_ipc.ExistentialError:  # made in between: look at what it is
            continue


def _create(name: str, params: RibParams) -> Memory:
    packed = pack_params(params)
    size = lib.rib_segment_size(packed)
    # O_CREX and 0600 from the first moment; close-on-exec is what shm_open always sets.
    shared = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=0o600)
    try:
        # Now or never: a full /dev/shm must fail here, not by SIGBUS at the n-th route.
        os.posix_fallocate(shared.fd, 0, size)
        memory = Memory(mmap.mmap(shared.fd, size))
        _format(memory, packed)
    except OSError as error:
        shared.unlink()
        raise _no_room(name, size, error) from error
    finally:
        shared.close_fd()
    return memory


def _attach(name: str, params: RibParams) -> Memory:
    shared = posix_ipc.SharedMemory(name)
    try:
        _check_owner(name, os.fstat(shared.fd))
        if shared.size < ffi.sizeof("struct segment_identity"):
            posix_ipc.unlink_shared_memory(name)
            raise posix_ipc.ExistentialError(name)
        memory = Memory(mmap.mmap(shared.fd, shared.size))
    finally:
        shared.close_fd()
    try:
        state = lib.segment_check(memory.base, memory.size, lib.SEGMENT_RIB)
        if state == lib.SEGMENT_INITIALISING:
            posix_ipc.unlink_shared_memory(name)
            raise posix_ipc.ExistentialError(name)
        if state != lib.SEGMENT_READY:
            raise _foreign(name, memory)
        found = ffi.cast("struct segment_identity *", memory.base).instance_id
        if found != params.instance_id:
            raise RibcageError(
                "E_INSTANCE",
                f"{name} belongs to instance {found:#018x}, this router is "
                f"{params.instance_id:#018x}",
                f"if no router uses it any more, remove /dev/shm{name}",
            )
    except BaseException:
        memory.close()
        raise
    return memory


def _format(memory: Memory, packed: Any) -> None:
    error = lib.rib_create(memory.base, memory.size, packed)
    if error != 0:
        raise RibcageError("E_INTERNAL", f"rib_create: {os.strerror(-error)}")


def _check_owner(name: str, info: os.stat_result) -> None:
    if info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o077:
        raise RibcageError(
            "E_OWNER",
            f"{name} belongs to uid {info.st_uid} with mode {stat.S_IMODE(info.st_mode):04o}; "
            f"a routing table of uid {os.geteuid()} has mode 0600",
            f"remove /dev/shm{name} if it is not in use",
        )


def _foreign(name: str, memory: Memory) -> RibcageError:
    theirs = ffi.cast("struct segment_identity *", memory.base)
    ours = ffi.new("struct segment_expect *")
    lib.segment_expected(lib.SEGMENT_RIB, ours)
    return RibcageError(
        "E_LAYOUT",
        f"{name} has kind {theirs.kind}, version {theirs.major}.{theirs.minor}, layout "
        f"{theirs.layout_id:#018x} and {theirs.segment_size} bytes (mapped {memory.size}); this "
        f"build has kind {ours.kind}, version {ours.major}.{ours.minor}, layout "
        f"{ours.layout_id:#018x}",
        "stop the router with the build that started it, then start this one",
    )


def _no_room(name: str, size: int, error: OSError) -> RibcageError:
    free = os.statvfs("/dev/shm")
    return RibcageError(
        "E_SHM_FULL",
        f"{name} needs {size >> 20} MiB of shared memory, /dev/shm has "
        f"{free.f_bavail * free.f_frsize >> 20} MiB free ({error.strerror})",
        "lower fib.max_routes4 and fib.max_routes6, or make /dev/shm larger",
        Exit.PRIVILEGE,
    )


def _bad_limits(params: RibParams) -> RibcageError:
    return RibcageError(
        "E_LIMIT",
        f"a table of {params.max_rows} routes, {params.max_nexthops} next-hop sets and "
        f"{params.max_nodes} paths cannot be made; the limits are {lib.RIB_MAX_ROWS}, "
        f"{lib.RIB_MAX_NEXTHOPS} and {lib.RIB_MAX_NEXTHOPS * lib.RIB_MAX_PATHS}",
        exit_code=Exit.CONFIG,
    )
