"""A link of 1300 bytes in the middle: senders are told so, and transfers find their size.

h1 --1500-- r1 --1300-- h2 --1500-- n2
"""

import errno
import socket
import struct
from collections.abc import Iterator

import pytest

from ribcage.lab.probe.traffic import transfer
from ribcage.lab.topology.namespaces import available
from tests.netns.router_rig import INTERFACES, TCP_SLOTS, Rig, config, rig
from tests.netns.worker.frames import icmp_of

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]

IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14
IPV6_MTU_DISCOVER, IPV6_MTU = 23, 24
MTU = 1300


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The router sets eth2's MTU itself, from its configuration."""
    interfaces = INTERFACES.replace('name = "eth2"', f'name = "eth2"\nmtu = {MTU}')
    with rig(
        tmp_path_factory.mktemp("mtu"), config(interfaces=interfaces, rings=TCP_SLOTS)
    ) as made:
        made.h2.ip(f"link set eth0 mtu {MTU}")
        assert f"mtu {MTU} " in made.r1.run(["ip", "link", "show", "eth2"]).stdout
        yield made


def too_big(target: str, size: int) -> tuple[int, list[bytes]]:
    """Inside h1: a datagram that may not be fragmented; the path MTU then known, and the ICMP
    errors that came."""
    six = ":" in target
    family = socket.AF_INET6 if six else socket.AF_INET
    level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    errors: list[bytes] = []
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire,
        socket.socket(family, socket.SOCK_DGRAM) as sock,
    ):
        wire.bind(("eth0", 3))
        wire.settimeout(3.0)
        discover = IPV6_MTU_DISCOVER if six else IP_MTU_DISCOVER
        sock.setsockopt(level, discover, IP_PMTUDISC_DO)
        sock.connect((target, 9))
        sock.send(bytes(size))
        while not errors:
            data, address = wire.recvfrom(4096)
            icmp = icmp_of(data)
            if address[2] != 4 and icmp is not None and icmp[:2] in ((3, 4), (2, 0)):
                errors.append(data)
        known = 0
        for _ in range(300):  # the kernel takes it in right behind our copy
            known = sock.getsockopt(level, IPV6_MTU if six else IP_MTU)
            if known < 1500:
                break
            try:
                sock.send(b"?")
            except OSError as error:
                if error.errno not in (errno.EMSGSIZE, errno.ECONNREFUSED):
                    raise
        return known, errors


@pytest.mark.parametrize(
    ("target", "router", "at"),
    [("10.0.3.2", "10.0.1.1", 26), ("2001:db8:3::2", "2001:db8:1::1", 22)],
)
def test_a_packet_too_big_for_the_link_is_answered_with_its_mtu(
    built: Rig, target: str, router: str, at: int
) -> None:
    """Fragmentation needed (v4, DF) or packet too big (v6), from r1's address on h1's link, with
    MTU 1300, and counted; h1's kernel believes it."""
    before = built.drops().get("too-big", 0)
    known, errors = built.h1.call(too_big, target, 1400)
    icmp = icmp_of(errors[0])
    assert icmp is not None and icmp[2] & 0xFFFF == MTU
    family = socket.AF_INET6 if ":" in router else socket.AF_INET
    packed = socket.inet_pton(family, router)
    assert errors[0][at : at + len(packed)] == packed
    assert known == MTU
    built.counted("counted", lambda: built.drops().get("too-big", 0) == before + 1)
    built.balanced()


@pytest.mark.parametrize("target", ["10.0.3.2", "2001:db8:3::2"])
def test_tcp_completes_over_the_smaller_link(built: Rig, target: str) -> None:
    """Default offloads, so super-frames of segments that are too big: one error each is enough,
    and both directions arrive whole."""
    built.h1.ip("route flush cache")  # what the test before taught it
    built.h1.run(["ip", "-6", "route", "flush", "cache"], check=True)
    seen = transfer(built.h1, built.lab.nodes["n2"], target, "--mib", "4")
    assert seen["client"]["sent_sha256"] == seen["server"]["received_sha256"]
    assert seen["server"]["sent_sha256"] == seen["client"]["received_sha256"]
    built.balanced()


def test_a_packet_without_df_that_is_too_big_is_counted(built: Rig) -> None:
    """This version cuts no IPv4 packets: it says so with a reason of its own."""
    before = built.drops().get("fragment-needed", 0)
    built.h1.call(send_without_df, "10.0.3.2", 1400)
    built.counted("counted", lambda: built.drops().get("fragment-needed", 0) == before + 1)
    built.balanced()


def send_without_df(target: str, size: int) -> None:
    """Inside h1, with a header by hand: the kernel would cut it to the path MTU it learnt."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, 7, 0, 64, 17, 0)
        body = struct.pack("!HHHH", 4000, 9, size, 0).ljust(size, b".")
        packet = head + socket.inet_aton("10.0.1.2") + socket.inet_aton(target) + body
        raw.sendto(packet, (target, 0))
