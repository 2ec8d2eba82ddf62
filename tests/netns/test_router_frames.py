"""Frames nobody should send, put on the wire as they are: each is counted for what it is."""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ribcage.lab.topology.namespaces import available
from tests.netns.router_rig import Rig, config, rig
from tests.netns.worker.frames import checksum, patched, udp_frame

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]

# As root: once with root's own rights, once as a plain user would run it.
USERS = [True, False] if os.geteuid() == 0 else [True]
IP = 14  # where the IP header begins
Make = Callable[["Wire"], bytes]


class Wire:
    """Makes sound frames from h1 to r1, to be spoilt."""

    def __init__(self, built: Rig) -> None:
        self.ours, self.theirs = built.mac("h1", "eth0"), built.mac("r1", "eth1")

    def v4(self, source: str = "10.0.1.2", target: str = "10.0.2.2", ttl: int = 64) -> bytes:
        return udp_frame(self.ours, self.theirs, source, target, b"x" * 40, ttl)

    def v6(
        self, source: str = "2001:db8:1::2", target: str = "2001:db8:2::2", ttl: int = 64
    ) -> bytes:
        return udp_frame(self.ours, self.theirs, source, target, b"x" * 40, ttl)

    def header4(self, **words: int) -> bytes:
        """A sound frame with words of its IPv4 header changed, and the checksum right again."""
        frame = bytearray(self.v4())
        for name, value in words.items():
            at, form = {"version": (0, "!B"), "length": (2, "!H"), "flags": (6, "!H")}[name]
            struct.pack_into(form, frame, IP + at, value)
        struct.pack_into("!H", frame, IP + 10, 0)
        header = max(20, (frame[IP] & 15) * 4)
        struct.pack_into("!H", frame, IP + 10, checksum(bytes(frame[IP : IP + header])))
        return bytes(frame)

    def options(self, option: bytes) -> bytes:
        """An IPv4 header with these options (a multiple of four bytes)."""
        plain = self.v4()
        words = 5 + len(option) // 4
        head = bytearray(plain[IP : IP + 20] + option)
        head[0] = 0x40 | words
        struct.pack_into("!H", head, 2, len(plain) - IP + len(option))
        struct.pack_into("!H", head, 10, 0)
        struct.pack_into("!H", head, 10, checksum(bytes(head)))
        return plain[:IP] + bytes(head) + plain[IP + 20 :]

    def stamped(self, target_mac: str, frame: bytes) -> bytes:
        return bytes.fromhex(target_mac) + frame[6:]


# reason: how to make such a frame, in several ways
FRAMES: dict[str, list[Make]] = {
    "bad-version": [
        lambda w: w.header4(version=0x55),
        lambda w: patched(w.v6(), IP, 0x40),
        lambda w: patched(w.v4(), IP, 0),
    ],
    "bad-length": [
        lambda w: w.header4(version=0x44),  # a header of 16 bytes
        lambda w: w.header4(length=19),
        lambda w: w.header4(length=9000),  # more than arrived
        lambda w: w.v4()[: IP + 12],
        lambda w: w.v6()[: IP + 39],
        lambda w: patched(w.v6(), IP + 4, 0x40),
        lambda w: w.v4()[:IP],
    ],
    "bad-checksum": [
        lambda w: patched(w.v4(), IP + 10, w.v4()[IP + 10] ^ 1),
        lambda w: patched(w.v4(), IP + 8, 63),  # TTL changed by the way
    ],
    "bad-source": [
        lambda w: w.v4(source="127.0.0.1"),
        lambda w: w.v4(source="0.0.0.0"),
        lambda w: w.v4(source="224.0.0.1"),
        lambda w: w.v4(source="255.255.255.255"),
        lambda w: w.v4(source="240.0.0.9"),
        lambda w: w.v6(source="::1"),
        lambda w: w.v6(source="ff02::1"),
        lambda w: w.v6(source="::"),
        lambda w: w.v4(source="10.0.1.1"),  # the router's own, of this port and of another
        lambda w: w.v4(source="10.0.2.1"),
        lambda w: w.v4(source="10.0.2.1", target="10.0.1.1"),
        lambda w: w.v6(source="2001:db8:1::1"),
        lambda w: w.v6(source="2001:db8:2::1"),
    ],
    "bad-destination": [
        lambda w: w.v4(target="127.0.0.1"),
        lambda w: w.v4(target="0.1.2.3"),
        lambda w: w.v4(target="240.0.0.9"),
        lambda w: w.v6(target="::1"),
        lambda w: w.v6(target="::"),
    ],
    "multicast": [lambda w: w.v4(target="239.1.2.3"), lambda w: w.v6(target="ff0e::1")],
    "broadcast": [
        lambda w: w.v4(target="10.0.2.255"),  # directed, RFC 2644
        lambda w: w.stamped("ffffffffffff", w.v4()),  # RFC 1812 5.3.4
        lambda w: w.stamped("333300000001", w.v6()),
    ],
    "link-local": [lambda w: w.v6(source="fe80::9")],
    "options": [
        lambda w: w.options(bytes([131, 7, 4, 10, 0, 3, 2, 0])),  # loose source route
        lambda w: w.options(bytes([137, 7, 4, 10, 0, 3, 2, 0])),  # strict
        lambda w: w.options(bytes([7, 200, 0, 0])),  # longer than its header
    ],
    "ttl-expired": [lambda w: w.v4(ttl=1), lambda w: w.v4(ttl=0), lambda w: w.v6(ttl=1)],
    "no-route": [lambda w: w.v4(target="198.51.100.1"), lambda w: w.v6(target="2001:db8:ffff::1")],
}


@pytest.fixture(scope="module", params=USERS, ids=lambda user: "user" if user else "root")
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rig]:
    folder: Path = tmp_path_factory.mktemp("frames")
    with rig(folder, user=request.param) as made:
        yield made


def test_each_frame_is_dropped_for_its_reason_and_every_one_is_accounted_for(built: Rig) -> None:
    """Counted under the right reason, exactly; the balance holds; nobody died; packets cross."""
    wire = Wire(built)
    pids = {row["pid"] for row in built.router.processes() if row["role"] != "standby"}
    for reason, makers in FRAMES.items():
        before = built.drops()
        expected = {**before, reason: before.get(reason, 0) + len(makers) * 3}
        built.send([make(wire) for make in makers] * 3)
        total = sum(expected.values())
        built.counted(reason, lambda total=total: sum(built.drops().values()) >= total)
        assert built.drops() == expected, reason
    built.balanced()
    assert {row["pid"] for row in built.router.processes() if row["role"] != "standby"} == pids
    built.echo()


def test_random_bytes_kill_nobody_and_balance(built: Rig) -> None:
    """Sound frames with bytes flipped anywhere, and noise behind every ethertype."""
    import random

    random.seed(2)
    wire = Wire(built)
    frames = []
    for i in range(1500):
        frame = bytearray(wire.v6() if i % 2 else wire.v4())
        for _ in range(random.randint(1, 4)):
            frame[random.randrange(12, len(frame))] = random.randrange(256)
        frames.append(bytes(frame[: random.randint(14, len(frame))]))
    for kind in (0x0800, 0x86DD, 0x0806, 0x8100, 0x88CC):
        noise = [random.randbytes(random.randint(0, 1400)) for _ in range(40)]
        frames += [wire.theirs + wire.ours + struct.pack("!H", kind) + body for body in noise]
    pids = {row["pid"] for row in built.router.processes() if row["role"] == "worker"}
    before = sum(built.received())
    entering = sum(frame[12:14] in (b"\x08\x00", b"\x86\xdd") for frame in frames)
    built.send(frames)
    # Every one, those too that found the ring full: the kernel's count of them is read later.
    built.counted("frames received", lambda: sum(built.received()) >= before + entering)
    built.echo()
    built.balanced()
    assert {row["pid"] for row in built.router.processes() if row["role"] == "worker"} == pids


def test_frames_for_other_stations_do_not_enter(built: Rig) -> None:
    """Another station's MAC, a VLAN tag, an unknown ethertype: the port's filter keeps them out,
    so none of them is even counted."""
    wire = Wire(built)
    before, forwarded = built.drops(), built.stats()["totals"]["forwarded"]
    tagged = wire.v4()[:12] + b"\x81\x00\x00\x05" + wire.v4()[12:]
    odd = wire.v4()[:12] + b"\x88\xcc" + bytes(60)
    built.send([wire.stamped("020000000077", wire.v4()), tagged, odd] * 5)
    built.send([wire.v4(target="198.51.100.1")])  # behind them in the same queue
    expected = {**before, "no-route": before.get("no-route", 0) + 1}
    built.counted("the last one", lambda: built.drops() != before)
    assert built.drops() == expected
    assert built.balanced()["forwarded"] == forwarded


def test_a_frame_larger_than_its_ring_slot_is_dropped_as_truncated(tmp_path: Path) -> None:
    """Slots of 2 KiB and a packet of 8 KB over jumbo links."""
    text = config(rings="slot_bytes = 4096\nslots = 64")
    with rig(tmp_path, text) as small:
        for node, name in (("h1", "eth0"), ("r1", "eth1"), ("r1", "eth2"), ("h2", "eth0")):
            small.lab.nodes[node].ip(f"link set {name} mtu 9000")
        small.h1.call(send_large, 8000)
        small.counted("truncated", lambda: small.drops().get("truncated", 0) == 1)
        small.balanced()
        small.echo()
        for node, name in (("r1", "eth1"), ("r1", "eth2")):
            small.lab.nodes[node].ip(f"link set {name} mtu 1500")


def send_large(size: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(bytes(size), ("10.0.2.2", 9))
