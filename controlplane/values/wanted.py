"""Routes that a source asks for: those it can have, and those it cannot have now. Values.

`source` is the number of a source in routes/sources/table.py.
"""

from dataclasses import dataclass

from ribcage.controlplane.values.nexthop import NexthopSet
from ribcage.controlplane.values.topology import Network


@dataclass(frozen=True, slots=True)
class Wanted:
    """One route a source wants in the RIB."""

    prefix: Network
    source: int
    nexthops: NexthopSet
    metric: int = 0
    distance: int = 1


@dataclass(frozen=True, slots=True)
class Rejected:
    """One route a source asked for and cannot have now; asked again when a link changes."""

    prefix: str
    source: int
    code: str
    reason: str
