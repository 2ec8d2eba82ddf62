"""The routing table as a file's bytes, and back: for a reboot, which no segment survives.

    taken = take(rib, sets, ports, "r1", sources)  # a copy of the rows, in one go
    file.writelines(pack(taken).pieces)            # head, meta, rows
    found = read(bytearray(data), "r1")            # E_CHECKPOINT: not ours, not whole

    0        64            64 + meta             64 + meta + rows x 32
    +--------+-------------+---------------------+
    | head   | meta (JSON) | struct route_row[]  |
    +--------+-------------+---------------------+
    head: magic, major, minor, bytes a row, rows, bytes of meta, CRC-32 of meta, of rows, of head

meta: {"instance", "written" (seconds since 1970), "ports" {index: name}, "sets" [[id, kind,
[[gateway or null, port, weight], ...]], ...]}. Numbers of ports and sets mean something only with
these two lists. Sets come most used first. Unknown keys of meta are skipped, another major number
or size of a row is refused. Every byte may be hostile: counts are checked against the length, rows
by rows_renumber (csrc/rows/assign.h) before they are used.

Pure but for the clock; no file is opened here. Control only.
"""

import json
import struct
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.rib.segment import Rib
from ribcage.controlplane.values.nexthop import NexthopSet, Path
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib_records import FibKind, Hop
from ribcage.shared.memory.rows import ROW_BYTES, new_rows

MAGIC = b"RIBCKPT\n"
MAJOR, MINOR = 1, 0
HEAD = struct.Struct("<8sHHIQQIII")  # the last number is the CRC of what stands before it
HEAD_BYTES = 64
MAX_META = 32 << 20
SLOTS = 1 << 22  # row slots copied by one call


@dataclass(frozen=True, slots=True)
class TableCopy:
    """A copy of a table; `ports`: index -> name."""

    instance: str
    rows: Any
    count: int
    sets: Mapping[int, NexthopSet]
    ports: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Packed:
    """A table as it is to be written; `crc` is another one when anything but the time is."""

    pieces: tuple[bytes, bytes, Any]
    crc: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A table that was read. `rows` points into the bytes, which it keeps."""

    data: bytearray
    rows: Any
    count: int
    written: float
    ports: Mapping[int, str]
    sets: tuple[tuple[int, NexthopSet], ...]


def take(
    rib: Rib,
    sets: Mapping[int, NexthopSet],
    ports: Mapping[str, int],
    instance: str,
    sources: Iterable[int],
) -> TableCopy:
    """The rows of these sources as they are now. `sets` and `ports` are copied, too."""
    chosen = list(sources)
    room = sum(rib.counts().source[number] for number in chosen)
    rows = new_rows(max(1, room))
    count = rib.export(rows, room, chosen, SLOTS)
    names = {index: name for name, index in ports.items()}
    return TableCopy(instance, rows, count, dict(sets), names)


def pack(taken: TableCopy) -> Packed:
    """Its bytes. Looks at nothing but the copy: a thread may do it."""
    used = _most_used(taken.rows, taken.count)
    kept = [(number, taken.sets[number]) for number in used if number in taken.sets]
    ports = sorted({hop.port for _, one in kept for hop in one.hops()})
    body = {
        "instance": taken.instance,
        "ports": {str(index): taken.ports.get(index, f"port{index}") for index in ports},
        "sets": [[number, int(one.kind), _paths(one)] for number, one in kept],
    }
    same = json.dumps(body, separators=(",", ":")).encode()
    meta = json.dumps({**body, "written": time.time()}, separators=(",", ":")).encode()
    buffer = ffi.buffer(taken.rows, taken.count * ROW_BYTES)
    crc = zlib.crc32(buffer)
    numbers = (ROW_BYTES, taken.count, len(meta), zlib.crc32(meta), crc, 0)
    head = HEAD.pack(MAGIC, MAJOR, MINOR, *numbers)[:-4]
    head += struct.pack("<I", zlib.crc32(head))
    return Packed((head.ljust(HEAD_BYTES, b"\0"), meta, buffer), zlib.crc32(same, crc))


def _most_used(rows: Any, count: int) -> list[int]:
    """Numbers of next-hop sets in these rows, the most used first."""
    most: int = lib.RIB_MAX_NEXTHOPS
    how, usage = ffi.new("struct row_assignment *"), ffi.new("struct row_usage *")
    how.n_ids = [most, most]
    counted = ffi.new("uint32_t[]", most)
    usage.ids = [counted, counted]
    lib.rows_usage(rows, count, how, usage)
    found = [i for i in range(most) if counted[i]]
    return [i + 1 for i in sorted(found, key=lambda i: -counted[i])]


def _paths(nexthops: NexthopSet) -> list[list[Any]]:
    return [
        [None if path.hop.gateway is None else str(path.hop.gateway), path.hop.port, path.weight]
        for path in nexthops.paths
    ]


def read(data: bytearray, instance: str) -> Checkpoint:
    """E_CHECKPOINT for bytes that are not a whole checkpoint of this router and build."""
    if len(data) < HEAD_BYTES or not data.startswith(MAGIC):
        raise _not_ours("is no checkpoint of a routing table")
    _, major, minor, row, count, size, meta_crc, rows_crc, crc = HEAD.unpack_from(data)
    if zlib.crc32(data[: HEAD.size - 4]) != crc:
        raise _not_ours("is damaged: the head's checksum does not fit")
    if major != MAJOR or row != ROW_BYTES:
        raise _not_ours(f"has version {major}.{minor} with rows of {row} bytes, this build reads "
                        f"{MAJOR}.{MINOR} with {ROW_BYTES}")  # fmt: skip
    at = HEAD_BYTES + size
    if size > MAX_META or len(data) != at + count * ROW_BYTES:
        raise _not_ours(f"is damaged: {len(data)} bytes, {at + count * ROW_BYTES} expected")
    view = memoryview(data)
    if zlib.crc32(view[HEAD_BYTES:at]) != meta_crc or zlib.crc32(view[at:]) != rows_crc:
        raise _not_ours("is damaged: a checksum does not fit")
    try:
        meta = json.loads(bytes(view[HEAD_BYTES:at]))
        found = str(meta["instance"])
        ports = {int(index): str(name) for index, name in meta["ports"].items()}
        sets = tuple((int(number), _set(kind, paths)) for number, kind, paths in meta["sets"])
        written = float(meta["written"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _not_ours(f"says nothing sensible: {error}"[:200]) from None
    if found != instance:
        raise _not_ours(f'is of router "{found[:40]}", this one is "{instance}"')
    rows = ffi.cast("struct route_row *", ffi.from_buffer(data) + at)
    return Checkpoint(data, rows, count, written, ports, sets)


def _set(kind: int, paths: list[Any]) -> NexthopSet:
    made = [
        Path(Hop(int(port), None if gateway is None else ip_address(str(gateway))), int(weight))
        for gateway, port, weight in paths
    ]
    return NexthopSet(FibKind(kind), tuple(sorted(made, key=Path.order)))


def _not_ours(why: str) -> RibcageError:
    return RibcageError("E_CHECKPOINT", f"the checkpoint {why}")
