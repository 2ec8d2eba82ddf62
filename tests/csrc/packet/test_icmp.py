"""icmp_build(): ICMP errors byte for byte, and the packets one never answers."""

from typing import Any

import pytest
from ribcage.shared._core import ffi, lib
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6ND_Redirect,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    ICMPv6Unknown,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.csrc.packet.packet_lib import MAC_HERE, MAC_PEER, Parsed, Vnet, parse

V4_SOURCE, V6_SOURCE = "192.0.2.1", "2001:db8::fff"
KINDS = {
    lib.ICMP_ERROR_NO_ROUTE: ((3, 0), (1, 0)),
    lib.ICMP_ERROR_UNREACHABLE: ((3, 1), (1, 3)),
    lib.ICMP_ERROR_PROHIBITED: ((3, 13), (1, 1)),
    lib.ICMP_ERROR_TOO_BIG: ((3, 4), (2, 0)),
    lib.ICMP_ERROR_TIME_EXCEEDED: ((11, 0), (3, 0)),
}


def receive(l3: Packet, **how: Any) -> Parsed:
    return parse(bytes(Ether(src=MAC_PEER, dst=MAC_HERE) / l3), **how)


def v4(body: object, **fields: Any) -> Packet:
    return IP(**{"src": "10.0.0.1", "dst": "198.51.100.7", "ttl": 1, **fields}) / body


def v6(body: object, **fields: Any) -> Packet:
    return IPv6(**{"src": "2001:db8::1", "dst": "2001:db8:1::9", "hlim": 1, **fields}) / body


@pytest.mark.parametrize("size", [0, 1, 8, 511, 520, 521, 1400])
@pytest.mark.parametrize("what", KINDS)
def test_ipv4_error_equals_scapys(what: int, size: int) -> None:
    """Type, code, MTU, quote up to 576 bytes, precedence 6, TTL 64, right checksums."""
    offender = v4(
        UDP(sport=5, dport=6) / bytes(range(256))[: size % 256] / bytes(size - size % 256)
    )
    built = receive(offender).icmp(what, 1400)
    kind, code = KINDS[what][0]
    mtu = 1400 if what == lib.ICMP_ERROR_TOO_BIG else 0
    header = IP(src=V4_SOURCE, dst="10.0.0.1", tos=0xC0, ttl=64, id=IP(built).id, proto=1)
    body = ICMP(type=kind, code=code, unused=0) if not mtu else ICMP(
        type=kind, code=code, nexthopmtu=mtu)  # fmt: skip
    assert built == bytes(header / body / Raw(bytes(offender)[:548]))
    assert len(built) <= 576


@pytest.mark.parametrize("size", [0, 1, 8, 1183, 1184, 1185, 9000])
@pytest.mark.parametrize("what", KINDS)
def test_ipv6_error_equals_scapys(what: int, size: int) -> None:
    """Type, code, MTU, as much of the packet as fits 1280 bytes, right checksum."""
    offender = v6(UDP(sport=5, dport=6) / (b"\x5a" * size))
    built = receive(offender).icmp(what, 1400)
    kind, code = KINDS[what][1]
    header = IPv6(src=V6_SOURCE, dst="2001:db8::1", tc=0xC0, hlim=64, nh=58)
    body = {1: ICMPv6DestUnreach, 2: ICMPv6PacketTooBig, 3: ICMPv6TimeExceeded}[kind](code=code)
    if kind == 2:
        body.mtu = 1400
    assert built == bytes(header / body / Raw(bytes(offender)[:1232]))
    assert len(built) <= 1280


def test_mtu_beyond_16_bits_is_capped_for_ipv4() -> None:
    """RFC 1191 has 16 bits for it; 65535 is the most it can say."""
    built = receive(v4(UDP())).icmp(lib.ICMP_ERROR_TOO_BIG, 70000)
    assert built[26:28] == b"\xff\xff"
    built = receive(v6(UDP())).icmp(lib.ICMP_ERROR_TOO_BIG, 70000)
    assert built[44:48] == (70000).to_bytes(4, "big")


def test_unknown_kind_builds_nothing() -> None:
    """A number outside the enum is refused, not indexed with."""
    for what in (0, 6, 255, 2**32 - 1):
        assert receive(v4(UDP())).icmp(what) == b""


def test_room_bounds_the_error() -> None:
    """Less room means a shorter quote with right checksums, or none below 8 transport bytes."""
    parsed = receive(v4(UDP() / bytes(100)))
    short = parsed.icmp(lib.ICMP_ERROR_NO_ROUTE, room=56)
    assert len(short) == 56
    assert bytes(IP(short)) == short
    again = IP(short)
    del again[ICMP].chksum
    assert bytes(again) == short
    assert parsed.icmp(lib.ICMP_ERROR_NO_ROUTE, room=55) == b""


QUERIES = [0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43]


@pytest.mark.parametrize("kind", range(256))
def test_icmp_errors_are_never_answered(kind: int) -> None:
    """Only ICMP queries and replies may be answered; unknown types count as errors."""
    body = Raw(bytes([kind, 0, 0, 0]) + bytes(30))
    built = receive(v4(body, proto=1)).icmp(lib.ICMP_ERROR_TIME_EXCEEDED)
    assert (built != b"") == (kind in QUERIES)


@pytest.mark.parametrize(
    ("packet", "answered"),
    [
        (v6(ICMPv6EchoRequest()), True),
        (v6(ICMPv6Unknown(type=200)), True),
        (v6(ICMPv6Unknown(type=127)), False),
        (v6(ICMPv6DestUnreach()), False),
        (v6(ICMPv6PacketTooBig()), False),
        (v6(ICMPv6ND_Redirect()), False),
        (v6(IPv6ExtHdrDestOpt() / ICMPv6TimeExceeded()), False),
        (v6(IPv6ExtHdrDestOpt() / ICMPv6EchoRequest()), True),
        (v6(IPv6ExtHdrFragment(m=1) / UDP() / b"12345678"), True),
        (v6(IPv6ExtHdrFragment(offset=1, nh=17) / b"12345678"), False),
        (v6(Raw((b"\x3c\0" + bytes(6)) * 9), nh=60), False),
        (v6(Raw(b""), nh=59), True),
        (v6(Raw(b""), nh=58), False),
        (v4(TCP()), True),
        (v4(TCP() / b"x", flags="MF"), True),
        (v4(Raw(b"x" * 16), frag=3, proto=6), False),
        (v4(Raw(b""), proto=1), False),
        (v4(Raw(b""), proto=6), True),
        (v4(UDP(), dst="255.255.255.255"), False),
        (v4(UDP(), dst="224.0.0.9"), False),
        (v4(UDP(), dst="239.0.0.9"), False),
        (v4(UDP(), dst="169.254.0.9"), False),
        (v4(UDP(), src="169.254.0.9"), False),
        (v4(UDP(), chksum=7), False),
    ],
)
def test_only_packets_that_may_be_answered_are(packet: Packet, answered: bool) -> None:
    """RFC 1812 4.3.2.7 and RFC 4443 2.4 e, as a table."""
    parsed = receive(packet)
    assert bool(lib.icmp_may_answer(ffi.addressof(parsed.packet))) == answered
    for what in KINDS:
        assert (parsed.icmp(what, 1280) != b"") == answered


@pytest.mark.parametrize("source", ["0.0.0.0", "127.0.0.1", "224.1.1.1", "255.255.255.255"])
def test_source_that_is_no_single_host_is_not_answered_even_on_a_host_port(source: str) -> None:
    """A host port lets any source in; no error goes to an address that names nobody."""
    parsed = receive(v4(UDP(), src=source), host_port=True)
    assert parsed.outcome == "FORWARD"
    assert parsed.icmp(lib.ICMP_ERROR_NO_ROUTE) == b""
    six = receive(v6(UDP(), src="::"), host_port=True)
    assert six.icmp(lib.ICMP_ERROR_NO_ROUTE) == b""


@pytest.mark.parametrize("station", [1, 2])
def test_link_layer_broadcast_is_not_answered(station: int) -> None:
    """RFC 1122 3.2.2: a unicast packet in a broadcast frame draws no error."""
    assert receive(v4(UDP()), station=station).icmp(lib.ICMP_ERROR_NO_ROUTE) == b""


def test_truncated_frame_is_not_answered() -> None:
    """What was not captured can not be quoted with right checksums."""
    frame = bytes(Ether(src=MAC_PEER, dst=MAC_HERE) / v4(UDP() / bytes(900)))
    assert parse(frame[:128], wire=len(frame)).icmp(lib.ICMP_ERROR_TIME_EXCEEDED) == b""


def test_super_frame_is_quoted_as_its_first_segment() -> None:
    """The sender recognises its own segment, not a 30 kB packet it never put on a wire."""
    head = TCP(sport=1, dport=2, flags="PA", seq=7)
    super_frame = v4(head / bytes(30000), ttl=9, flags="DF")
    vnet = Vnet(flags=0, gso_type=1, hdr_len=54, gso_size=1448, csum_start=34, csum_offset=16)
    built = receive(super_frame, vnet=vnet).icmp(lib.ICMP_ERROR_TOO_BIG, 1400)
    first = v4(TCP(sport=1, dport=2, flags="A", seq=7) / bytes(1448), ttl=9, flags="DF")
    assert built[28:] == bytes(first)[:548]


def test_partial_checksum_is_finished_in_the_quote() -> None:
    """The quoted transport header carries the checksum the wire would have shown."""
    udp = v4(UDP(sport=1, dport=2) / b"hello", ttl=1)
    raw = bytearray(bytes(Ether(src=MAC_PEER, dst=MAC_HERE) / udp))
    pseudo = sum(int.from_bytes(raw[i : i + 2], "big") for i in range(26, 34, 2)) + 17 + 13
    raw[40:42] = ((pseudo & 0xFFFF) + (pseudo >> 16)).to_bytes(2, "big")
    parsed = parse(bytes(raw), vnet=Vnet(flags=1, csum_start=34, csum_offset=6))
    assert parsed.icmp(lib.ICMP_ERROR_TIME_EXCEEDED)[28:] == bytes(udp)
