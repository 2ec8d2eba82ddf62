"""Next-hop sets, and how one becomes a FIB group: pure functions over values.

A *set* is what routes share: a kind and its weighted paths. Equal sets are one object with one
id, used as the id of the FIB group, so a change of a path touches one group and never the
routes behind it. A *hop* (port, gateway) is what an adjacency is made for.

    plan   = group_plan(nexthops, alive, previous)   # which hop each bucket names
    counts = apportion(weights, 64)                  # Webster's method, at least one each

Buckets are filled by weight and keep their place: when a path goes only its own buckets move,
when it comes back it takes just its share. Webster's method is what makes the first half true:
a divisor method never takes a seat from one claimant because another left (Balinski and Young,
Fair Representation, 1982); rounding by largest remainder does.

Nothing here reads a clock, a segment or a socket; any process may import it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace

from ribcage.shared._core import lib

from ribcage.shared.addresses import Address
from ribcage.shared.memory.fib_records import FibKind, Group, Hop

# The words users see (`type` of a route) and the kinds they name.
KINDS: Mapping[str, FibKind] = {kind.label: kind for kind in FibKind if kind is not FibKind.NONE}
PATH_KINDS = frozenset((FibKind.FORWARD, FibKind.GLEAN))

MAX_PATHS = 32
MAX_WEIGHT = 255
MIN_BUCKETS = 64
MAX_BUCKETS: int = lib.FIB_MAX_BUCKETS


@dataclass(frozen=True, slots=True)
class Path:
    """One weighted way out: a hop and its share, 1..MAX_WEIGHT."""

    hop: Hop
    weight: int = 1

    def order(self) -> tuple[int, int, bytes]:
        """What paths of a set are sorted by: port, family, address."""
        gateway = self.hop.gateway
        if gateway is None:
            return (self.hop.port, 0, b"")
        return (self.hop.port, gateway.version, gateway.packed)


@dataclass(frozen=True, slots=True)
class NexthopSet:
    """A kind and its paths in canonical order; make one with `nexthop_set`."""

    kind: FibKind
    paths: tuple[Path, ...] = ()

    def hops(self) -> tuple[Hop, ...]:
        return tuple(path.hop for path in self.paths)


RECEIVE = NexthopSet(FibKind.RECEIVE)
BROADCAST = NexthopSet(FibKind.BROADCAST)
BLACKHOLE = NexthopSet(FibKind.BLACKHOLE)
UNREACHABLE = NexthopSet(FibKind.UNREACHABLE)
PROHIBIT = NexthopSet(FibKind.PROHIBIT)


def glean(port: int) -> NexthopSet:
    """The set of a connected network: on this port, the destination is the next hop."""
    return NexthopSet(FibKind.GLEAN, (Path(Hop(port)),))


def host(port: int, address: Address) -> NexthopSet:
    """The set of one resolved on-link host."""
    return NexthopSet(FibKind.FORWARD, (Path(Hop(port, address)),))


def nexthop_set(paths: Collection[Path]) -> NexthopSet:
    """A FORWARD set in canonical order, so that equal content is an equal value.

    ValueError: none or more than MAX_PATHS paths, a weight out of range, a hop named twice.
    """
    if not 1 <= len(paths) <= MAX_PATHS:
        raise ValueError(f"{len(paths)} next hops, allowed are 1 to {MAX_PATHS}")
    if any(not 1 <= path.weight <= MAX_WEIGHT for path in paths):
        raise ValueError(f"a weight is outside 1..{MAX_WEIGHT}")
    if len({path.hop for path in paths}) != len(paths):
        raise ValueError("a next hop is listed twice; give it a weight instead")
    return NexthopSet(FibKind.FORWARD, tuple(sorted(paths, key=Path.order)))


def bucket_count(nexthops: NexthopSet) -> int:
    """Buckets of the set's group: a power of two that depends on the set alone.

    It does not depend on which paths live: a changed count would move every flow.
    """
    if len(nexthops.paths) <= 1:
        return 1
    wanted = max(sum(path.weight for path in nexthops.paths), 8 * len(nexthops.paths))
    buckets = MIN_BUCKETS
    while buckets < wanted and buckets < MAX_BUCKETS:
        buckets *= 2
    return buckets


def seat_order(weights: Sequence[int], seats: int) -> list[int]:
    """Whose turn each seat is, by Webster's method after one seat each; indices of `weights`.

    Every prefix of the answer is itself proportional, so neighbouring buckets differ.
    """
    order = sorted(range(len(weights)), key=lambda i: (-weights[i], i))[:seats]
    heap = [(-weights[i] / 3, i, 1) for i in order]
    heapify(heap)
    while len(order) < seats:
        _, i, taken = heap[0]
        order.append(i)
        heapreplace(heap, (-weights[i] / (2 * taken + 3), i, taken + 1))
    return order


def apportion(weights: Sequence[int], seats: int) -> list[int]:
    """Seats by weight, at least one each when there are enough; sums to `seats`."""
    order = seat_order(weights, seats) if weights else []
    return [order.count(i) for i in range(len(weights))]


def fill(order: Sequence[int], previous: Sequence[int]) -> tuple[int, ...]:
    """Buckets holding exactly what `order` holds, moving as few of `previous` as possible.

    Entries are adjacency ids. `previous` of another length is ignored.
    """
    if len(previous) != len(order):
        return tuple(order)
    missing: dict[int, int] = {}
    for entry in order:
        missing[entry] = missing.get(entry, 0) + 1
    kept: list[int | None] = []
    for entry in previous:
        stays = missing.get(entry, 0) > 0
        if stays:
            missing[entry] -= 1
        kept.append(entry if stays else None)
    # The newcomers, in the order of their turns, so that they too are spread.
    arrivals: list[int] = []
    for entry in reversed(order):
        if missing[entry] > 0:
            missing[entry] -= 1
            arrivals.append(entry)
    return tuple(arrivals.pop() if entry is None else entry for entry in kept)


NOWHERE = Group(FibKind.UNREACHABLE)


def living(nexthops: NexthopSet, alive: Callable[[Hop], bool]) -> list[Path]:
    """The paths that can carry a packet now."""
    return [path for path in nexthops.paths if alive(path.hop)]


def eligible(nexthops: NexthopSet, alive: Callable[[Hop], bool]) -> bool:
    """Whether routes with this set may be best: it needs no path, or has a living one."""
    return nexthops.kind not in PATH_KINDS or bool(living(nexthops, alive))


def group_plan(
    nexthops: NexthopSet,
    alive: Callable[[Hop], bool],
    adjacency: Callable[[Hop], int],
    previous: Sequence[int] = (),
) -> Group:
    """The group of a set: its kind, and the living paths' adjacencies spread over buckets.

    With every path dead the answer is NOWHERE: one word store stops all routes behind the
    group with an ICMP error, before the runner-ups are looked for.
    """
    if nexthops.kind not in PATH_KINDS:
        return Group(nexthops.kind)
    paths = living(nexthops, alive)
    if not paths:
        return NOWHERE
    ids = [adjacency(path.hop) for path in paths]
    turns = seat_order([path.weight for path in paths], bucket_count(nexthops))
    return Group(nexthops.kind, fill([ids[i] for i in turns], previous))
