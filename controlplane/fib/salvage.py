"""A routing table from a forwarding table: what is left when the RIB is lost and the FIB is not.

    saved = salvage(rib, fib, source=7, distance=254)      # rib: new and empty

Every route of the FIB becomes a candidate of one source, under the group number that the FIB has
it by; so no number is given out twice, and no lookup changes. What only the RIB knew is lost:
sources, metrics, runners-up, paths that were dead; weights are those that give the same buckets.
The caller sees to it that the sources announce theirs again and what becomes of the rest
(routes/recovered.py).

Nothing is published and no FIB word is written. Control only.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.publishing import CHANGES
from ribcage.controlplane.fib.segment.tables import FibTables
from ribcage.controlplane.rib.segment import Rib
from ribcage.controlplane.values.nexthop import (
    MAX_PATHS,
    MAX_WEIGHT,
    PATH_KINDS,
    NexthopSet,
    Path,
    apportion,
)
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib_records import Adjacency, Group
from ribcage.shared.memory.rows import new_rows

UNITS = 33  # the least weight of a set that is looked for


@dataclass(slots=True)
class Salvaged:
    """`lost`: routes of the FIB that the RIB could not take."""

    routes: int = 0
    sets: int = 0
    lost: int = 0


def salvage(rib: Rib, fib: FibTables, source: int, distance: int) -> Salvaged:
    """See the module's text. Never raises for what it finds: that is counted as lost."""
    saved = Salvaged()
    known = _sets(rib, fib, saved)
    how = ffi.new("struct row_assignment *", {"source": source, "distance": distance})
    identity = ffi.new("uint32_t[]", lib.FIB_MAX_GROUPS)
    for number in known:
        identity[number - 1] = number
    how.ids = [identity, identity]
    how.n_ids = [lib.FIB_MAX_GROUPS, lib.FIB_MAX_GROUPS]
    changes = new_rows(CHANGES)
    for rows, count in fib.writer.walk_rows():
        at = 0
        while at < count:
            good = int(lib.rows_assign(rows + at, count - at, how))
            saved.routes += _store(rib, rows + at, good, changes, saved)
            at += good
            if at < count:  # its group is not readable
                saved.lost += 1
                at += 1
    rib.published(rib.changed())  # the FIB has them: they came from there
    return saved


def _store(rib: Rib, rows: Any, count: int, changes: Any, saved: Salvaged) -> int:
    done = stored = 0
    while done < count:
        applied = rib.apply(rows + done, count - done, changes, CHANGES)
        done += applied.applied
        stored += applied.applied
        if applied.error:
            saved.lost += 1
            done += 1
    return stored


def _sets(rib: Rib, fib: FibTables, saved: Salvaged) -> set[int]:
    """Stores a set for each group, under the group's number; which numbers there are."""
    adjacencies = dict(fib.read_adjacencies())
    known = set()
    for number, group in fib.read_groups():
        nexthops = nexthops_of(group, adjacencies)
        if nexthops is None:
            continue
        try:
            rib.nexthop_put(number, nexthops)
        except (RibcageError, ValueError):
            continue
        known.add(number)
    saved.sets = len(known)
    return known


def nexthops_of(group: Group, adjacencies: Mapping[int, Adjacency]) -> NexthopSet | None:
    """The set that this group was made of, as far as it shows; None when it names nothing."""
    if group.kind not in PATH_KINDS:
        return NexthopSet(group.kind)
    shares: Counter[Any] = Counter()
    for bucket in group.buckets:
        adjacency = adjacencies.get(bucket)
        if adjacency is None:
            return None
        shares[adjacency.hop] += 1
    if not shares or len(shares) > MAX_PATHS:
        return None
    hops = sorted(shares, key=lambda hop: Path(hop).order())
    weights = weights_of([shares[hop] for hop in hops])
    paths = (Path(hop, weight) for hop, weight in zip(hops, weights, strict=True))
    return NexthopSet(group.kind, tuple(paths))


def weights_of(shares: Sequence[int]) -> list[int]:
    """The smallest weights that give each path its buckets; where none give just these, the
    nearest there are."""
    buckets, least = sum(shares), min(shares)
    for unit in range(1, UNITS):
        weights = [max(1, round(share * unit / least)) for share in shares]
        if max(weights) <= MAX_WEIGHT and apportion(weights, buckets) == list(shares):
            return weights
    scale = min(1.0, MAX_WEIGHT / max(shares))
    return [max(1, round(share * scale)) for share in shares]
