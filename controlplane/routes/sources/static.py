"""Static routes: turns the plan's [[route]] rows into routes over the links there are now. Pure.

A row whose next hop cannot be had now is not an error of the file: it is listed as rejected
with its reason and tried again at every change of a link or an address.
"""

from collections.abc import Iterable

from ribcage.controlplane.routes.sources.contract import Inputs, Offer, Source
from ribcage.controlplane.values.parse import parse_prefix, resolve
from ribcage.controlplane.values.topology import Topology
from ribcage.controlplane.values.wanted import Rejected, Wanted
from ribcage.shared.errors import RibcageError
from ribcage.shared.plan import RoutePlan


def static_routes(
    routes: Iterable[RoutePlan], topology: Topology
) -> tuple[list[Wanted], list[Rejected]]:
    """What the plan wants and can have, and what it wants and cannot have now."""
    wanted: list[Wanted] = []
    rejected: list[Rejected] = []
    for route in routes:
        try:
            prefix = parse_prefix(route.dst)
            nexthops = resolve(topology, prefix, route.type, route.nexthops)
        except RibcageError as error:
            rejected.append(Rejected(route.dst, STATIC.number, error.code, error.message))
            continue
        wanted.append(Wanted(prefix, STATIC.number, nexthops, route.metric, route.distance))
    return wanted, rejected


def _offer(inputs: Inputs) -> Offer:
    return Offer(*static_routes(inputs.plan.routes, inputs.topology))


STATIC = Source(2, "static", distance=1, offer=_offer)
