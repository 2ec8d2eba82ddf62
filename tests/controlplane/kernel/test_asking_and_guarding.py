"""Who is asked for, and the fight for the forwarding switch: bounded, with fakes."""

import asyncio
from ipaddress import ip_address
from pathlib import Path

import pytest

from ribcage.controlplane.kernel.changes.journal import Journal
from ribcage.controlplane.kernel.changes.settings import Sysctls
from ribcage.controlplane.kernel.events import ForwardingEvent, LinkEvent
from ribcage.controlplane.kernel.guard import ATTEMPTS, ForwardingGuard
from ribcage.controlplane.kernel.links import LinkTable
from ribcage.controlplane.kernel.neighbours import NeighbourTable
from ribcage.controlplane.kernel.netlink.messages import (
    ForwardingMessage,
    LinkMessage,
    NeighbourMessage,
    resolve_request,
)
from ribcage.controlplane.kernel.resolver import NeighbourResolver, unicast

MAC = b"\2\0\0\0\0\1"
ONE, TWO = ip_address("10.0.0.1"), ip_address("10.0.0.2")


def silent(_level: str, _event: str, **_fields: object) -> None:
    pass


class Rig:
    """A resolver with one port, eth1 of ifindex 3, and what it sent."""

    def __init__(self, path: Path, limit: int = 8) -> None:
        self.sent: list[bytes] = []
        self.links = LinkTable()
        self.links.apply_link(LinkMessage(3, "eth1", MAC, 1500, 0x10001, False), 1)
        self.port: LinkEvent = self.links.links[3]
        self.neighbours = NeighbourTable(limit)
        self.journal = Journal(path, "r1", "here")
        self.resolver = NeighbourResolver(
            self.journal, self.links, self.neighbours, self._send, silent
        )

    def _send(self, request: bytes) -> bool:
        self.sent.append(request)
        return True


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1", True),
        ("2001:db8::1", True),
        ("fe80::1", True),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("0.0.0.0", False),
        ("::", False),
        ("ff02::1", False),
    ],
)
def test_only_unicast_addresses_are_asked_for(address: str, expected: bool) -> None:
    """Anything else has no neighbour entry."""
    assert unicast(ip_address(address)) == expected


def test_a_full_table_refuses_new_hosts_but_not_known_ones(tmp_path: Path) -> None:
    """A scan cannot make the kernel's table grow beyond the plan's limit through us."""
    rig = Rig(tmp_path / "undo.json", limit=1)
    rig.neighbours.apply(NeighbourMessage(3, ONE, MAC, "stale", False, False), 1)
    assert not rig.resolver.resolve(rig.port, TWO)
    assert rig.neighbours.refused == 1
    assert rig.resolver.resolve(rig.port, ONE)
    assert rig.sent == [resolve_request(3, ONE, managed=False)]


def test_a_gateway_is_journalled_before_it_is_asked_for(tmp_path: Path) -> None:
    """Many in one turn of the loop are one write; resolving one keeps it managed."""

    async def main() -> None:
        rig = Rig(tmp_path / "undo.json")
        for host in (ONE, TWO):
            assert rig.resolver.manage(rig.port, host)
            assert rig.resolver.manage(rig.port, host)
        assert rig.sent == []
        await asyncio.sleep(0)
        gateways = [resolve_request(3, host, managed=True) for host in (ONE, TWO)]
        assert rig.sent == gateways
        stored = Journal.load(tmp_path / "undo.json")
        assert stored.managed == {("eth1", ONE), ("eth1", TWO)}
        assert rig.resolver.resolve(rig.port, TWO)
        assert rig.sent[2:] == gateways[1:]
        rig.resolver.unmanage(rig.port, ONE)
        assert rig.sent[3:] == [resolve_request(3, ONE, managed=False)]
        assert Journal.load(tmp_path / "undo.json").managed == {("eth1", TWO)}

    asyncio.run(main())


def test_a_full_disk_costs_the_undo_and_not_the_gateway(tmp_path: Path) -> None:
    """The journal cannot be written; the gateway is asked for all the same."""

    async def main() -> list[bytes]:
        rig = Rig(tmp_path / "absent" / "undo.json")
        rig.resolver.manage(rig.port, ONE)
        await asyncio.sleep(0)
        return rig.sent

    assert asyncio.run(main()) == [resolve_request(3, ONE, managed=True)]


def test_a_fight_for_forwarding_is_bounded_and_told(tmp_path: Path) -> None:
    """Set back ten times, then left as it is, with an event that says so each time."""
    switch = tmp_path / "net/ipv4/ip_forward"
    switch.parent.mkdir(parents=True)

    async def main() -> list[bool]:
        told: list[ForwardingEvent] = []
        journal = Journal(tmp_path / "undo.json", "r1", "here")
        settings = Sysctls(journal, silent, tmp_path)
        guard = ForwardingGuard(settings, LinkTable(), told.append, silent)
        for _ in range(ATTEMPTS + 2):
            switch.write_text("1\n")
            guard.switched_on(ForwardingMessage(-1, 4, True))
        assert guard.set_back == ATTEMPTS
        guard.close()
        return [event.restored for event in told]

    assert asyncio.run(main()) == [True] * ATTEMPTS + [False] * 2
    assert switch.read_text() == "1\n"


def test_a_stale_message_about_forwarding_is_ignored(tmp_path: Path) -> None:
    """The messages for each interface arrive after the one write that ended it."""
    switch = tmp_path / "net/ipv4/ip_forward"
    switch.parent.mkdir(parents=True)
    switch.write_text("0\n")
    told: list[ForwardingEvent] = []
    settings = Sysctls(Journal(tmp_path / "undo.json", "r1", "here"), silent, tmp_path)
    guard = ForwardingGuard(settings, LinkTable(), told.append, silent)
    guard.switched_on(ForwardingMessage(-1, 4, True))
    assert told == []
