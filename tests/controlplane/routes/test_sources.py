"""Sources turn links and plans into the routes the design names."""

from ipaddress import ip_address, ip_interface, ip_network

from ribcage.controlplane.routes.sources.connected import connected_routes
from ribcage.controlplane.routes.sources.neighbour import NEIGHBOUR, is_host, neighbour_routes
from ribcage.controlplane.routes.sources.static import static_routes
from ribcage.controlplane.values.neighbour import Neighbour
from ribcage.controlplane.values.nexthop import BROADCAST, RECEIVE, Hop, NexthopSet, glean, host
from ribcage.controlplane.values.topology import Port, Topology
from ribcage.controlplane.values.wanted import Wanted
from ribcage.shared.plan import NexthopPlan, RoutePlan


def port(index: int, *addresses: str, up: bool = True, host: bool = False) -> Port:
    return Port(
        index,
        f"eth{index}",
        ifindex=10 + index,
        host=host,
        up=up,
        addresses=tuple(ip_interface(text) for text in addresses),
    )


def topology(*ports: Port) -> Topology:
    found = Topology()
    for one in ports:
        found.put(one)
    return found


def as_dict(wanted: list[Wanted]) -> dict[str, NexthopSet]:
    assert len({route.prefix for route in wanted}) == len(wanted)
    return {str(route.prefix): route.nexthops for route in wanted}


def test_an_ipv4_network_gives_glean_receive_and_broadcast() -> None:
    assert as_dict(connected_routes([port(1, "10.0.1.1/24")])) == {
        "10.0.1.0/24": glean(1),
        "10.0.1.1/32": RECEIVE,
        "10.0.1.0/32": BROADCAST,
        "10.0.1.255/32": BROADCAST,
    }


def test_an_ipv6_network_gives_glean_receive_and_anycast() -> None:
    assert as_dict(connected_routes([port(1, "2001:db8::1/64", "fe80::1/64")])) == {
        "2001:db8::/64": glean(1),
        "2001:db8::1/128": RECEIVE,
        "2001:db8::/128": RECEIVE,
        "fe80::1/128": RECEIVE,
    }


def test_point_to_point_networks_have_no_broadcast_address() -> None:
    """RFC 3021 and RFC 6164: both ends of a /31 or /127 are hosts."""
    assert as_dict(
        connected_routes([port(1, "10.0.0.1/31", "2001:db8::1/127", "10.9.9.9/32")])
    ) == {
        "10.0.0.0/31": glean(1),
        "10.0.0.1/32": RECEIVE,
        "2001:db8::/127": glean(1),
        "2001:db8::1/128": RECEIVE,
        "10.9.9.9/32": RECEIVE,
    }


def test_an_own_address_beats_anothers_broadcast() -> None:
    found = as_dict(connected_routes([port(1, "10.0.1.1/24"), port(2, "10.0.1.255/16")]))
    assert found["10.0.1.255/32"] == RECEIVE


def test_the_host_port_is_received_but_not_a_network() -> None:
    assert as_dict(connected_routes([port(0, "10.254.0.2/30", host=True)])) == {
        "10.254.0.2/32": RECEIVE
    }


def test_a_resolved_neighbour_becomes_a_host_route() -> None:
    links = topology(port(1, "10.0.1.1/24", "2001:db8::1/64"))
    known = {
        Hop(1, ip_address("10.0.1.2")): Neighbour(bytes(6)),
        Hop(1, ip_address("2001:db8::2")): Neighbour(bytes(6)),
        Hop(1, ip_address("10.0.1.3")): Neighbour(None),  # not resolved
    }
    wanted, left_out = neighbour_routes(known, links, 10)
    assert as_dict(wanted) == {
        "10.0.1.2/32": host(1, ip_address("10.0.1.2")),
        "2001:db8::2/128": host(1, ip_address("2001:db8::2")),
    }
    assert {route.source for route in wanted} == {NEIGHBOUR.number}
    assert left_out == 0


def test_a_station_cannot_claim_an_address_that_is_not_its_links() -> None:
    """Own, broadcast, multicast, link-local, foreign and other ports' addresses: no route."""
    links = topology(port(1, "10.0.1.1/24"), port(2, "10.0.2.1/24"), port(0, host=True))
    refused = [
        "10.0.1.1",
        "10.0.1.0",
        "10.0.1.255",
        "10.0.2.9",
        "224.0.0.5",
        "192.0.2.1",
        "0.0.0.0",
    ]
    for text in refused:
        assert not is_host(links, Hop(1, ip_address(text))), text
    assert not is_host(links, Hop(1, ip_address("fe80::2")))
    assert not is_host(links, Hop(7, ip_address("10.0.1.2")))
    assert is_host(links, Hop(1, ip_address("10.0.1.2")))


def test_host_routes_are_bounded_oldest_first() -> None:
    links = topology(port(1, "10.0.0.1/16"))
    known = {
        Hop(1, ip_address(f"10.0.1.{i}")): Neighbour(bytes(6), since_ns=100 - i) for i in range(20)
    }
    wanted, left_out = neighbour_routes(known, links, 5)
    assert [str(route.prefix) for route in wanted] == [
        f"10.0.1.{i}/32" for i in (19, 18, 17, 16, 15)
    ]
    assert left_out == 15


def test_a_static_route_waits_for_its_next_hop_with_a_reason() -> None:
    """Rows that cannot be had are listed, the others are in force."""
    routes = [
        RoutePlan("192.0.2.0/24", nexthops=(NexthopPlan(via="10.9.9.9"),)),
        RoutePlan("198.51.100.0/24", nexthops=(NexthopPlan(via="10.0.1.2"),), metric=5, distance=9),
        RoutePlan("203.0.113.0/24", type="blackhole"),
    ]
    wanted, rejected = static_routes(routes, topology(port(1, "10.0.1.1/24")))
    assert [(str(r.prefix), r.metric, r.distance) for r in wanted] == [
        ("198.51.100.0/24", 5, 9),
        ("203.0.113.0/24", 0, 1),
    ]
    assert [(r.prefix, r.code) for r in rejected] == [("192.0.2.0/24", "E_NEXTHOP")]
    assert "no connected network" in rejected[0].reason


def test_ports_keep_their_index_by_name() -> None:
    """A name that left and came back has its old index; a full table gives up a dead one."""
    links = topology()
    first = links.index_for("a")
    second = links.index_for("b")
    assert (first, second) == (0, 1)
    links.drop(0)
    assert links.index_for("c") == 2
    assert links.index_for("a") == 0
    for i in range(3, 32):
        index = links.index_for(f"p{i}")
        assert index == i
        links.put(port(index))
    assert links.index_for("late") in (0, 1, 2)
    assert ip_network("10.0.0.0/8") not in dict(links.connected())


def test_a_hop_lives_while_its_port_is_up_and_connected() -> None:
    links = topology(port(1, "10.0.1.1/24"), port(2, "10.0.2.1/24", up=False))
    assert links.alive(Hop(1, ip_address("10.0.1.9")))
    assert links.alive(Hop(1))
    assert links.alive(Hop(1, ip_address("fe80::9")))
    assert not links.alive(Hop(1, ip_address("10.0.3.9")))
    assert not links.alive(Hop(2, ip_address("10.0.2.9")))
    assert not links.alive(Hop(3))
