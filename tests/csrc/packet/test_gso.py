"""Super-frames and partial checksums: sizes on the wire, and packets finished for a quote."""

import socket
from typing import Any

import pytest
from ribcage.shared._core import ffi, lib
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from tests.csrc.packet.packet_lib import MAC_HERE, MAC_PEER, Parsed, Vnet, parse

TCPV4, UFO, TCPV6, UDP_L4, ECN = 1, 3, 4, 5, 0x80
DATA = bytes(i * 31 % 251 for i in range(60000))


def pseudo(family: int, source: str, target: str, protocol: int, length: int) -> int:
    """The folded pseudo-header sum that a partial checksum field holds."""
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    words = socket.inet_pton(kind, source) + socket.inet_pton(kind, target)
    total = sum(int.from_bytes(words[i : i + 2], "big") for i in range(0, len(words), 2))
    total += protocol + length
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def tcp(family: int, size: int, flags: str = "PA", **fields: Any) -> Packet:
    head: Packet = IP(src="10.0.0.1", dst="198.51.100.7", id=77, flags="DF")
    if family == 6:
        head = IPv6(src="2001:db8::1", dst="2001:db8:1::9", fl=5)
    options = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]
    body = TCP(sport=4000, dport=80, seq=9, flags=flags, options=options, **fields)
    return head / body / DATA[:size]


def offloaded(packet: Packet, gso_type: int, gso_size: int, needs_checksum: bool = True) -> Parsed:
    """The frame as another Linux hands it over: pseudo-header sum in the field, a vnet header."""
    frame = bytearray(bytes(Ether(src=MAC_PEER, dst=MAC_HERE) / packet))
    kind = TCP if TCP in packet else UDP
    l4 = len(frame) - len(bytes(packet[kind]))
    offset = 16 if kind is TCP else 6
    family = 6 if IPv6 in packet else 4
    layer = packet[IPv6 if family == 6 else IP]
    if needs_checksum:
        protocol = 6 if kind is TCP else 17
        value = pseudo(family, layer.src, layer.dst, protocol, len(frame) - l4)
        frame[l4 + offset : l4 + offset + 2] = value.to_bytes(2, "big")
    vnet = Vnet(int(needs_checksum), gso_type, 14, gso_size, l4, offset)
    parsed = parse(bytes(frame), vnet=vnet if needs_checksum or gso_type else None)
    assert parsed.outcome == "FORWARD"
    return parsed


SIZES = [
    # packet, GSO type, gso_size, bytes of its largest packet on the wire
    (tcp(4, 100), 0, 0, 152),
    (tcp(4, 30000), TCPV4, 1448, 20 + 32 + 1448),
    (tcp(4, 30000), TCPV4 | ECN, 1448, 20 + 32 + 1448),
    (tcp(6, 30000), TCPV6, 1428, 40 + 32 + 1428),
    (tcp(4, 500), TCPV4, 1448, 552),
    (tcp(4, 30000), TCPV4, 0, 30052),
    (IP(src="10.0.0.1", dst="9.9.9.9") / UDP() / DATA[:9000], UDP_L4, 1000, 20 + 8 + 1000),
    (IP(src="10.0.0.1", dst="9.9.9.9") / UDP() / DATA[:9000], UFO, 1480, 20 + 1480),
    (IPv6(src="2001::1", dst="2002::1") / UDP() / DATA[:9000], UFO, 1448, 40 + 8 + 1448),
    (IPv6(src="2001::1", dst="2002::1") / IPv6ExtHdrDestOpt() / UDP() / DATA[:9000], UDP_L4, 1000,
     40 + 8 + 8 + 1000),
]  # fmt: skip


@pytest.mark.parametrize(("packet", "gso_type", "gso_size", "size"), SIZES)
def test_too_big_is_decided_by_what_the_wire_carries(
    packet: Packet, gso_type: int, gso_size: int, size: int
) -> None:
    """A super-frame fits when its segments do; the MTU itself still fits."""
    p = ffi.addressof(offloaded(packet, gso_type, gso_size, needs_checksum=gso_type != 0).packet)
    assert lib.packet_wire_size(p) == size
    assert not lib.packet_too_big(p, size)
    assert lib.packet_too_big(p, size - 1)


@pytest.mark.parametrize("size", [0, 1, 2, 7, 100, 101, 1400, 9001])
@pytest.mark.parametrize("family", [4, 6])
def test_partial_checksum_is_finished(family: int, size: int) -> None:
    """A frame whose sender left the checksum to the last hop gets scapy's."""
    packet = tcp(family, size)
    assert offloaded(packet, 0, 0).finish() == bytes(packet)
    head = IP(src="10.0.0.1", dst="9.9.9.9") if family == 4 else IPv6(src="2001::1", dst="2002::1")
    udp = head / UDP(sport=5) / DATA[:size]
    assert offloaded(udp, 0, 0).finish() == bytes(udp)


def test_finished_checksum_that_sums_to_zero_is_written_as_ffff() -> None:
    """UDP's 0 means "none" (RFC 768), so a sum of zero is sent as 0xffff."""
    rest = bytes(UDP(sport=0, dport=1, chksum=0) / b"ab")
    total = pseudo(4, "10.0.0.1", "9.9.9.9", 17, 10)
    total += sum(int.from_bytes(rest[i : i + 2], "big") for i in range(0, 10, 2))
    number = -total % 0xFFFF
    packet = IP(src="10.0.0.1", dst="9.9.9.9") / UDP(sport=number, dport=1) / b"ab"
    assert offloaded(packet, 0, 0).finish()[26:28] == b"\xff\xff"


@pytest.mark.parametrize("partial", [True, False])
@pytest.mark.parametrize(("family", "gso_type"), [(4, TCPV4), (6, TCPV6)])
def test_first_tcp_segment_is_as_on_the_wire(family: int, gso_type: int, partial: bool) -> None:
    """Lengths, checksums and flags (FIN, PSH only at the end, CWR at the start) of segment one."""
    super_frame = tcp(family, 30000, flags="FPAC")
    expected = tcp(family, 1400, flags="AC")
    parsed = offloaded(super_frame, gso_type | ECN, 1400, needs_checksum=partial)
    assert parsed.finish() == bytes(expected)


@pytest.mark.parametrize("family", [4, 6])
def test_first_udp_segment_is_as_on_the_wire(family: int) -> None:
    """UDP GSO: each segment is a datagram of its own."""
    head = IP(src="10.0.0.1", dst="9.9.9.9") if family == 4 else IPv6(src="2001::1", dst="2002::1")
    parsed = offloaded(head / UDP(sport=5) / DATA[:5000], UDP_L4, 999)
    assert parsed.finish() == bytes(head / UDP(sport=5) / DATA[:999])


def test_single_segment_keeps_its_flags() -> None:
    """A GSO mark on a packet that fits one segment changes nothing but the checksum."""
    packet = tcp(4, 300, flags="FPA")
    assert offloaded(packet, TCPV4, 1448).finish() == bytes(packet)


def test_segment_of_a_big_tcp_frame_gets_a_length() -> None:
    """Above 64 KiB the length field says 0; the first segment has a real one."""
    big = tcp(4, 60000)
    big[TCP].remove_payload()
    big = big / (DATA + DATA[:9000])
    big.len = 0
    raw = bytearray(bytes(Ether(src=MAC_PEER, dst=MAC_HERE) / big))
    value = pseudo(4, "10.0.0.1", "198.51.100.7", 6, len(raw) - 34)
    raw[50:52] = value.to_bytes(2, "big")
    parsed = parse(bytes(raw), vnet=Vnet(1, TCPV4, 66, 1448, 34, 16))
    assert parsed.finish() == bytes(tcp(4, 1448, flags="A"))


def test_cut_copy_is_a_prefix() -> None:
    """The quote's checksum covers the whole packet even when the quote does not."""
    parsed = offloaded(tcp(6, 30000), TCPV6, 1400)
    whole = parsed.finish()
    for room in (0, 1, 5, 39, 41, 57, 58, 100, 1232):
        assert parsed.finish(room) == whole[:room]


def test_udp_segment_without_checksum_stays_without() -> None:
    """IPv4 UDP may leave the checksum out (RFC 768); cutting does not invent one."""
    head = IP(src="10.0.0.1", dst="9.9.9.9")
    packet = head / UDP(sport=5, chksum=0) / DATA[:5000]
    parsed = offloaded(packet, UDP_L4, 999, needs_checksum=False)
    assert parsed.finish() == bytes(head / UDP(sport=5, chksum=0) / DATA[:999])


def test_datagram_to_be_fragmented_is_quoted_as_a_datagram() -> None:
    """UFO: the fragments were on no wire yet, and the sender knows the datagram."""
    packet = IP(src="10.0.0.1", dst="9.9.9.9") / UDP(sport=5) / DATA[:5000]
    assert offloaded(packet, UFO, 1480).finish() == bytes(packet)
