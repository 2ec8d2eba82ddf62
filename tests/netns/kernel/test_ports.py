"""Ports on the real kernel: deleted, made anew, set down, taken out of the plan."""

import asyncio
import socket
import subprocess
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from ribcage.controlplane.kernel.events import (
    AddressEvent,
    LinkEvent,
)
from ribcage.lab.topology.namespaces import Lab, available
from ribcage.shared.plan import InterfacePlan
from tests.netns.kernel.rig import DEADLINE, PLAN, Rig, in_r1, state

pytestmark = [pytest.mark.netns, pytest.mark.skipif(not available()[0], reason=available()[1])]


def test_a_host_port_deleted_by_hand_is_made_again(lab: Lab, tmp_path: Path) -> None:
    """With a new ifindex, told as any link, and with its routes and its filter."""

    async def body(rig: Rig) -> None:
        old = rig.kernel.host_port
        assert old is not None
        subprocess.run(["ip", "link", "del", "rc-host"], check=True)
        await rig.until(lambda: rig.last(LinkEvent, ifindex=old.ifindex, gone=True), "gone")
        new = await rig.until(lambda: rig.kernel.host_port, "made again")
        assert new.ifindex != old.ifindex
        await rig.until(lambda: rig.last(LinkEvent, ifindex=new.ifindex, up=True), "told")

        def route() -> str:
            argv = ["ip", "route", "show", "default"]
            return subprocess.run(argv, capture_output=True, text=True).stdout

        await rig.until(lambda: "dev rc-host" in route() and "src 10.0.1.1" in route(), "route")

    in_r1(lab, tmp_path / "undo.json", body)


def test_a_stop_while_the_host_port_is_made_again_ends(lab: Lab, tmp_path: Path) -> None:
    """At whatever step of the repair it comes: no hang, and nothing is left."""
    r1 = lab.nodes["r1"]
    before = state(r1)
    for step in range(8):

        async def body(rig: Rig, step: int = step) -> None:
            old = rig.kernel.host_port
            assert old is not None
            subprocess.run(["ip", "link", "del", "rc-host"], check=True)
            await rig.until(lambda: rig.last(LinkEvent, ifindex=old.ifindex, gone=True), "gone")
            await asyncio.sleep(step * 0.003)
            problems = await asyncio.wait_for(rig.kernel.stop(), DEADLINE)
            assert problems == []

        in_r1(lab, tmp_path / "undo.json", body, stop=False)
    assert state(r1) == before


def test_a_port_made_anew_is_configured_again(lab: Lab, tmp_path: Path) -> None:
    """Gone under the old ifindex; then new, up, with addresses, filter, settings, gateway."""

    async def body(rig: Rig) -> None:
        old = socket.if_nametoindex("eth2")
        rig.kernel.manage(old, ip_address("10.0.2.2"))
        await rig.resolved("10.0.2.2")
        subprocess.run(["ip", "link", "del", "eth2"], check=True)
        await rig.until(lambda: rig.last(LinkEvent, ifindex=old, gone=True), "eth2 gone")
        assert rig.kernel.neighbours() == []
        await asyncio.to_thread(lab.link, "r1", "eth2", "h2", "eth0")
        await asyncio.to_thread(lab.nodes["h2"].ip, "addr add 10.0.2.2/24 dev eth0")
        new = await rig.until(
            lambda: rig.last(LinkEvent, name="eth2", gone=False, up=True, carrier=True), "eth2"
        )
        assert new.ifindex != old
        await rig.until(
            lambda: (
                {str(a.own.ip) for a in rig.kernel.addresses() if a.ifindex == new.ifindex}
                >= {"10.0.2.1", "2001:db8:2::1"}
            ),
            "addresses",
        )
        assert (await rig.resolved("10.0.2.2")).ifindex == new.ifindex

        def rules() -> str:
            argv = ["nft", "list", "ruleset"]
            return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

        await rig.until(lambda: 'device "eth2"' in rules(), "filter")
        assert Path("/proc/sys/net/ipv6/conf/eth2/accept_ra").read_text() == "0\n"

    in_r1(lab, tmp_path / "undo.json", body)


def test_a_port_that_does_not_exist_yet_is_configured_when_it_appears(
    lab: Lab, tmp_path: Path
) -> None:
    """configure() has no problem with it, and it comes up with its addresses."""

    async def body(rig: Rig) -> None:
        subprocess.run(
            ["ip", "link", "add", "late0", "type", "veth", "peer", "name", "late1"], check=True
        )
        await rig.until(
            lambda: rig.last(AddressEvent, own=ip_interface("10.9.0.1/24"), ifname="late0"),
            "address",
        )
        await rig.until(lambda: rig.last(LinkEvent, name="late0", up=True), "up")

    in_r1(lab, tmp_path / "undo.json", body, [*PLAN, InterfacePlan("late0", ("10.9.0.1/24",))])


def test_a_port_set_down_by_the_operator_stays_down(lab: Lab, tmp_path: Path) -> None:
    """And its IPv6 addresses, which the kernel drops then, are back when it is set up."""

    async def body(rig: Rig) -> None:
        subprocess.run(["ip", "link", "set", "eth1", "down"], check=True)
        await rig.until(
            lambda: rig.last(AddressEvent, own=ip_interface("2001:db8:1::1/64"), added=False),
            "address lost",
        )
        seen = len(rig.events)
        subprocess.run(["ip", "link", "set", "eth2", "mtu", "1400"], check=True)
        await rig.until(lambda: rig.last(LinkEvent, name="eth2", mtu=1400), "an event after")
        assert rig.last(LinkEvent, name="eth1").up is False
        subprocess.run(["ip", "link", "set", "eth1", "up"], check=True)
        await rig.until(
            lambda: any(
                isinstance(e, AddressEvent) and str(e.own.ip) == "2001:db8:1::1" and e.added
                for e in rig.events[seen:]
            ),
            "address back",
        )

    in_r1(lab, tmp_path / "undo.json", body)


def test_a_reload_takes_back_what_the_plan_no_longer_names(lab: Lab, tmp_path: Path) -> None:
    """Addresses, MTU and settings of a dropped port are as before; others stay."""

    async def body(rig: Rig) -> None:
        await rig.kernel.configure([PLAN[0]])
        await rig.until(
            lambda: rig.last(AddressEvent, own=ip_interface("10.0.2.1/24"), added=False),
            "address dropped",
        )
        await rig.until(lambda: rig.last(LinkEvent, name="eth2", mtu=1500), "mtu back")
        assert Path("/proc/sys/net/ipv6/conf/eth2/accept_ra").read_text() == "1\n"
        assert {str(a.own.ip) for a in rig.kernel.addresses() if a.ifname == "eth1"} >= {"10.0.1.1"}

    in_r1(
        lab, tmp_path / "undo.json", body, [PLAN[0], InterfacePlan("eth2", ("10.0.2.1/24",), 1400)]
    )
