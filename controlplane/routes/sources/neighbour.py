"""Host routes for resolved neighbours, so that one lookup finds the MAC address. Pure.

A neighbour the kernel has resolved on a connected network becomes a /32 or /128 whose group
names its adjacency; without it the packet falls to the network's glean route and is held
until the answer comes. At most `limit` hosts get one (plan.neighbours.max), the ones in use
longest first: the others keep working through glean.

The table is what the kernel said; a station on the link can claim any address, so only unicast
addresses inside a connected network of that very port count, and never an own one.
"""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, ip_network

from ribcage.controlplane.routes.sources.contract import Inputs, Offer, Source
from ribcage.controlplane.values.neighbour import Neighbour
from ribcage.controlplane.values.nexthop import host
from ribcage.controlplane.values.topology import Topology
from ribcage.controlplane.values.wanted import Wanted
from ribcage.shared.addresses import Address, Network
from ribcage.shared.memory.fib_records import Hop


def is_host(topology: Topology, hop: Hop) -> bool:
    """Whether this neighbour may have a host route."""
    port, address = topology.ports.get(hop.port), hop.gateway
    if port is None or address is None or port.host:
        return False
    if address.is_multicast or address.is_link_local or address.is_unspecified:
        return False
    own = port.covers(address)
    if own is None or topology.owner(address) is not None:
        return False
    return not _is_broadcast(address, own.network)


def _is_broadcast(address: Address, network: Network) -> bool:
    if not isinstance(network, IPv4Network) or network.prefixlen >= 31:
        return False
    return address in (network.network_address, network.broadcast_address)


def neighbour_route(hop: Hop) -> Wanted:
    """The host route of one resolved neighbour."""
    assert hop.gateway is not None
    return Wanted(
        ip_network(hop.gateway),
        NEIGHBOUR.number,
        host(hop.port, hop.gateway),
        metric=0,
        distance=NEIGHBOUR.distance,
    )


def neighbour_routes(
    neighbours: Mapping[Hop, Neighbour], topology: Topology, limit: int
) -> tuple[list[Wanted], int]:
    """The host routes of all resolved neighbours, and how many were left out by `limit`."""
    hosts: Iterable[Hop] = (
        hop for hop, known in neighbours.items() if known.mac is not None and is_host(topology, hop)
    )
    ordered = sorted(hosts, key=lambda hop: neighbours[hop].since_ns)
    return [neighbour_route(hop) for hop in ordered[:limit]], max(0, len(ordered) - limit)


def _offer(inputs: Inputs) -> Offer:
    wanted, left_out = neighbour_routes(
        inputs.neighbours, inputs.topology, inputs.plan.neighbours.max
    )
    return Offer(wanted, left_out=left_out)


def _hop(route: Wanted) -> Hop:
    return route.nexthops.paths[0].hop


def _announcing(inputs: Inputs, wanted: Sequence[Wanted]) -> None:
    inputs.hosts.clear()
    inputs.hosts.update(map(_hop, wanted))


def _still(inputs: Inputs, route: Wanted) -> bool:
    return _hop(route) in inputs.hosts  # some go between the slices


# The last choice: any route that somebody asked for beats what was only overheard.
NEIGHBOUR = Source(
    4,
    "neighbour",
    distance=254,
    offer=_offer,
    popular=False,
    announcing=_announcing,
    still=_still,
)
