"""What the calls of class Rib answer: plain values, see the C structs of the same names."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slice:
    """One step of work over many rows. Go on with `slot` while `more`."""

    changes: int
    more: bool
    slot: int = 0


@dataclass(frozen=True, slots=True)
class RibRecovery:
    """What taking the table over found and did; see struct rib_recovery. nanoseconds: of that."""

    created: bool
    rows: int
    nexthops: int
    pending: int
    everything: bool
    reselect: bool
    repaired: int
    reclaimed: int
    nanoseconds: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Totals. Pairs are (IPv4, IPv6); source, stale and generation are indexed by source."""

    rows: int
    max_rows: int
    routes: tuple[int, int]
    selected: tuple[int, int]
    source: tuple[int, ...]
    source6: tuple[int, ...]
    stale: tuple[int, ...]
    generation: tuple[int, ...]
    nexthops: int
    max_nexthops: int
    nodes: int
    max_nodes: int
    changed: int
    published: int
    segment_bytes: int
    private_bytes: int
