"""Routes that a source asks for: those it can have, and those it cannot have now. Values.

`source` is the number of a source in routes/sources/table.py.
"""

from dataclasses import dataclass

from ribcage.controlplane.values.nexthop import NexthopSet
from ribcage.shared.addresses import Network
from ribcage.shared.memory.rows import Row


@dataclass(frozen=True, slots=True)
class Wanted:
    """One route a source wants in the RIB."""

    prefix: Network
    source: int
    nexthops: NexthopSet
    metric: int = 0
    distance: int = 1

    def row(self, nexthop: int) -> Row:
        """The row that asks for it; `nexthop` is the number of its set, 0 withdraws it."""
        return Row(self.prefix, nexthop, self.source, self.distance, self.metric)


@dataclass(frozen=True, slots=True)
class Rejected:
    """One route a source asked for and cannot have now; asked again when a link changes."""

    prefix: str
    source: int
    code: str
    reason: str
