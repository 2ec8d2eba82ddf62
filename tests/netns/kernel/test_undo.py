"""Kernel against the real kernel: what it changes is undone, whoever died, and nothing stays."""

import asyncio
import os
import signal
import socket
import subprocess
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from ribcage.controlplane.kernel.changes.journal import Journal
from ribcage.controlplane.kernel.changes.undo import undo
from ribcage.controlplane.kernel.events import (
    LinkEvent,
)
from ribcage.lab.topology.namespaces import Lab, available
from ribcage.shared.plan import InterfacePlan
from tests.netns.kernel.rig import PLAN, Rig, in_r1, state

pytestmark = [pytest.mark.netns, pytest.mark.skipif(not available()[0], reason=available()[1])]


def test_stop_leaves_the_kernel_as_it_was(lab: Lab, tmp_path: Path) -> None:
    """Filter, links, addresses, routes and every sysctl, with forwarding on before."""
    r1 = lab.nodes["r1"]
    r1.sysctl(1, "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
    r1.sysctl(2, "net/ipv4/conf/eth1/rp_filter")
    before = state(r1)

    async def body(rig: Rig) -> None:
        rig.kernel.manage(socket.if_nametoindex("eth2"), ip_address("10.0.2.2"))
        await rig.resolved("10.0.2.2")
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "0\n"
        assert Path("/proc/sys/net/ipv4/conf/all/accept_redirects").read_text() == "0\n"
        assert Path("/proc/sys/net/ipv6/conf/eth1/forwarding").read_text() == "0\n"
        assert Path("/proc/sys/net/ipv4/conf/eth1/rp_filter").read_text() == "0\n"

    in_r1(
        lab, tmp_path / "undo.json", body, [PLAN[0], InterfacePlan("eth2", ("10.0.2.1/24",), 1400)]
    )
    assert state(r1) == before


def test_undo_after_kill_9_leaves_the_kernel_as_it_was(lab: Lab, tmp_path: Path) -> None:
    """The journal alone is enough; a second undo finds nothing to do."""
    r1, undo_file = lab.nodes["r1"], tmp_path / "undo.json"
    r1.ip("link set eth2 down")
    before = state(r1)

    async def die(rig: Rig) -> None:
        await rig.until(lambda: rig.last(LinkEvent, name="eth2", up=True), "eth2 up")
        rig.kernel.manage(socket.if_nametoindex("eth2"), ip_address("10.0.2.2"))
        await rig.resolved("10.0.2.2")
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(Exception, match="died"):
        in_r1(lab, undo_file, die, [PLAN[0], InterfacePlan("eth2", ("10.0.2.1/24",), 1400)])
    assert Journal.load(undo_file).addresses == {
        (port.name, ip_interface(address))
        for port in [PLAN[0], InterfacePlan("eth2", ("10.0.2.1/24",))]
        for address in port.addresses
    }
    assert r1.call(undo, undo_file) == []
    assert not undo_file.exists()
    assert state(r1) == before
    assert r1.call(undo, undo_file) == []


def test_undo_in_another_namespace_touches_nothing(lab: Lab, tmp_path: Path) -> None:
    """It says where the journal belongs, and the journal stays."""
    undo_file = tmp_path / "undo.json"

    async def leave(rig: Rig) -> None:
        await rig.kernel.detach()

    in_r1(lab, undo_file, leave, stop=False)
    (problem,) = lab.nodes["h1"].call(undo, undo_file)
    assert "run undo there" in problem
    assert lab.nodes["r1"].call(undo, undo_file) == []


def test_the_successor_adopts_what_a_killed_control_left(lab: Lab, tmp_path: Path) -> None:
    """The host port keeps its ifindex, so its rings go on; stop still restores everything."""
    r1, undo_file = lab.nodes["r1"], tmp_path / "undo.json"
    before = state(r1)

    async def leave(rig: Rig) -> tuple[int, int]:
        port = rig.kernel.host_port
        assert port is not None
        rig.kernel.manage(socket.if_nametoindex("eth2"), ip_address("10.0.2.2"))
        rig.kernel.manage(socket.if_nametoindex("eth2"), ip_address("2001:db8:2::2"))
        await rig.resolved("10.0.2.2")
        await rig.resolved("2001:db8:2::2")
        await rig.kernel.detach()
        return port.ifindex, port.kernel_ifindex

    async def adopt(rig: Rig) -> tuple[int, int]:
        port = rig.kernel.host_port
        assert port is not None
        await rig.resolved("10.0.2.2")
        rig.kernel.manage(socket.if_nametoindex("eth2"), ip_address("10.0.2.2"))
        rig.kernel.sweep_managed()

        def managed() -> str:
            argv = ["ip", "neigh", "show", "dev", "eth2"]
            lines = subprocess.run(argv, capture_output=True, text=True).stdout.splitlines()
            return " ".join(line.split()[0] for line in lines if "managed" in line)

        await rig.until(lambda: managed() == "10.0.2.2", "only the gateway still wanted is managed")
        return port.ifindex, port.kernel_ifindex

    assert in_r1(lab, undo_file, leave, stop=False) == in_r1(lab, undo_file, adopt)
    assert state(r1) == before


def test_two_instances_share_a_namespace(lab: Lab, tmp_path: Path) -> None:
    """Each has a pair, a table and a default route of its own, and stops alone."""
    r1 = lab.nodes["r1"]
    before = state(r1)

    def both() -> None:
        async def main() -> None:
            one, two = Rig(tmp_path / "a.json", "a"), Rig(tmp_path / "b.json", "b")
            for rig, port in ((one, PLAN[0]), (two, PLAN[1])):
                assert await rig.kernel.start() == []
                assert await rig.kernel.configure([port]) == []
            first, second = one.kernel.host_port, two.kernel.host_port
            assert first is not None
            assert second is not None
            assert first.kernel_name == "rc-host"
            assert second.kernel_name.startswith("rc-host-")
            assert len(second.kernel_name) <= 15
            assert await one.kernel.stop() == []
            assert Path(f"/proc/sys/net/ipv4/conf/{second.name}").exists()
            assert not Path(f"/proc/sys/net/ipv4/conf/{first.name}").exists()
            assert await two.kernel.stop() == []

        asyncio.run(main())

    r1.call(both)
    assert state(r1) == before


def test_a_failed_journal_write_changes_nothing(lab: Lab, tmp_path: Path) -> None:
    """A full disk at start: OSError, and the kernel is untouched."""
    r1 = lab.nodes["r1"]
    before = state(r1)

    async def main() -> None:
        rig = Rig(tmp_path / "absent" / "undo.json")
        with pytest.raises(OSError, match="absent"):
            await rig.kernel.start()
        await rig.kernel.detach()

    r1.call(lambda: asyncio.run(main()))
    assert state(r1) == before


def test_what_was_on_a_link_that_is_gone_counts_as_undone(lab: Lab, tmp_path: Path) -> None:
    """Its address, its state and its settings went with it: no problem, and no journal stays."""
    r1, undo_file = lab.nodes["r1"], tmp_path / "undo.json"
    port = InterfacePlan("gone0", ("10.9.9.1/24",), 1400)
    r1.ip("link add gone0 type veth peer name gone1", "link set gone1 up")

    async def die(rig: Rig) -> None:
        await rig.until(lambda: rig.last(LinkEvent, name="gone0", up=True), "gone0 up")
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(Exception, match="died"):
        in_r1(lab, undo_file, die, [*PLAN, port])
    journal = Journal.load(undo_file)
    assert ("gone0", ip_interface("10.9.9.1/24")) in journal.addresses
    assert "gone0" in journal.ports
    r1.ip("link del gone0")
    assert r1.call(undo, undo_file) == []
    assert not undo_file.exists()
