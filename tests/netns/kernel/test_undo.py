"""Kernel against the real kernel: what it hears, what it changes, and that nothing stays.

Each test makes the demo topology; the kernel runs in r1, in a forked child (`Node.call`).
"""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ribcage.controlplane.kernel.changes.journal import Journal
from ribcage.controlplane.kernel.changes.undo import undo
from ribcage.controlplane.kernel.events import (
    AddressEvent,
    Event,
    ForwardingEvent,
    LinkEvent,
    NeighbourEvent,
)
from ribcage.controlplane.kernel.kernel import Kernel
from ribcage.controlplane.kernel.netlink import deadline
from ribcage.lab.topology import topologies
from ribcage.lab.topology.namespaces import Lab, Node, available

pytestmark = [pytest.mark.netns, pytest.mark.skipif(not available()[0], reason=available()[1])]

DEADLINE = 10.0  # generous: what is waited for takes milliseconds


@dataclass(frozen=True)
class Port:
    name: str
    addresses: tuple[str, ...]
    mtu: int | None = None


PLAN = [Port(name, own) for name, own in topologies.R1_ADDRESSES.items()]


class Rig:
    """A kernel and everything it told."""

    def __init__(self, undo_file: Path, instance: str = "r1") -> None:
        self.events: list[Event] = []
        self.logged: list[str] = []
        self._news = asyncio.Event()
        self.consumer: Callable[[Event], None] = self._on_event
        self.kernel = Kernel(
            instance=instance,
            undo_file=undo_file,
            on_event=lambda event: self.consumer(event),
            log=lambda level, event, **fields: self.logged.append(f"{level} {event} {fields}"),
        )

    def _on_event(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for a named state; looks again after each event and every 20 ms."""
        deadline = asyncio.get_running_loop().time() + DEADLINE
        while not (value := condition()):
            assert asyncio.get_running_loop().time() < deadline, f"{what}: {self.events[-5:]}"
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), 0.02)
            except TimeoutError:
                continue
        return value

    def last(self, kind: type, **fields: Any) -> Any:
        """The newest event of a kind whose fields are these."""
        for event in reversed(self.events):
            if isinstance(event, kind) and all(
                getattr(event, name) == value for name, value in fields.items()
            ):
                return event
        return None

    async def resolved(self, address: str) -> NeighbourEvent:
        return await self.until(  # type: ignore[no-any-return]
            lambda: next(
                (n for n in self.kernel.neighbours() if n.address == address and n.mac), None
            ),
            f"{address} resolved",
        )


def in_r1(
    lab: Lab,
    undo_file: Path,
    body: Callable[[Rig], Awaitable[Any]],
    plan: list[Port] = PLAN,
    stop: bool = True,
) -> Any:
    """Run `body` with a started and configured kernel in r1; then stop it. Problems fail."""

    async def main() -> Any:
        rig = Rig(undo_file)
        assert await rig.kernel.start() == []
        assert await rig.kernel.configure(plan) == []
        result = await body(rig)
        if stop:
            assert await rig.kernel.stop() == []
            assert not undo_file.exists()
        return result

    return lab.nodes["r1"].call(lambda: asyncio.run(main()))


def sysctls() -> dict[str, str]:
    """Every readable setting below net/ of the calling process's namespace."""
    found = {}
    for path in Path("/proc/sys/net").rglob("*"):
        if not path.is_file() or path.name in ("flush", "nf_conntrack_count", "stable_secret"):
            continue
        try:
            found[str(path)] = path.read_text()
        except OSError:
            continue
    return found


def state(node: Node) -> dict[str, str]:
    """Dumps of all that the kernel may touch."""
    dumps = {
        "filter": ["nft", "list", "ruleset"],
        "links": ["ip", "-d", "link"],
        "addresses": ["ip", "-br", "address"],
        "routes": ["ip", "route", "show", "table", "all"],
        "routes6": ["ip", "-6", "route", "show", "table", "all"],
        "managed": ["ip", "neigh", "show", "nud", "permanent"],
    }
    found = {name: node.run(argv, check=True).stdout for name, argv in dumps.items()}
    return found | node.call(sysctls)


@pytest.fixture
def lab() -> Any:
    with Lab() as made:
        yield topologies.demo(made)


def test_stop_leaves_the_kernel_as_it_was(lab: Lab, tmp_path: Path) -> None:
    """Filter, links, addresses, routes and every sysctl, with forwarding on before."""
    r1 = lab.nodes["r1"]
    r1.sysctl(1, "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
    r1.sysctl(2, "net/ipv4/conf/eth1/rp_filter")
    before = state(r1)

    async def body(rig: Rig) -> None:
        rig.kernel.manage(socket.if_nametoindex("eth2"), "10.0.2.2")
        await rig.resolved("10.0.2.2")
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "0\n"
        assert Path("/proc/sys/net/ipv4/conf/all/accept_redirects").read_text() == "0\n"
        assert Path("/proc/sys/net/ipv6/conf/eth1/forwarding").read_text() == "0\n"
        assert Path("/proc/sys/net/ipv4/conf/eth1/rp_filter").read_text() == "0\n"

    in_r1(lab, tmp_path / "undo.json", body, [PLAN[0], Port("eth2", ("10.0.2.1/24",), 1400)])
    assert state(r1) == before


def test_undo_after_kill_9_leaves_the_kernel_as_it_was(lab: Lab, tmp_path: Path) -> None:
    """The journal alone is enough; a second undo finds nothing to do."""
    r1, undo_file = lab.nodes["r1"], tmp_path / "undo.json"
    r1.ip("link set eth2 down")
    before = state(r1)

    async def die(rig: Rig) -> None:
        await rig.until(lambda: rig.last(LinkEvent, name="eth2", up=True), "eth2 up")
        rig.kernel.manage(socket.if_nametoindex("eth2"), "10.0.2.2")
        await rig.resolved("10.0.2.2")
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(Exception, match="died"):
        in_r1(lab, undo_file, die, [PLAN[0], Port("eth2", ("10.0.2.1/24",), 1400)])
    assert Journal.load(undo_file).addresses == {
        (port.name, address)
        for port in [PLAN[0], Port("eth2", ("10.0.2.1/24",))]
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
        rig.kernel.manage(socket.if_nametoindex("eth2"), "10.0.2.2")
        rig.kernel.manage(socket.if_nametoindex("eth2"), "2001:db8:2::2")
        await rig.resolved("10.0.2.2")
        await rig.resolved("2001:db8:2::2")
        await rig.kernel.detach()
        return port.ifindex, port.kernel_ifindex

    async def adopt(rig: Rig) -> tuple[int, int]:
        port = rig.kernel.host_port
        assert port is not None
        await rig.resolved("10.0.2.2")
        rig.kernel.manage(socket.if_nametoindex("eth2"), "10.0.2.2")
        rig.kernel.sweep_managed()

        def managed() -> str:
            argv = ["ip", "neigh", "show", "dev", "eth2"]
            lines = subprocess.run(argv, capture_output=True, text=True).stdout.splitlines()
            return " ".join(line.split()[0] for line in lines if "managed" in line)

        await rig.until(lambda: managed() == "10.0.2.2", "only the gateway still wanted is managed")
        return port.ifindex, port.kernel_ifindex

    assert in_r1(lab, undo_file, leave, stop=False) == in_r1(lab, undo_file, adopt)
    assert state(r1) == before


@pytest.mark.parametrize("address", ["10.0.2.2", "2001:db8:2::2"])
def test_a_neighbour_is_resolved_at_once(lab: Lab, tmp_path: Path, address: str) -> None:
    """resolve() is answered by an event with h2's MAC, for both families."""

    async def body(rig: Rig) -> tuple[bytes, float]:
        start = asyncio.get_running_loop().time()
        assert rig.kernel.resolve(socket.if_nametoindex("eth2"), address)
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
        assert rig.kernel.resolve(socket.if_nametoindex("eth2"), "10.0.2.77")
        await rig.until(
            lambda: (
                rig.last(NeighbourEvent, address="10.0.2.77", state="failed")
                or rig.last(NeighbourEvent, address="10.0.2.77", state="gone")
            ),
            "10.0.2.77 failed",
        )
        assert rig.last(NeighbourEvent, address="10.0.2.77").mac is None

    in_r1(lab, tmp_path / "undo.json", body)


def test_resolve_refuses_what_cannot_be_a_neighbour(lab: Lab, tmp_path: Path) -> None:
    """Unknown ports, multicast, rubbish, and a repeat within the pause are not asked for."""

    async def body(rig: Rig) -> list[bool]:
        eth2, lo = socket.if_nametoindex("eth2"), socket.if_nametoindex("lo")
        tried = [(eth2, "224.0.0.1"), (eth2, "::"), (eth2, "ff02::1"), (eth2, "ten.0.0.1")]
        tried += [(lo, "127.0.0.2"), (9999, "10.0.2.2"), (eth2, "10.0.2.2"), (eth2, "10.0.2.2")]
        return [rig.kernel.resolve(*one) for one in tried]

    answers = in_r1(lab, tmp_path / "undo.json", body)
    assert answers == [False, False, False, False, False, False, True, False]


def test_a_managed_gateway_comes_back_with_the_carrier(lab: Lab, tmp_path: Path) -> None:
    """Carrier loss deletes managed neighbours; they are asked for again by themselves."""

    async def body(rig: Rig) -> None:
        eth2 = socket.if_nametoindex("eth2")
        assert rig.kernel.manage(eth2, "10.0.2.2")
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
        rig.kernel.manage(socket.if_nametoindex("eth2"), "10.0.2.2")
        await rig.resolved("10.0.2.2")
        subprocess.run(["ip", "neigh", "del", "10.0.2.2", "dev", "eth2"], check=True)
        await rig.until(lambda: rig.last(NeighbourEvent, state="gone"), "gone")
        await rig.resolved("10.0.2.2")

    in_r1(lab, tmp_path / "undo.json", body)


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
                lambda: rig.last(AddressEvent, address="10.0.2.1", added=True), "eth2 configured"
            )
            assert await rig.kernel.stop() == []

        asyncio.run(main())

    r1.call(body)
    assert state(r1) == before


def test_a_failing_consumer_loses_only_its_own_event(lab: Lab, tmp_path: Path) -> None:
    """An exception in on_event is logged; the other events of the datagram still come."""

    async def body(rig: Rig) -> None:
        def broken(event: Event) -> None:
            rig.events.append(event)
            raise RuntimeError("consumer")

        rig.consumer = broken
        subprocess.run(["ip", "link", "set", "eth1", "mtu", "1300"], check=True)
        subprocess.run(["ip", "link", "set", "eth2", "mtu", "1300"], check=True)
        await rig.until(lambda: rig.last(LinkEvent, name="eth2", mtu=1300), "eth2")
        assert rig.last(LinkEvent, name="eth1", mtu=1300)
        assert any("RuntimeError" in line for line in rig.logged)

    in_r1(lab, tmp_path / "undo.json", body)


def test_a_port_made_anew_is_configured_again(lab: Lab, tmp_path: Path) -> None:
    """Gone under the old ifindex; then new, up, with addresses, filter, settings, gateway."""

    async def body(rig: Rig) -> None:
        old = socket.if_nametoindex("eth2")
        rig.kernel.manage(old, "10.0.2.2")
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
                {a.address for a in rig.kernel.addresses() if a.ifindex == new.ifindex}
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
            lambda: rig.last(AddressEvent, address="10.9.0.1", ifname="late0"), "address"
        )
        await rig.until(lambda: rig.last(LinkEvent, name="late0", up=True), "up")

    in_r1(lab, tmp_path / "undo.json", body, [*PLAN, Port("late0", ("10.9.0.1/24",))])


def test_a_port_set_down_by_the_operator_stays_down(lab: Lab, tmp_path: Path) -> None:
    """And its IPv6 addresses, which the kernel drops then, are back when it is set up."""

    async def body(rig: Rig) -> None:
        subprocess.run(["ip", "link", "set", "eth1", "down"], check=True)
        await rig.until(
            lambda: rig.last(AddressEvent, address="2001:db8:1::1", added=False), "address lost"
        )
        seen = len(rig.events)
        subprocess.run(["ip", "link", "set", "eth2", "mtu", "1400"], check=True)
        await rig.until(lambda: rig.last(LinkEvent, name="eth2", mtu=1400), "an event after")
        assert rig.last(LinkEvent, name="eth1").up is False
        subprocess.run(["ip", "link", "set", "eth1", "up"], check=True)
        await rig.until(
            lambda: any(
                isinstance(e, AddressEvent) and e.address == "2001:db8:1::1" and e.added
                for e in rig.events[seen:]
            ),
            "address back",
        )

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


def test_a_reload_takes_back_what_the_plan_no_longer_names(lab: Lab, tmp_path: Path) -> None:
    """Addresses, MTU and settings of a dropped port are as before; others stay."""

    async def body(rig: Rig) -> None:
        await rig.kernel.configure([PLAN[0]])
        await rig.until(
            lambda: rig.last(AddressEvent, address="10.0.2.1", added=False), "address dropped"
        )
        await rig.until(lambda: rig.last(LinkEvent, name="eth2", mtu=1500), "mtu back")
        assert Path("/proc/sys/net/ipv6/conf/eth2/accept_ra").read_text() == "1\n"
        assert {a.address for a in rig.kernel.addresses() if a.ifname == "eth1"} >= {"10.0.1.1"}

    in_r1(lab, tmp_path / "undo.json", body, [PLAN[0], Port("eth2", ("10.0.2.1/24",), 1400)])


def test_an_overrun_of_the_real_socket_ends_in_the_true_picture(lab: Lab, tmp_path: Path) -> None:
    """More events than the socket holds while nobody reads: counted, and then made good."""

    async def body(rig: Rig) -> None:
        monitor = rig.kernel._monitor
        assert monitor is not None
        monitor._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lines = [f"addr add 10.8.{n // 250}.{n % 250 + 1}/32 dev eth1" for n in range(400)]
        text = "\n".join(lines)
        # Blocking on purpose: the loop must not read meanwhile.
        subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True)
        await rig.until(
            lambda: (
                len([a for a in rig.kernel.addresses() if a.address.startswith("10.8.")]) == 400
            ),
            "all addresses",
        )
        assert rig.kernel.counters()["overruns"] > 0
        subprocess.run(["ip", "addr", "flush", "dev", "eth1", "to", "10.8.0.0/16"], check=True)
        await rig.until(
            lambda: not any(a.address.startswith("10.8.") for a in rig.kernel.addresses()), "none"
        )
        told = [e for e in rig.events if isinstance(e, AddressEvent) and e.address[:5] == "10.8."]
        assert sum(1 if e.added else -1 for e in told) == 0

    in_r1(lab, tmp_path / "undo.json", body)


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
