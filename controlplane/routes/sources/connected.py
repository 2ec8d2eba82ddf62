"""Connected routes: what the ports' own addresses mean for forwarding. Pure.

    10.0.1.1/24 on eth1  ->  10.0.1.0/24    glean eth1     (the destination is the next hop)
                             10.0.1.1/32    receive        (left to the host stack)
                             10.0.1.0/32    broadcast      (RFC 1812 4.2.3.1: the old form)
                             10.0.1.255/32  broadcast      (RFC 1812 5.3.5: never forwarded)
    2001:db8::1/64       ->  2001:db8::/64 glean, 2001:db8::1/128 receive,
                             2001:db8::/128 receive (RFC 4291 2.6.1: the routers' anycast)

A /31 (RFC 3021) and a /32 have no broadcast address, a /127 (RFC 6164) no anycast one; own
link-local addresses are received, their network is never a route. An own address wins over a
broadcast or glean route of the same prefix. The routes do not depend on the port being up:
a set whose port is down is not eligible, which is the RIB's business.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, ip_network

from ribcage.controlplane.routes.sources.contract import Inputs, Offer, Source
from ribcage.controlplane.values.nexthop import BROADCAST, RECEIVE, NexthopSet, glean
from ribcage.controlplane.values.wanted import Wanted
from ribcage.shared.addresses import Address, Interface, Network
from ribcage.shared.memory.fib_records import Port


def connected_routes(ports: Iterable[Port], local: Iterable[Address] = ()) -> list[Wanted]:
    """Every connected route of these ports, one a prefix, in no particular order.

    `local`: addresses the host stack answers for on other interfaces, received as well.
    """
    wanted: dict[Network, NexthopSet] = {}
    ports = sorted(ports, key=lambda port: port.index)
    for port in ports:
        if port.host:
            continue
        for own in port.addresses:
            for prefix, nexthops in _network_routes(own, port.index):
                wanted.setdefault(prefix, nexthops)
    for port in ports:
        for own in port.addresses:
            wanted[ip_network(own.ip)] = RECEIVE
    for address in local:
        if not address.is_loopback and not address.is_link_local:
            wanted[ip_network(address)] = RECEIVE
    return [
        Wanted(prefix, CONNECTED.number, nexthops, metric=0, distance=CONNECTED.distance)
        for prefix, nexthops in wanted.items()
    ]


def _offer(inputs: Inputs) -> Offer:
    return Offer(connected_routes(inputs.topology.ports.values(), inputs.topology.local))


CONNECTED = Source(1, "connected", distance=0, offer=_offer)


def _network_routes(own: Interface, port: int) -> Iterable[tuple[Network, NexthopSet]]:
    network = own.network
    if network.prefixlen == network.max_prefixlen or own.is_link_local:
        return
    yield network, glean(port)
    if network.prefixlen == network.max_prefixlen - 1:
        return
    if isinstance(network, IPv4Network):
        yield ip_network(network.network_address), BROADCAST
        yield ip_network(network.broadcast_address), BROADCAST
    else:
        yield ip_network(network.network_address), RECEIVE
