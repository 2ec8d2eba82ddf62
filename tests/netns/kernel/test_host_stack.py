"""The host stack beside the router: transit frames kept out, its own traffic in and out.

The demo topology; Kernel runs in r1 without workers, so a packet socket plays the worker.
"""

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ribcage.controlplane.kernel.changes.undo import undo
from ribcage.controlplane.kernel.kernel import Kernel
from ribcage.lab.topology.namespaces import Lab, LabError, available
from ribcage.shared.plan import InterfacePlan
from tests.netns.kernel.rig import PLAN

pytestmark = [pytest.mark.netns, pytest.mark.skipif(not available()[0], reason=available()[1])]

ETH_P_ALL = 3
OWN = ["10.0.1.1", "10.0.2.1", "2001:db8:1::1", "2001:db8:2::1"]


def with_kernel(lab: Lab, undo_file: Path, body: Callable[[Kernel], Any]) -> Any:
    """`body(kernel)` in r1 with a `Kernel` that is up; it is stopped after."""

    async def main() -> Any:
        kernel = Kernel(instance="r1", undo_file=undo_file, on_event=lambda _: None)
        assert await kernel.start() == []
        assert await kernel.configure(PLAN) == []
        await asyncio.sleep(0)  # the first repair pass
        result = await asyncio.to_thread(body, kernel)
        assert await kernel.stop() == []
        return result

    return lab.nodes["r1"].call(lambda: asyncio.run(main()))


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def tap(ifname: str) -> socket.socket:
    """A packet socket on one interface, as a worker has."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    made.bind((ifname, ETH_P_ALL))
    made.settimeout(5)
    return made


def wait_for(link: socket.socket, wanted: Callable[[bytes], bool]) -> bytes:
    """The first frame that is wanted; TimeoutError after five seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        frame = link.recv(65536)
        if wanted(frame):
            return frame
    raise TimeoutError("no such frame")


def sends(address: str, count: int = 20, payload: bytes = b"transit!") -> None:
    with socket.socket(family(address), socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(payload, (address, 9))


def received() -> tuple[int, int]:
    """Packets that the kernel's IPv4 and IPv6 input has seen in this namespace."""
    lines = Path("/proc/net/snmp").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("Ip:"))
    v4 = int(values[names.index("InReceives")])
    v6 = next(
        int(line.split()[1])
        for line in Path("/proc/net/snmp6").read_text().splitlines()
        if line.startswith("Ip6InReceives")
    )
    return v4, v6


def reach(address: str) -> bytes:
    """TCP to port 7 of `address`."""
    with socket.create_connection((address, 7), timeout=5) as stream:
        return stream.recv(16)


SERVER = (
    "import socket; s = socket.create_server(('::', 7), family=socket.AF_INET6,"
    "dualstack_ipv6=True); print('listening', flush=True)\n"
    "while True: s.accept()[0].sendall(b'here')"
)


def serve(lab: Lab, name: str) -> subprocess.Popen[bytes]:
    """A TCP server on port 7 of a node, listening when this returns."""
    server = lab.nodes[name].popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"listening\n"
    server.stdout.close()
    return server


@pytest.mark.parametrize(("address", "which"), [("10.0.3.2", 0), ("2001:db8:3::2", 1)])
def test_transit_is_seen_by_the_worker_and_not_by_the_kernel(
    lab: Lab, tmp_path: Path, address: str, which: int
) -> None:
    """The packet socket taps before the filter; the kernel's input counter stands still."""

    def body(_: Kernel) -> tuple[int, int]:
        with tap("eth1") as link:
            lab.nodes["h1"].call(sends, address, 1, b"first")  # neighbours are resolved now
            wait_for(link, lambda frame: frame.endswith(b"first"))
            before = received()[which]
            lab.nodes["h1"].call(sends, address)
            for _ in range(20):
                wait_for(link, lambda frame: frame.endswith(b"transit!"))
            filtered = received()[which] - before
            subprocess.run(["nft", "flush", "ruleset"], check=True)
            before = received()[which]
            lab.nodes["h1"].call(sends, address)
            for _ in range(20):
                wait_for(link, lambda frame: frame.endswith(b"transit!"))
            return filtered, received()[which] - before

    filtered, unfiltered = with_kernel(lab, tmp_path / "undo.json", body)
    assert filtered < 10  # neighbour discovery may pass meanwhile
    assert unfiltered >= 20  # and the counter would have told


def test_the_kernels_own_addresses_work_through_the_filter(lab: Lab, tmp_path: Path) -> None:
    """TCP from h1 to every address of r1, also to the far port's, and to one added later."""

    def body(_: Kernel) -> list[bytes]:
        serve(lab, "r1")
        answers = [lab.nodes["h1"].call(reach, address) for address in OWN]
        subprocess.run(["ip", "addr", "add", "192.0.2.1/32", "dev", "lo"], check=True)
        answers.append(lab.nodes["h1"].call(reach, "192.0.2.1"))
        subprocess.run(["ip", "addr", "del", "192.0.2.1/32", "dev", "lo"], check=True)
        return answers

    assert with_kernel(lab, tmp_path / "undo.json", body) == [b"here"] * 5


def test_a_killed_router_does_not_cut_the_host_off(lab: Lab, tmp_path: Path) -> None:
    """kill -9 and no undo: both neighbours still reach every address of r1, new ones too."""

    def die(_: Kernel) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(LabError, match="died"):
        with_kernel(lab, tmp_path / "undo.json", die)
    assert "ribcage_r1" in lab.nodes["r1"].run(["nft", "list", "ruleset"]).stdout
    serve(lab, "r1")
    lab.nodes["r1"].ip("addr add 10.0.1.200/24 dev eth1")
    for host in ("h1", "h2"):
        for address in [*OWN, "10.0.1.200"]:
            assert lab.nodes[host].call(reach, address) == b"here"
    assert lab.nodes["r1"].call(undo, tmp_path / "undo.json") == []


@pytest.mark.parametrize(
    ("far", "near", "source"),
    [("10.0.3.2", "10.0.1.2", "10.0.1.1"), ("2001:db8:3::2", "2001:db8:1::2", "2001:db8:1::1")],
)
def test_off_link_packets_of_the_kernel_reach_the_host_port(
    lab: Lab, tmp_path: Path, far: str, near: str, source: str
) -> None:
    """With the first own address as source and the port's MAC as target; on-link ones do not."""

    def body(kernel: Kernel) -> tuple[bytes, bool]:
        port = kernel.host_port
        assert port is not None
        deadline = time.monotonic() + 5
        shown = ""
        while f"src {source}" not in shown and time.monotonic() < deadline:
            argv = ["ip", "route", "get", far]
            shown = subprocess.run(argv, capture_output=True, text=True).stdout
            shown = shown.replace(f"from :: via {far}", "")
        with tap(port.name) as link:
            sends(near, 1, b"on-link")
            sends(far, 1, b"off-link")
            seen = []
            frame = wait_for(link, lambda f: seen.append(f) or f.endswith(b"off-link"))
            return frame, any(f.endswith(b"on-link") for f in seen) or frame[:6] != port.mac

    frame, wrong = with_kernel(lab, tmp_path / "undo.json", body)
    assert not wrong
    packed = socket.inet_pton(family(source), source)
    start = 14 + (12 if len(packed) == 4 else 8)
    assert frame[start : start + len(packed)] == packed


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source: str, target: str, protocol: int, payload: bytes) -> bytes:
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0)
    header += socket.inet_aton(source) + socket.inet_aton(target)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def test_an_echo_from_a_far_network_is_answered_through_the_host_port(
    lab: Lab, tmp_path: Path
) -> None:
    """The source is one that the kernel has no route to but the last resort (rp_filter off)."""

    def ask() -> None:
        echo = struct.pack("!BBHHH", 8, 0, 0, 7, 1) + b"are you there   "
        echo = echo[:2] + struct.pack("!H", checksum(echo)) + echo[4:]
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            raw.sendto(ipv4("198.51.100.9", "10.0.1.1", 1, echo), ("10.0.1.1", 0))

    def body(kernel: Kernel) -> bytes:
        assert kernel.host_port is not None
        with tap(kernel.host_port.name) as link:
            lab.nodes["h1"].call(ask)
            return wait_for(link, lambda f: f.endswith(b"are you there   "))

    frame = with_kernel(lab, tmp_path / "undo.json", body)
    assert frame[30:34] == socket.inet_aton("198.51.100.9")
    assert frame[34] == 0  # echo reply


def test_what_the_workers_hand_to_the_host_port_reaches_local_sockets(
    lab: Lab, tmp_path: Path
) -> None:
    """An ICMP error made for a packet of the host comes from one of its own addresses."""

    def body(kernel: Kernel) -> bytes:
        port = kernel.host_port
        assert port is not None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as local, tap(port.name) as link:
            local.bind(("10.0.1.1", 5000))
            local.settimeout(5)
            datagram = struct.pack("!HHHH", 9, 5000, 8 + 5, 0) + b"error"
            packet = ipv4("10.0.2.1", "10.0.1.1", 17, datagram)
            link.send(port.mac + port.mac + b"\x08\x00" + packet)
            return local.recv(64)

    assert with_kernel(lab, tmp_path / "undo.json", body) == b"error"


def test_a_thousand_destinations_are_one_neighbour(lab: Lab, tmp_path: Path) -> None:
    """Without a gateway the kernel would keep an entry for each host it answers."""

    def body(_: Kernel) -> list[str]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for n in range(1000):
                sender.sendto(b"x", (f"198.18.{n >> 8}.{n & 255}", 9))
        argv = ["ip", "neigh", "show", "dev", "rc-host", "nud", "noarp"]
        shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return [line.split()[0] for line in shown.splitlines() if ":" not in line.split()[0]]

    assert with_kernel(lab, tmp_path / "undo.json", body) == ["169.254.254.254"]


def test_the_host_port_is_as_large_as_the_largest_port(lab: Lab, tmp_path: Path) -> None:
    """And says so in `host_port`."""
    lab.nodes["h1"].ip("link set eth0 mtu 9000")

    async def main() -> list[bool]:
        kernel = Kernel(instance="r1", undo_file=tmp_path / "undo.json", on_event=lambda _: None)
        assert await kernel.start() == []
        assert (
            await kernel.configure([InterfacePlan("eth1", ("10.0.1.1/24",), 9000), PLAN[1]]) == []
        )
        deadline = time.monotonic() + 5
        while kernel.host_port is None or kernel.host_port.mtu != 9000:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        argv = ["ip", "-o", "link", "show", "type", "veth"]
        lines = subprocess.run(argv, capture_output=True, text=True).stdout.splitlines()
        assert await kernel.stop() == []
        return [" mtu 9000 " in line for line in lines if "rc-" in line]

    assert lab.nodes["r1"].call(lambda: asyncio.run(main())) == [True, True]
