"""What a source of routes is, and what it may look at.

    CONNECTED = Source(1, "connected", distance=0, offer=connected_offer)

A source is a value with a pure function: `offer(inputs)` says which routes it wants now. It never
says "delete": what was wanted before and no longer is goes by mark and sweep (source_sync.py). A
source without `offer` announces its routes one by one, as somebody asks for them.

A new source is one file here and one line in table.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ribcage.controlplane.values.neighbour import Neighbour
from ribcage.controlplane.values.topology import Topology
from ribcage.controlplane.values.wanted import Rejected, Wanted
from ribcage.shared.memory.fib_records import Hop
from ribcage.shared.plan import Plan


@dataclass(slots=True)
class Inputs:
    """What routes are made from, as it is now. `hosts`: neighbours that have a host route."""

    plan: Plan
    topology: Topology = field(default_factory=Topology)
    neighbours: dict[Hop, Neighbour] = field(default_factory=dict)
    hosts: set[Hop] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Offer:
    """`left_out`: wanted, but more than the limit allows."""

    wanted: Sequence[Wanted]
    rejected: Sequence[Rejected] = ()
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """`number` stands in the RIB segment: 1 to 15, never given to another source.

    `distance`: administrative distance, lower wins; of equal ones the lower metric, then the
    lower number. `popular`: False when each route has a next hop of its own, which then needs no
    small number. `announcing` is called before the first slice of what is wanted, and `still` is
    asked again about each route when its turn has come.
    """

    number: int
    name: str
    distance: int = 1
    offer: Callable[[Inputs], Offer] | None = None
    popular: bool = True
    announcing: Callable[[Inputs, Sequence[Wanted]], None] = lambda inputs, wanted: None
    still: Callable[[Inputs, Wanted], bool] = lambda inputs, route: True
