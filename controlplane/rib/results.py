"""What the methods of class Rib return: plain values, named like the C structs they copy."""

from dataclasses import dataclass

from ribcage.shared._core import lib

from ribcage.shared.errors import RibcageError
from ribcage.shared.refusals import refused


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


def rib_refusal(error: int, prefix: object) -> RibcageError:
    """What rib_apply's or rib_check's errno about the row of this prefix means."""
    return refused("rib_apply", error, prefix=prefix, candidates=lib.RIB_MAX_CANDIDATES)
