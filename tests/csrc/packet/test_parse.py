"""packet_parse(): every frame gets the outcome it deserves, by name."""

import pytest
from ribcage.shared._core import lib
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import Dot1Q
from scapy.packet import Raw

from tests.csrc.packet.packet_lib import Vnet, ether, parse, v4, v6


def option(kind: int, body: bytes = b"\0") -> list[Raw]:
    size = len(body) + 2
    return [Raw(bytes([kind, size]) + body + b"\0" * (-size % 4))]


MALFORMED = {
    "empty": (b"", "BAD_LENGTH"),
    "runt": (v4()[:13], "BAD_LENGTH"),
    "ethernet header alone": (v4()[:14], "BAD_LENGTH"),
    "IPv4 header cut": (v4()[:33], "BAD_LENGTH"),
    "IPv4 options cut": (v4(options=option(148, b"\0\0"))[:36], "BAD_LENGTH"),
    "IPv4 payload cut": (v4()[:-1], "BAD_LENGTH"),
    "IPv4 with version 6": (v4(version=6), "BAD_VERSION"),
    "IPv4 with version 0": (v4(version=0), "BAD_VERSION"),
    "IHL 4": (v4(ihl=4), "BAD_LENGTH"),
    "IHL 0": (v4(ihl=0), "BAD_LENGTH"),
    "IHL beyond the packet": (v4(Raw(b""), ihl=15), "BAD_LENGTH"),
    "total length below header": (v4(len=19), "BAD_LENGTH"),
    "total length 0": (v4(len=0), "BAD_LENGTH"),
    "total length beyond the frame": (v4(len=45), "BAD_LENGTH"),
    "total length of a giant": (v4(len=65535), "BAD_LENGTH"),
    "checksum off by one": (v4(chksum=1), "BAD_CHECKSUM"),
    "checksum absent": (v4(chksum=0), "BAD_CHECKSUM"),
    "loose source route": (v4(options=option(131, b"\4\12\0\0\1")), "OPTIONS"),
    "strict source route": (v4(options=option(137, b"\4\12\0\0\1")), "OPTIONS"),
    "option of length 0": (v4(options=[Raw(b"\x07\0\0\0")]), "OPTIONS"),
    "option of length 1": (v4(options=[Raw(b"\x07\1\0\0")]), "OPTIONS"),
    "option beyond the header": (v4(options=[Raw(b"\x07\5\0\0")]), "OPTIONS"),
    "option without a length": (v4(options=[Raw(b"\1\1\1\7")]), "OPTIONS"),
    "IPv6 header cut": (v6()[:53], "BAD_LENGTH"),
    "IPv6 payload cut": (v6()[:-1], "BAD_LENGTH"),
    "IPv6 with version 4": (v6(version=4), "BAD_VERSION"),
    "payload length beyond the frame": (v6(plen=25), "BAD_LENGTH"),
    "hop-by-hop announced, nothing there": (v6(Raw(b""), nh=0, plen=0), "BAD_LENGTH"),
    "hop-by-hop longer than the packet": (v6(Raw(b"\x11\x09" + bytes(6)), nh=0), "BAD_LENGTH"),
    "VLAN tag in the frame": (ether(Dot1Q(vlan=5) / IP()), "UNKNOWN_ETHERTYPE"),
    "802.3 length instead of a type": (ether(Raw(bytes(40)), type=40), "UNKNOWN_ETHERTYPE"),
    "MPLS": (ether(Raw(bytes(40)), type=0x8847), "UNKNOWN_ETHERTYPE"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_frame_is_dropped_with_its_reason(name: str) -> None:
    """Each kind of damage has its own counted reason (RFC 1812 5.2.2, RFC 8200 3)."""
    frame, reason = MALFORMED[name]
    assert parse(frame).outcome == f"DROP:{reason}"


SOUND = {
    "IPv4": v4(),
    "IPv4 without payload": v4(Raw(b"")),
    "IPv4 with Ethernet padding": v4(Raw(b"x")) + bytes(25),
    "IPv4 with router alert": v4(options=option(148, b"\0\0")),
    "IPv4 with record route": v4(options=option(7, b"\4" + bytes(8))),
    "IPv4 options ended early": v4(options=[Raw(b"\0\x83\3\4")]),
    "TTL 0": v4(ttl=0),
    "TTL 1": v4(ttl=1),
    "unknown protocol": v4(Raw(b"x" * 8), proto=253),
    "giant": v4(Raw(bytes(9000 - 20))),
    "IPv6": v6(),
    "IPv6 without payload": v6(Raw(b""), nh=59),
    "hop limit 0": v6(hlim=0),
    "IPv6 with Ethernet padding": v6(Raw(b""), nh=59) + bytes(6),
    "hop-by-hop that is not first": v6(Raw(b"\0\0" + bytes(6) + b"\x11\x09" + bytes(6)), nh=60),
    "chain that ends nowhere": v6(Raw(b"\x3c\x09" + bytes(6)), nh=60),
    "chain of sixty headers": v6(Raw((b"\x3c\0" + bytes(6)) * 60), nh=60),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_frame_is_a_candidate(name: str) -> None:
    """What a router must carry is carried; TTL is checked after the lookup."""
    assert parse(SOUND[name]).outcome == "FORWARD"


@pytest.mark.parametrize("cut", [20, 34, 40, 50, 57])
def test_frame_cut_by_its_slot_is_truncated_not_malformed(cut: int) -> None:
    """Captured < wire is the router's own shortage and says so; it may still be for the host."""
    outcome = parse(v4()[:cut], wire=len(v4())).outcome
    assert outcome == ("DROP:TRUNCATED" if cut < 34 else "LOCAL:TRUNCATED")


def test_slot_that_cuts_only_padding_does_no_harm() -> None:
    """What counts is the IP packet."""
    assert parse(v4(), wire=len(v4()) + 4).outcome == "FORWARD"


def test_wire_length_is_never_below_the_capture() -> None:
    """A caller that knows no wire length may say 0."""
    parsed = parse(v4(), wire=0)
    assert (parsed.outcome, parsed.packet.wire_length) == ("FORWARD", len(v4()))


def test_record_describes_ipv4() -> None:
    """Every field of the record, from a packet with options, DSCP, ECN and DF."""
    frame = v4(TCP(sport=4660, dport=443, options=[("NOP", None)] * 4) / b"x",
               tos=0xBA, ttl=33, flags="DF", options=option(148, b"\0\0"))  # fmt: skip
    p = parse(frame + bytes(3)).packet
    assert (p.family, p.protocol, p.ttl, p.traffic_class) == (4, 6, 33, 0xBA)
    assert (p.l3, p.l4, p.l4_header, p.l3_length) == (14, 38, 24, 24 + 24 + 1)
    assert (p.source_port, p.target_port) == (4660, 443)
    assert (p.dont_fragment, p.fragment) == (1, lib.FRAGMENT_NONE)
    assert bytes(p.source) == bytes([10, 0, 0, 1]) + bytes(12)
    assert bytes(p.target) == bytes([198, 51, 100, 7]) + bytes(12)
    assert (p.send_length, p.length, p.wire_length) == (len(frame), len(frame) + 3, len(frame) + 3)


def test_record_describes_ipv6_behind_a_chain() -> None:
    """The chain of extension headers is walked to the transport header."""
    chain = (
        IPv6ExtHdrHopByHop(options=PadN(optdata=b"\0" * 12))
        / IPv6ExtHdrDestOpt(options=PadN(optdata=b"\0" * 4))
        / IPv6ExtHdrRouting(addresses=["2001:db8::5"], segleft=0, nh=51)
    )
    authentication = b"\x06\x04" + bytes(22)
    tcp = bytes(TCP(sport=1, dport=2))
    frame = v6(chain / Raw(authentication + tcp), tc=0x6B, hlim=7)
    p = parse(frame).packet
    assert (p.family, p.protocol, p.ttl, p.traffic_class) == (6, 6, 7, 0x6B)
    assert p.l4 == len(frame) - 20
    assert (p.source_port, p.target_port, p.l4_header) == (1, 2, 20)
    assert p.dont_fragment == 1


FRAGMENTS = [
    (v4(flags=0, frag=0), "NONE"),
    (v4(flags="DF"), "NONE"),
    (v4(flags="MF"), "FIRST"),
    (v4(flags="MF", frag=1), "LATER"),
    (v4(frag=8191), "LATER"),
    (v4(frag=4096), "LATER"),
    (v6(IPv6ExtHdrFragment(m=1, offset=0) / UDP() / b"12345678"), "FIRST"),
    (v6(IPv6ExtHdrFragment(m=0, offset=0) / UDP() / b"12345678"), "NONE"),
    (v6(IPv6ExtHdrFragment(m=1, offset=1, nh=17) / b"12345678"), "LATER"),
    (v6(IPv6ExtHdrFragment(m=0, offset=8191, nh=17) / b"12345678"), "LATER"),
]


@pytest.mark.parametrize(("frame", "kind"), FRAGMENTS)
def test_fragments_are_told_apart(frame: bytes, kind: str) -> None:
    """First and later fragments are marked; an atomic IPv6 fragment is a whole packet."""
    parsed = parse(frame)
    assert parsed.outcome == "FORWARD"
    assert parsed.packet.fragment == getattr(lib, f"FRAGMENT_{kind}")
    assert (parsed.packet.l4 == 0) == (kind == "LATER")


def test_all_fragments_hash_on_addresses_alone() -> None:
    """First, middle and last fragment take one path; a whole packet hashes on its ports too."""
    first = parse(v4(flags="MF")).packet.hash
    assert first == parse(v4(Raw(b"y" * 8), frag=5, proto=17)).packet.hash
    assert first == parse(v4(Raw(b"z" * 8), frag=9, flags="MF", proto=17)).packet.hash
    assert first != parse(v4()).packet.hash
    assert parse(v4(dst="198.51.100.8", flags="MF")).packet.hash != first
    six = parse(v6(IPv6ExtHdrFragment(m=1) / UDP() / b"12345678")).packet.hash
    assert six == parse(v6(IPv6ExtHdrFragment(offset=9, nh=17) / b"12345678")).packet.hash
    # Only the first fragment knows what follows the chain: the protocol must not count either.
    chained = IPv6ExtHdrFragment(m=1) / IPv6ExtHdrDestOpt() / UDP()
    assert six == parse(v6(chained)).packet.hash
    assert six == parse(v6(IPv6ExtHdrFragment(offset=9, nh=60) / b"12345678")).packet.hash


def test_flow_keeps_its_hash_whatever_the_packet_carries() -> None:
    """TTL, DSCP, options, length and extension headers do not move a flow."""
    udp = UDP(sport=7, dport=8)
    plain = parse(v4(udp / b"a")).packet.hash
    other = v4(udp / b"bbbb", ttl=3, tos=0xB8, options=option(148, b"\0\0"))
    assert parse(other).packet.hash == plain
    assert parse(v6(udp)).packet.hash == parse(v6(IPv6ExtHdrDestOpt() / udp, hlim=9)).packet.hash
    assert parse(v4(udp), seed=1).packet.hash != plain


def test_hash_is_flow_hash_of_the_fields() -> None:
    """`explain` computes the same number from words alone."""
    p = parse(v4(TCP(sport=5, dport=6))).packet
    assert p.hash == lib.flow_hash(0x5EED, 4, p.source, p.target, 6, 5, 6)
    p = parse(v4(ICMP())).packet
    assert p.hash == lib.flow_hash(0x5EED, 4, p.source, p.target, 1, 0, 0)
    p = parse(v6(ICMPv6EchoRequest())).packet
    assert p.hash == lib.flow_hash(0x5EED, 6, p.source, p.target, 58, 0, 0)


def test_super_frame_above_64_kib_has_length_zero_and_passes() -> None:
    """BIG TCP: the length field says 0, the frame says how long it is."""
    gso = Vnet(flags=1, gso_type=1, hdr_len=54, gso_size=1448, csum_start=34, csum_offset=16)
    frame = v4(TCP() / bytes(69000), len=0)
    parsed = parse(frame, vnet=gso)
    assert parsed.outcome == "FORWARD"
    assert parsed.packet.l3_length == 69000 + 40
    assert parse(frame).outcome == "DROP:BAD_LENGTH"
    gso6 = Vnet(flags=1, gso_type=4, hdr_len=74, gso_size=1428, csum_start=54, csum_offset=16)
    assert parse(v6(TCP() / bytes(69000), plen=0), vnet=gso6).packet.l3_length == 69000 + 60
