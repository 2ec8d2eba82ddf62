"""What the real kernel, a daemon beside us or our own consumer may do wrong."""

import asyncio
import socket
import subprocess
from ipaddress import ip_interface
from pathlib import Path

import pytest

from ribcage.controlplane.kernel.events import (
    AddressEvent,
    ForwardingEvent,
    KernelEvent,
    LinkEvent,
)
from ribcage.controlplane.kernel.netlink import deadline
from ribcage.lab.topology.namespaces import Lab, available
from tests.netns.kernel.rig import PLAN, Rig, in_r1, state

pytestmark = [pytest.mark.netns, pytest.mark.skipif(not available()[0], reason=available()[1])]


def test_a_kernel_that_does_not_answer_is_a_problem_and_not_a_hang(
    lab: Lab, tmp_path: Path
) -> None:
    """start and configure return and name the request; when it answers again, all is made."""
    r1 = lab.nodes["r1"]
    before = state(r1)

    def body() -> None:
        async def never(*_: object, **__: object) -> None:
            await asyncio.Event().wait()

        async def main() -> None:
            rig = Rig(tmp_path / "undo.json")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(deadline.Netlink.__init__, "__defaults__", (0.05,))
                patch.setattr(deadline.AsyncIPRoute, "link", never)
                (problem,) = await rig.kernel.start()
                assert "no answer to `link get rc-host` within 0.05 s" in problem
                (problem,) = await rig.kernel.configure(PLAN)
                assert "no answer" in problem
            await rig.until(lambda: rig.kernel.host_port, "host port")
            await rig.until(
                lambda: rig.last(AddressEvent, own=ip_interface("10.0.2.1/24"), added=True),
                "eth2 configured",
            )
            assert await rig.kernel.stop() == []

        asyncio.run(main())

    r1.call(body)
    assert state(r1) == before


def test_a_failing_consumer_loses_only_its_own_event(lab: Lab, tmp_path: Path) -> None:
    """An exception in on_event is logged; the other events of the datagram still come."""

    async def body(rig: Rig) -> None:
        def broken(event: KernelEvent) -> None:
            rig.events.append(event)
            raise RuntimeError("consumer")

        rig.consumer = broken
        subprocess.run(["ip", "link", "set", "eth1", "mtu", "1300"], check=True)
        subprocess.run(["ip", "link", "set", "eth2", "mtu", "1300"], check=True)
        await rig.until(lambda: rig.last(LinkEvent, name="eth2", mtu=1300), "eth2")
        assert rig.last(LinkEvent, name="eth1", mtu=1300)
        assert any("RuntimeError" in line for line in rig.logged)

    in_r1(lab, tmp_path / "undo.json", body)


def test_forwarding_switched_on_by_a_daemon_is_set_back(lab: Lab, tmp_path: Path) -> None:
    """FRR and BIRD hosts do `sysctl ip_forward=1`; one event for the switch, not one a port."""

    async def body(rig: Rig) -> None:
        for family, name in ((4, "ipv4/ip_forward"), (6, "ipv6/conf/all/forwarding")):
            switch = Path("/proc/sys/net") / name
            switch.write_text("1")
            event = await rig.until(
                lambda family=family: rig.last(ForwardingEvent, family=family), name
            )
            assert (event.ifname, event.restored) == (None, True)
            assert switch.read_text() == "0\n"
        assert Path("/proc/sys/net/ipv4/conf/all/accept_redirects").read_text() == "0\n"
        assert len([e for e in rig.events if isinstance(e, ForwardingEvent)]) == 2

    in_r1(lab, tmp_path / "undo.json", body)
    # What the daemon asked for is what the host has when the router is gone.
    shown = lab.nodes["r1"].run(["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout
    assert shown == "1\n"


def test_an_overrun_of_the_real_socket_ends_in_the_true_picture(lab: Lab, tmp_path: Path) -> None:
    """More events than the socket holds while nobody reads: counted, and then made good."""

    async def body(rig: Rig) -> None:
        work = rig.kernel._work
        assert work is not None
        work.monitor._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lines = [f"addr add 10.8.{n // 250}.{n % 250 + 1}/32 dev eth1" for n in range(400)]
        text = "\n".join(lines)
        # Blocking on purpose: the loop must not read meanwhile.
        subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True)
        await rig.until(
            lambda: (
                len([a for a in rig.kernel.addresses() if str(a.own).startswith("10.8.")]) == 400
            ),
            "all addresses",
        )
        assert rig.kernel.counters()["overruns"] > 0
        subprocess.run(["ip", "addr", "flush", "dev", "eth1", "to", "10.8.0.0/16"], check=True)
        await rig.until(
            lambda: not any(str(a.own).startswith("10.8.") for a in rig.kernel.addresses()), "none"
        )
        told = [e for e in rig.events if isinstance(e, AddressEvent) and str(e.own)[:5] == "10.8."]
        assert sum(1 if e.added else -1 for e in told) == 0

    in_r1(lab, tmp_path / "undo.json", body)
