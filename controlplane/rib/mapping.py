"""The shared memory under the routing table: made once, taken over by every control process.

    memory = attach_rib("/ribcage.r1.rib", params)
    memory = create_rib("/ribcage.r1.rib.new", params)

The caller holds the control lock, so nobody else is making or mapping the object. What is not
exactly ours is refused with both sides shown, and not touched here.
"""

import mmap
import os
import stat
from dataclasses import dataclass
from typing import Any, Protocol

from ribcage.shared._core import ffi, lib

from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.identity import SegmentKind
from ribcage.shared.memory.segment import create_segment, open_segment, remove_segment
from ribcage.shared.refusals import refused


@dataclass(frozen=True, slots=True)
class RibParams:
    """Limits of a table, fixed when it is made. max_rows: candidates of all sources together;
    max_nodes: paths of all next-hop sets together. instance_id: of the router's start."""

    max_rows: int = 1_500_000
    max_nexthops: int = 32_768
    max_nodes: int = 65_536
    instance_id: int = 0


class Memory(Protocol):
    """Where a table lies: shared memory (Mapped of shared/memory/segment.py) or private."""

    @property
    def address(self) -> Any: ...
    @property
    def size(self) -> int: ...
    def close(self) -> None: ...


class PrivateMemory:
    """Any mmap as Memory: for tests and dry runs."""

    def __init__(self, area: mmap.mmap) -> None:
        self._area = area
        self.address: Any = ffi.from_buffer(area)
        self.size = len(area)

    def close(self) -> None:
        ffi.release(self.address)
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


def anonymous_rib(params: RibParams) -> PrivateMemory:
    """A formatted table in private memory."""
    packed = pack_params(params)
    memory = PrivateMemory(mmap.mmap(-1, lib.rib_segment_size(packed)))
    _format(memory, packed)
    return memory


def attach_rib(name: str, params: RibParams) -> Memory:
    """The segment that is there. E_ABSENT; E_INITIALISING, E_LAYOUT (another build), E_INSTANCE
    (another start of the router), E_OWNER (made by somebody else, or open to others)."""
    mapped = open_segment(name, SegmentKind.RIB, write=True)
    try:
        _check_owner(name, os.fstat(mapped.fd))
        found = ffi.cast("struct segment_identity *", mapped.address).instance_id
        if found != params.instance_id:
            raise RibcageError(
                "E_INSTANCE",
                f"{name} belongs to instance {found:#x}, this router is {params.instance_id:#x}",
                f"if no router uses it any more, remove /dev/shm{name}",
            )
    except BaseException:
        mapped.close()
        raise
    return mapped


def create_rib(name: str, params: RibParams) -> Memory:
    """An empty one in place of a half-made one. E_LIMIT, E_SHM_FULL."""
    packed = pack_params(params)
    remove_segment(name)
    mapped = create_segment(name, lib.rib_segment_size(packed))
    try:
        _format(mapped, packed)
    except BaseException:
        mapped.close()
        remove_segment(name)
        raise
    return mapped


def _format(memory: Memory, packed: Any) -> None:
    error = lib.rib_create(memory.address, memory.size, packed)
    if error != 0:
        raise refused("rib_create", error)


def _check_owner(name: str, info: os.stat_result) -> None:
    if info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o077:
        raise RibcageError(
            "E_OWNER",
            f"{name} belongs to uid {info.st_uid} with mode {stat.S_IMODE(info.st_mode):04o}; "
            f"a routing table of uid {os.geteuid()} has mode 0600",
            f"remove /dev/shm{name} if it is not in use",
        )


def _bad_limits(params: RibParams) -> RibcageError:
    return RibcageError(
        "E_LIMIT",
        f"a table of {params.max_rows} routes, {params.max_nexthops} next-hop sets and "
        f"{params.max_nodes} paths cannot be made; the limits are {lib.RIB_MAX_ROWS}, "
        f"{lib.RIB_MAX_NEXTHOPS} and {lib.RIB_MAX_NEXTHOPS * lib.RIB_MAX_PATHS}",
        exit_code=Exit.CONFIG,
    )
