"""The neighbour table and the limiter: bounded, and true to what the kernel says."""

from ipaddress import ip_address

import pytest

from ribcage.controlplane.kernel.events import NeighbourEvent
from ribcage.controlplane.kernel.neighbours import Limiter, NeighbourTable
from ribcage.controlplane.kernel.netlink.messages import NeighbourMessage

MAC = b"\2\0\0\0\0\1"


def said(address: str, state: str, gone: bool = False, index: int = 3) -> NeighbourMessage:
    return NeighbourMessage(index, ip_address(address), MAC, state, False, gone)


@pytest.mark.parametrize("state", ["reachable", "stale", "delay", "probe", "permanent"])
def test_a_neighbour_keeps_its_mac_while_the_kernel_re_probes(state: str) -> None:
    """Every state in which the kernel itself would send uses the MAC."""
    table = NeighbourTable(8)
    assert table.apply(said("10.0.0.2", state), 1) == [
        NeighbourEvent(3, ip_address("10.0.0.2"), MAC, state)
    ]


@pytest.mark.parametrize("state", ["incomplete", "failed"])
def test_an_unresolved_neighbour_has_no_mac(state: str) -> None:
    """Not even when the kernel still tells the old one."""
    table = NeighbourTable(8)
    table.apply(said("10.0.0.2", "reachable"), 1)
    assert table.apply(said("10.0.0.2", state), 1) == [
        NeighbourEvent(3, ip_address("10.0.0.2"), None, state)
    ]


def test_a_deleted_neighbour_is_gone_once() -> None:
    """The end of an unknown entry tells nothing."""
    table = NeighbourTable(8)
    table.apply(said("10.0.0.2", "reachable"), 1)
    expected = [NeighbourEvent(3, ip_address("10.0.0.2"), None, "gone")]
    assert table.apply(said("10.0.0.2", "stale", gone=True), 1) == expected
    assert table.apply(said("10.0.0.2", "stale", gone=True), 1) == []


def test_multicast_entries_are_not_neighbours() -> None:
    """The kernel keeps NOARP entries for what it never resolves."""
    assert NeighbourTable(8).apply(said("224.0.0.1", "noarp"), 1) == []


def test_a_full_table_refuses_hosts_and_admits_gateways() -> None:
    """The excess is counted; known entries go on changing; a managed one always has room."""
    table = NeighbourTable(2)
    for host in (1, 2, 3):
        table.apply(said(f"10.0.0.{host}", "reachable"), 1)
    assert (len(table.entries), table.refused) == (2, 1)
    assert table.apply(said("10.0.0.1", "stale"), 1) != []
    assert table.apply(said("10.0.0.254", "reachable"), 1, managed=True) != []
    assert table.refused == 1


def test_the_end_of_a_port_and_a_sweep_find_what_was_missed() -> None:
    """All entries of a port go with it; entries an overrun hid go with the next dump."""
    table = NeighbourTable(8)
    table.apply(said("10.0.0.1", "reachable", index=3), 1)
    table.apply(said("10.0.0.2", "reachable", index=3), 2)
    table.apply(said("10.0.1.1", "reachable", index=4), 2)
    assert table.sweep(2) == [NeighbourEvent(3, ip_address("10.0.0.1"), None, "gone")]
    assert table.lose_port(3) == [NeighbourEvent(3, ip_address("10.0.0.2"), None, "gone")]
    assert list(table.entries) == [(4, ip_address("10.0.1.1"))]


def test_one_neighbour_is_not_asked_for_again_within_the_pause() -> None:
    """Every packet to an unresolved host raises an event; one request answers them all."""
    limiter = Limiter()
    assert limiter.admit((3, ip_address("10.0.0.1")), 100.0)
    assert not limiter.admit((3, ip_address("10.0.0.1")), 100.1)
    assert limiter.admit((3, ip_address("10.0.0.1")), 100.3)
    assert limiter.limited == 1


def test_a_scan_is_limited_to_burst_and_rate_and_memory() -> None:
    """10,000 different addresses in one instant cost the burst; a second later, the rate."""
    limiter = Limiter(rate=100.0, burst=50.0, remembered=64)
    keys = [(3, ip_address(f"2001:db8::{n:x}")) for n in range(10_000)]
    assert sum(limiter.admit(key, 5.0) for key in keys) == 50
    assert sum(limiter.admit(key, 5.2) for key in keys[5000:]) == 20
    assert len(limiter._last) <= 64
