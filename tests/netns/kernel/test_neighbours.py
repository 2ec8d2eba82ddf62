"""Neighbours as the real kernel tells them: asked for, answered, failed, kept resolved."""

import asyncio
import socket
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest

from ribcage.controlplane.kernel.events import (
    LinkEvent,
    NeighbourEvent,
)
from ribcage.lab.topology.namespaces import Lab, available
from tests.netns.kernel.rig import Rig, in_r1

pytestmark = [pytest.mark.netns, pytest.mark.skipif(not available()[0], reason=available()[1])]


@pytest.mark.parametrize("address", ["10.0.2.2", "2001:db8:2::2"])
def test_a_neighbour_is_resolved_at_once(lab: Lab, tmp_path: Path, address: str) -> None:
    """resolve() is answered by an event with h2's MAC, for both families."""

    async def body(rig: Rig) -> tuple[bytes, float]:
        start = asyncio.get_running_loop().time()
        assert rig.kernel.resolve(socket.if_nametoindex("eth2"), ip_address(address))
        event = await rig.resolved(address)
        assert event.mac is not None
        return event.mac, asyncio.get_running_loop().time() - start

    mac, took = in_r1(lab, tmp_path / "undo.json", body)
    shown = lab.nodes["h2"].run(["ip", "-br", "link", "show", "eth0"], check=True).stdout
    assert mac.hex(":") in shown
    assert took < 1.0


def test_an_absent_host_becomes_failed(lab: Lab, tmp_path: Path) -> None:
    """Nobody answers for 10.0.2.77: told as incomplete, then failed or gone, never with a MAC."""

    async def body(rig: Rig) -> None:
        Path("/proc/sys/net/ipv4/neigh/eth2/retrans_time_ms").write_text("20")
        assert rig.kernel.resolve(socket.if_nametoindex("eth2"), ip_address("10.0.2.77"))
        await rig.until(
            lambda: (
                rig.last(NeighbourEvent, address=ip_address("10.0.2.77"), state="failed")
                or rig.last(NeighbourEvent, address=ip_address("10.0.2.77"), state="gone")
            ),
            "10.0.2.77 failed",
        )
        assert rig.last(NeighbourEvent, address=ip_address("10.0.2.77")).mac is None

    in_r1(lab, tmp_path / "undo.json", body)


def test_resolve_refuses_what_cannot_be_a_neighbour(lab: Lab, tmp_path: Path) -> None:
    """Unknown ports, multicast, `::`, and a repeat within the pause are not asked for."""

    async def body(rig: Rig) -> list[bool]:
        eth2, lo = socket.if_nametoindex("eth2"), socket.if_nametoindex("lo")
        tried = [(eth2, "224.0.0.1"), (eth2, "::"), (eth2, "ff02::1")]
        tried += [(lo, "127.0.0.2"), (9999, "10.0.2.2"), (eth2, "10.0.2.2"), (eth2, "10.0.2.2")]
        return [rig.kernel.resolve(index, ip_address(text)) for index, text in tried]

    answers = in_r1(lab, tmp_path / "undo.json", body)
    assert answers == [False, False, False, False, False, True, False]


def test_a_managed_gateway_comes_back_with_the_carrier(lab: Lab, tmp_path: Path) -> None:
    """Carrier loss deletes managed neighbours; they are asked for again by themselves."""

    async def body(rig: Rig) -> None:
        eth2 = socket.if_nametoindex("eth2")
        assert rig.kernel.manage(eth2, ip_address("10.0.2.2"))
        await rig.resolved("10.0.2.2")
        await asyncio.to_thread(lab.nodes["h2"].ip, "link set eth0 down")
        await rig.until(lambda: rig.last(NeighbourEvent, state="gone"), "neighbour gone")
        assert rig.last(LinkEvent, name="eth2").carrier is False
        await asyncio.to_thread(lab.nodes["h2"].ip, "link set eth0 up")
        await rig.resolved("10.0.2.2")

    in_r1(lab, tmp_path / "undo.json", body)


def test_a_managed_gateway_deleted_by_hand_comes_back(lab: Lab, tmp_path: Path) -> None:
    """`ip neigh del` on a gateway is repaired by itself."""

    async def body(rig: Rig) -> None:
        rig.kernel.manage(socket.if_nametoindex("eth2"), ip_address("10.0.2.2"))
        await rig.resolved("10.0.2.2")
        subprocess.run(["ip", "neigh", "del", "10.0.2.2", "dev", "eth2"], check=True)
        await rig.until(lambda: rig.last(NeighbourEvent, state="gone"), "gone")
        await rig.resolved("10.0.2.2")

    in_r1(lab, tmp_path / "undo.json", body)
