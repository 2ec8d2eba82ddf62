"""packet_rewrite(): the sent frame is what scapy would have built from scratch."""

import random
from typing import Any

import pytest
from ribcage.shared._core import ffi, lib
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import checksum as scapy_checksum

from tests.csrc.packet.packet_lib import MAC_HERE, MAC_PEER, SOURCE_MAC, TARGET_MAC, Vnet, parse


def sent(l3: Packet) -> bytes:
    """The frame as it leaves: new MACs around this IP packet."""
    source, target = SOURCE_MAC.hex(":"), TARGET_MAC.hex(":")
    return bytes(Ether(src=source, dst=target) / l3)


def received(l3: Packet) -> bytes:
    return bytes(Ether(src=MAC_PEER, dst=MAC_HERE) / l3)


def ipv4(ttl: int, **fields: Any) -> Packet:
    return IP(src="10.0.0.1", dst="198.51.100.7", ttl=ttl, **fields) / UDP(dport=53) / b"payload"


@pytest.mark.parametrize("ttl", [1, 2, 64, 128, 255])
def test_forwarded_ipv4_equals_scapys(ttl: int) -> None:
    """MACs, TTL - 1 and the checksum are new, all other bytes the same."""
    for fields in (
        {},
        {"tos": 0xBB},
        {"id": 0xFFFF, "flags": "DF"},
        {"options": [Raw(b"\x94\4\0\0")]},
    ):
        vnet, frame = parse(received(ipv4(ttl, **fields))).rewrite()
        assert frame == sent(ipv4(ttl - 1, **fields))
        assert vnet == bytes(10)


def test_checksum_is_right_for_every_ttl_and_at_the_corners() -> None:
    """Incremental equals full for all TTLs, also where the sum passes 0x0000 and 0xffff."""
    seen = set()
    for ttl in range(1, 256):
        base = ipv4(ttl, id=0)
        # An identification that makes the checksum after the decrement exactly 0x0000.
        wanted = scapy_checksum(bytes(ipv4(ttl - 1, id=0, chksum=0))[:20])
        for number in (0, 1, wanted, (wanted + 0x0100) & 0xFFFF, 0xFFFF):
            base.id = number
            base.chksum = None
            _, frame = parse(received(base)).rewrite()
            expected = sent(ipv4(ttl - 1, id=number))
            assert frame == expected
            seen.add(expected[24:26])
    assert b"\0\0" in seen
    assert b"\xff\xff" not in seen


def test_checksum_received_as_minus_zero_leaves_as_a_valid_one() -> None:
    """0xffff in place of 0x0000 verifies, so it is accepted, and what leaves is canonical."""
    number = scapy_checksum(bytes(ipv4(64, id=0, chksum=0))[:20])
    assert bytes(ipv4(64, id=number))[10:12] == b"\0\0"
    _, frame = parse(received(ipv4(64, id=number, chksum=0xFFFF))).rewrite()
    assert frame == sent(ipv4(63, id=number))


def test_forwarded_ipv6_equals_scapys() -> None:
    """Hop limit - 1 and new MACs; traffic class, flow label and chain stay."""

    def packet(hops: int) -> Packet:
        header = IPv6(src="2001:db8::1", dst="2001:db8:1::9", hlim=hops, tc=0x6B, fl=0x12345)
        return header / IPv6ExtHdrDestOpt() / UDP(dport=9) / b"abc"

    for hops in (1, 2, 64, 255):
        _, frame = parse(received(packet(hops))).rewrite()
        assert frame == sent(packet(hops - 1))


def test_host_ports_packet_keeps_its_ttl() -> None:
    """What the host stack originates is forwarded as it is."""
    parsed = parse(received(ipv4(64)), host_port=True)
    assert parsed.rewrite(decrement=False)[1] == sent(ipv4(64))
    six = IPv6(src="2001:db8::1", dst="2001:db8:1::9", hlim=1) / UDP()
    assert parse(received(six), host_port=True).rewrite(decrement=False)[1] == sent(six)


def test_padding_stays_behind() -> None:
    """Ethernet padding of the receiving link is not sent on (it may hold anything)."""
    frame = received(ipv4(9)) + b"secret bytes"
    assert parse(frame).rewrite()[1] == sent(ipv4(8))


def test_offloads_pass_through() -> None:
    """GSO and partial checksum cross whole; DATA_VALID, a receiver's note, does not."""
    tcp = IP(src="10.0.0.1", dst="198.51.100.7") / TCP() / bytes(5000)
    gso = Vnet(flags=1, gso_type=1, hdr_len=54, gso_size=1448, csum_start=34, csum_offset=16)
    vnet, frame = parse(received(tcp), vnet=gso).rewrite()
    tcp.ttl -= 1
    assert vnet == gso.pack()
    assert frame == sent(tcp)
    assert parse(received(ipv4(9)), vnet=Vnet(flags=2)).rewrite()[0] == bytes(10)


def test_nothing_is_built_for_what_is_not_ip() -> None:
    """ARP and the like have no header to rewrite."""
    assert parse(bytes(Ether(type=0x0806) / Raw(bytes(28)))).rewrite()[0] == b""


def test_checksum_equals_scapys_for_every_length() -> None:
    """checksum_partial/finish equal an independent implementation for 0..1500 bytes."""
    rng = random.Random(5)
    data = rng.randbytes(1500)
    for length in range(1501):
        got = lib.checksum_finish(lib.checksum_partial(data, length, 0))
        expected = scapy_checksum(data[:length]) if length else 0xFFFF
        assert int.from_bytes(bytes(ffi.buffer(ffi.new("uint16_t *", got))), "big") == expected
