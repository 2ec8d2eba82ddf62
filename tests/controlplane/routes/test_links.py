"""Links over real segments, told events as the kernel tells them, without a kernel."""

import asyncio
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest

from ribcage.controlplane.kernel.events import AddressEvent, KernelEvent, LinkEvent, NeighbourEvent
from ribcage.controlplane.routes.links import Links
from ribcage.shared.addresses import Address
from ribcage.shared.memory.fib_records import FibKind
from ribcage.shared.plan import InterfacePlan

OLD, NEW = bytes([2, 0, 0, 0, 0, 0xA]), bytes([2, 0, 0, 0, 0, 0xB])
GLEAN, HOST = FibKind.GLEAN, FibKind.FORWARD


class SilentKernel:
    """A kernel that agrees to everything and tells nothing by itself."""

    host_port = None

    def neighbours(self) -> list[NeighbourEvent]:
        return []

    def resolve(self, ifindex: int, address: Address) -> bool:
        return True

    def manage(self, ifindex: int, address: Address) -> bool:
        return True

    def unmanage(self, ifindex: int, address: Address) -> None:
        pass

    def sweep_managed(self) -> None:
        pass


def link(ifindex: int, gone: bool = False) -> LinkEvent:
    return LinkEvent("eth1", ifindex, bytes([2, 0, 0, 0, 1, ifindex]), 1500, True, True, gone)


def address(ifindex: int, added: bool = True) -> AddressEvent:
    return AddressEvent("eth1", ifindex, ip_interface("10.0.1.1/24"), added)


def neighbour(ifindex: int, mac: bytes | None) -> NeighbourEvent:
    state = "gone" if mac is None else "reachable"
    return NeighbourEvent(ifindex, ip_address("10.0.1.9"), mac, state)


async def heard(links: Links, *events: KernelEvent) -> None:
    """All of them in one turn of the loop, and what follows from them, published."""
    for event in events:
        links.hear(event)
    await asyncio.sleep(0)
    await links.synced()
    links.core.publisher.flush()


@pytest.mark.parametrize("turns", ["one turn", "two turns"])
@pytest.mark.parametrize("farewell", ["told", "not told"])
def test_a_link_made_again_knows_nobody(router: Any, turns: str, farewell: str) -> None:
    """Deleted and made again, an interface keeps its port but no neighbour's old MAC, whether
    the kernel's word about the neighbour comes too late to be placed, or never."""

    async def scenario() -> None:
        router.core.replan(replace(router.core.plan, interfaces=(InterfacePlan("eth1"),)))
        told: list[dict[str, Any]] = []
        links = Links(router.core, SilentKernel(), told.append, lambda *_, **__: None)
        await links.sweep()
        await heard(links, link(5), address(5), neighbour(5, OLD))
        answer = router.reader.lookup("10.0.1.9")
        assert (answer.kind, answer.target_mac) == (HOST, OLD)

        end: list[KernelEvent] = [address(5, added=False), link(5, gone=True)]
        if farewell == "told":
            end.append(neighbour(5, None))
        again: list[KernelEvent] = [link(6), address(6)]
        if turns == "one turn":
            await heard(links, *end, *again)
        else:
            await heard(links, *end)
            await heard(links, *again)
        assert router.reader.lookup("10.0.1.9").kind == GLEAN
        assert router.reader.lookup("10.0.1.9").port == answer.port
        assert [one["ifindex"] for one in told if one["type"] == "port-open"] == [5, 6]

        await heard(links, neighbour(6, NEW))
        answer = router.reader.lookup("10.0.1.9")
        assert (answer.kind, answer.target_mac) == (HOST, NEW)
        report = await router.core.verify(samples=500)
        assert report["differences"] == []

    asyncio.run(scenario())
