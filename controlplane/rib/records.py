"""What goes into the routing table and comes out, as values, and their C form.

    rows, n = pack_rows([Row("10.0.0.0/8", nexthop=3, source=2, distance=1)])
    unpack_row(rows[0])     unpack_route(route)     pack_key("10.0.0.0/8")

For requests and listings: bulk sources fill `struct route_row[]` themselves and never make an
object per route. Pure; any process may import it, only control has a use for it.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.shared.errors import Exit, RibcageError

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
ADDRESS_BYTES = {4: 4, 6: 16}


@dataclass(frozen=True, slots=True)
class Row:
    """A candidate to apply, or a change the table reports. nexthop 0: withdrawn, none left."""

    prefix: str
    nexthop: int = 0
    source: int = 1
    distance: int = 0
    metric: int = 0
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """A candidate in the table. `since`: CLOCK_MONOTONIC seconds of its last change."""

    prefix: str
    nexthop: int
    source: int
    distance: int
    metric: int
    selected: bool
    stale: bool
    dead: bool
    generation: int
    since: int


@dataclass(frozen=True, slots=True)
class Path:
    """One way out. address None: on-link, the destination itself is the next hop; port None:
    the gateway is found through the table."""

    address: str | None = None
    port: int | None = None
    weight: int = 1


@dataclass(frozen=True, slots=True)
class NexthopSet:
    """What a row's `nexthop` number stands for. kind: lib.FIB_KIND_*; at most 32 paths."""

    kind: int
    paths: tuple[Path, ...] = ()
    dead: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """Which candidates a listing wants; the default is all."""

    family: int = 0
    source: int = 0
    selected: bool = False
    stale: bool = False
    within: str | None = None


def bad_prefix(text: str, why: str, hint: str | None = None) -> RibcageError:
    return RibcageError(
        "E_PREFIX",
        f"{text[:64]!r} is not a prefix: {why}",
        hint or 'write an address and a length, like "192.0.2.0/24"',
        Exit.USAGE,
    )


def pack_prefix(target: Any, text: str) -> None:
    """Fills prefix, length and family of a C row; E_PREFIX for anything but address/length."""
    address, _, length = text.partition("/")
    if not (length.isascii() and length.isdecimal() and len(length) <= 3):
        raise bad_prefix(text, "no decimal length behind a slash")
    try:
        network = ip_network(text, strict=False)
        packed, family = pack_address(address)
    except ValueError as error:
        raise bad_prefix(text, str(error)[:120]) from None
    if network.network_address.packed.ljust(16, b"\0") != packed:
        raise bad_prefix(text, "bits are set below its length", f"did you mean {network}?")
    ffi.memmove(target.prefix, packed, 16)
    target.length = network.prefixlen
    target.family = family


def unpack_prefix(row: Any) -> str:
    family = int(row.family)
    packed = bytes(ffi.buffer(row.prefix, ADDRESS_BYTES[family]))
    return f"{socket.inet_ntop(FAMILIES[family], packed)}/{row.length}"


def pack_key(prefix: str) -> Any:
    """A `struct route_row *` that names a prefix."""
    key = ffi.new("struct route_row *")
    pack_prefix(key, prefix)
    return key


def pack_rows(rows: Sequence[Row]) -> tuple[Any, int]:
    """A `struct route_row[]` and its length."""
    array = ffi.new("struct route_row[]", max(1, len(rows)))
    for target, row in zip(array, rows, strict=False):
        pack_prefix(target, row.prefix)
        target.source = row.source
        target.distance = row.distance
        target.metric = row.metric
        target.nexthop = row.nexthop
        target.flags = row.flags
    return array, len(rows)


def unpack_row(row: Any) -> Row:
    return Row(unpack_prefix(row), row.nexthop, row.source, row.distance, row.metric, row.flags)


def unpack_route(route: Any) -> Route:
    """From a `struct rib_route`."""
    row = route.row
    return Route(
        unpack_prefix(row),
        row.nexthop,
        row.source,
        row.distance,
        row.metric,
        bool(row.flags & lib.ROW_SELECTED),
        bool(row.flags & lib.ROW_STALE),
        bool(row.flags & lib.ROW_DEAD),
        route.generation,
        route.since,
    )


def pack_filter(wanted: Filter) -> Any:
    """A `struct rib_filter *`; E_PREFIX for a bad `within`, which also sets the family."""
    target = ffi.new("struct rib_filter *")
    target.family = wanted.family
    target.source = wanted.source
    target.selected = wanted.selected
    target.stale = wanted.stale
    if wanted.within is not None:
        pack_prefix(target, wanted.within)
        target.within = 1
    return target


def pack_address(text: str) -> tuple[bytes, int]:
    """16 bytes and the family; ValueError for anything but an address."""
    family = 6 if ":" in text else 4
    try:
        packed = socket.inet_pton(FAMILIES[family], text)
    except OSError as error:
        raise ValueError(f"{text[:64]!r} is not an address") from error
    return packed.ljust(16, b"\0"), family


def pack_nexthops(nexthops: NexthopSet, identity: int = 0) -> Any:
    """A `struct rib_nexthops *`; ValueError: too many paths, a bad address, port or weight."""
    if len(nexthops.paths) > lib.RIB_MAX_PATHS:
        raise ValueError(f"{len(nexthops.paths)} paths, at most {lib.RIB_MAX_PATHS}")
    target = ffi.new("struct rib_nexthops *")
    target.id = identity
    target.kind = nexthops.kind
    target.paths = len(nexthops.paths)
    for slot, path in zip(target.path, nexthops.paths, strict=False):
        if path.address is not None:
            packed, slot.family = pack_address(path.address)
            ffi.memmove(slot.address, packed, 16)
        if not 0 < path.weight < 0x10000:
            raise ValueError(f"weight {path.weight} is outside 1..65535")
        if path.port is not None and not 0 <= path.port < lib.FIB_MAX_PORTS:
            raise ValueError(f"port {path.port} is outside 0..{lib.FIB_MAX_PORTS - 1}")
        slot.port = lib.RIB_ANY_PORT if path.port is None else path.port
        slot.weight = path.weight
    return target


def unpack_nexthops(stored: Any) -> NexthopSet:
    paths = []
    for i in range(stored.paths):
        path = stored.path[i]
        address = None
        if path.family:
            packed = bytes(ffi.buffer(path.address, ADDRESS_BYTES[path.family]))
            address = socket.inet_ntop(FAMILIES[path.family], packed)
        port = None if path.port == lib.RIB_ANY_PORT else path.port
        paths.append(Path(address, port, path.weight))
    return NexthopSet(stored.kind, tuple(paths), bool(stored.dead))
