"""What the routing table keeps beside rows, as values, and their C form.

    unpack_route(found)     pack_filter(Filter(source=2))     pack_nexthops(NexthopSet(...))

For requests and listings: bulk sources fill `struct route_row[]` themselves and never make an
object per route. Pure; any process may import it, only control has a use for it.
"""

from dataclasses import dataclass
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.values.nexthop import NexthopSet, Path
from ribcage.shared.addresses import Network
from ribcage.shared.memory.fib_records import FibKind, Hop
from ribcage.shared.memory.fields import prefix_of, read_address, set_address, set_prefix


@dataclass(frozen=True, slots=True)
class Route:
    """A candidate in the table. `since`: CLOCK_MONOTONIC seconds of its last change."""

    prefix: Network
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
class Filter:
    """Which candidates a listing wants; the default is all."""

    family: int = 0
    source: int = 0
    selected: bool = False
    stale: bool = False
    within: Network | None = None


def unpack_route(route: Any) -> Route:
    """From a `struct rib_route`."""
    row = route.row
    return Route(
        prefix_of(row),
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
    """A `struct rib_filter *`; `within` also sets the family."""
    target = ffi.new("struct rib_filter *")
    target.family = wanted.family
    target.source = wanted.source
    target.selected = wanted.selected
    target.stale = wanted.stale
    if wanted.within is not None:
        set_prefix(target, wanted.within)
        target.within = 1
    return target


def pack_nexthops(nexthops: NexthopSet, identity: int = 0) -> Any:
    """A `struct rib_nexthops *`; ValueError: too many paths, a port or weight out of range."""
    if len(nexthops.paths) > lib.RIB_MAX_PATHS:
        raise ValueError(f"{len(nexthops.paths)} paths, at most {lib.RIB_MAX_PATHS}")
    target = ffi.new("struct rib_nexthops *")
    target.id = identity
    target.kind = nexthops.kind
    target.paths = len(nexthops.paths)
    for slot, path in zip(target.path, nexthops.paths, strict=False):
        port, gateway = path.hop.port, path.hop.gateway
        if gateway is not None:
            slot.family = set_address(slot.address, gateway)
        if not 0 < path.weight < 0x10000:
            raise ValueError(f"weight {path.weight} is outside 1..65535")
        if not 0 <= port < lib.FIB_MAX_PORTS:
            raise ValueError(f"port {port} is outside 0..{lib.FIB_MAX_PORTS - 1}")
        slot.port, slot.weight = port, path.weight
    return target


def unpack_nexthops(stored: Any) -> NexthopSet:
    """From a `struct rib_nexthops`, its paths in the canonical order of a NexthopSet."""
    slots = (stored.path[i] for i in range(stored.paths))
    paths = (
        Path(Hop(slot.port, read_address(slot.address, slot.family)), slot.weight) for slot in slots
    )
    return NexthopSet(FibKind(stored.kind), tuple(sorted(paths, key=Path.order)))
