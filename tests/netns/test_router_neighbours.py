"""Neighbours that never answer: packets wait for them, within bounds, and the sender is told."""

import socket
import struct
from collections.abc import Iterator

import pytest

from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.namespaces import available
from tests.netns.router_rig import FLOWS, Rig, rig
from tests.netns.worker.frames import icmp_of, udp_frame

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]

HOLD = "[hold]\ntimeout = '1500ms'\npackets = 32\nper_neighbour = 4\n"
ICMP = "[icmp]\nrate = 10000\nburst = 1000\nper_source = 1000\n"
WORKERS = 2


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("neighbours"), more=HOLD + ICMP) as made:
        yield made


def ask_and_listen(name: str, frames: list[bytes], wanted: int) -> list[bytes]:
    """Inside h1: send frames, return the ICMP errors that come back, `wanted` or until 5 s."""
    found = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as sock:
        sock.bind((name, 3))
        sock.settimeout(5.0)
        for frame in frames:
            sock.send(frame)
        try:
            while len(found) < wanted:
                data, address = sock.recvfrom(4096)
                if address[2] != 4 and is_error(data):  # PACKET_OUTGOING is 4
                    found.append(data)
        except TimeoutError:
            pass
    return found


def is_error(frame: bytes) -> bool:
    icmp = icmp_of(frame)
    if icmp is None:
        return False
    return icmp[0] == 3 if frame[12:14] == b"\x08\x00" else icmp[0] < 128


@pytest.mark.parametrize(
    ("source", "target", "router", "error", "quoted"),
    [
        ("10.0.1.2", "10.0.2.77", "10.0.1.1", (3, 1), 42),
        ("2001:db8:1::2", "2001:db8:2::77", "2001:db8:1::1", (1, 3), 62),
    ],
)
def test_a_silent_neighbour_ends_in_host_unreachable(
    built: Rig, source: str, target: str, router: str, error: tuple[int, int], quoted: int
) -> None:
    """Held for the timeout, then dropped as no-neighbour; h1 gets host unreachable (v6: address
    unreachable) from r1's address on its own link, quoting the packet with its TTL as it came."""
    before = built.drops().get("no-neighbour", 0)
    ours, theirs = built.mac("h1", "eth0"), built.mac("r1", "eth1")
    frames = [udp_frame(ours, theirs, source, target, b"anybody?", port=4000)] * 3
    errors = built.h1.call(ask_and_listen, "eth0", frames, 3)
    built.counted("dropped", lambda: built.drops().get("no-neighbour", 0) == before + 3)
    assert len(errors) == 3
    for frame in errors:
        icmp = icmp_of(frame)
        assert icmp is not None and icmp[:2] == error
        family = socket.AF_INET6 if ":" in router else socket.AF_INET
        at = 22 if ":" in router else 26
        packed = socket.inet_pton(family, router)
        assert frame[at : at + len(packed)] == packed
        assert frame[quoted:][: len(frames[0]) - 14] == frames[0][14:]
    assert built.balanced()["held"] == 0


def test_the_hold_queue_is_bounded_for_one_and_for_all(built: Rig) -> None:
    """More packets than per_neighbour, and more neighbours than there is room: never more held
    than the bounds; the rest are counted drops, at once; all of it balances in the end."""
    ours, theirs = built.mac("h1", "eth0"), built.mac("r1", "eth1")

    def to(host: int, port: int = 4000) -> bytes:
        return udp_frame(ours, theirs, "10.0.1.2", f"10.0.2.{host}", b"?", port=port)

    full = built.drops().get("neighbour-queue-full", 0)
    lost = built.drops().get("no-neighbour", 0)
    built.send([to(80)] * 20)  # one flow, so one worker
    built.counted("full", lambda: built.drops().get("neighbour-queue-full", 0) == full + 16)
    assert built.balanced()["held"] <= 4
    built.counted("given up", lambda: built.drops().get("no-neighbour", 0) == lost + 4)
    before = built.drops()

    def gone() -> dict[str, int]:
        after = built.stats()["totals"]["drops"]
        return {
            name: after.get(name, 0) - before.get(name, 0)
            for name in ("neighbour-queue-full", "no-neighbour")
        }

    def all_are_held_or_gone() -> bool:
        held = built.stats()["totals"]["held"]
        assert held <= 32 * WORKERS  # at each look
        return held + sum(gone().values()) == 300

    built.send([to(host, port) for host in range(100, 200) for port in (5000, 5001, 5002)])
    built.counted("300 packets held or dropped", all_are_held_or_gone)
    built.counted("over", lambda: built.stats()["totals"]["held"] == 0)
    assert sum(gone().values()) == 300, gone()
    assert gone()["no-neighbour"] <= 32 * WORKERS
    built.balanced()


def test_a_scan_of_silent_hosts_costs_the_others_nothing(built: Rig) -> None:
    """A host that comes up is reached with its first packet, and streams lose nothing, while
    somebody scans the network."""
    ours, theirs = built.mac("h1", "eth0"), built.mac("r1", "eth1")
    scan = [
        udp_frame(ours, theirs, "10.0.1.2", f"10.0.2.{host}", b"?", port=port)
        for port in (6000, 6001)
        for host in range(100, 250)
    ]
    built.h2.ip("addr add 10.0.2.9/24 dev eth0")
    with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
        built.send(scan)
        built.echo("10.0.2.9", 1)
        built.send(scan)
        stream.carried(0.2)
    built.nothing_lost(stream.result)
    built.counted("given up", lambda: built.stats()["totals"]["held"] == 0)
    built.balanced()


def test_a_neighbour_that_changes_its_address_is_followed(built: Rig) -> None:
    """h2's MAC changes: after its gratuitous ARP the stream goes to the new one."""
    mac = built.mac("h2", "eth0")
    new = bytes([2, 0, 0, 0, 7, 7])
    built.h2.ip(f"link set eth0 address {new.hex(':')}")
    built.h2.call(announce, "eth0", new, "10.0.2.2")
    built.counted("known", lambda: new.hex(":") in str(built.router.call("neighbour.list")))
    built.echo()
    built.h2.ip(f"link set eth0 address {mac.hex(':')}")
    built.h2.call(announce, "eth0", mac, "10.0.2.2")
    built.counted("again", lambda: mac.hex(":") in str(built.router.call("neighbour.list")))
    built.echo()


def announce(name: str, mac: bytes, address: str) -> None:
    """Inside a node: a gratuitous ARP reply."""
    own = mac + socket.inet_aton(address)
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + own + own
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((name, 0))
        sock.send(b"\xff" * 6 + mac + b"\x08\x06" + body)
