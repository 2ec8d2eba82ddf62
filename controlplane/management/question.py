"""The packet that `explain` is asked about: words or bytes in, a frame out. Pure.

    question = Question(dst, source, port, ttl=1)          an echo request, or another protocol
    question = frame_question(bytes, port)                 a frame as it would come in
    frame = make_frame(question)

A made frame is sound and addressed to the port; whatever else a packet can be comes as bytes.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from ribcage.shared._core import lib

from ribcage.controlplane.values.parse import parse_address, parse_number, usage
from ribcage.controlplane.values.topology import Topology
from ribcage.shared.addresses import Address
from ribcage.shared.memory.fib_records import Port

ETHERNET = 14
HEADER = {4: 20, 6: 40}
ETHERTYPE = {4: 0x0800, 6: 0x86DD}
ICMP = {4: 1, 6: 58}
TCP, UDP = 6, 17
TRANSPORT = {1: 8, 58: 8, TCP: 20, UDP: 8}  # bytes of a header without options
PROTOCOLS = {"icmp": 0, "tcp": TCP, "udp": UDP}  # icmp: that of the family
MAX_LENGTH = 65_000
MAX_FRAME = 30_000  # in hexadecimal it has to fit a request
VLAN_TAGS, VLAN_TAG = (0x8100, 0x88A8), 4  # ethertypes, bytes


@dataclass(frozen=True, slots=True)
class Question:
    """The packet: `length` bytes of IP. `protocol` None: an ICMP echo request. `frame`: the bytes
    from the Ethernet header on; then the words do not count. `vnet`: what the sender left to be
    done, a struct vnet_header (csrc/packet/packet.h); empty: nothing."""

    dst: Address
    source: Address
    port: Port | None = None
    ttl: int = 64
    length: int = 84
    df: bool = True
    protocol: int | None = None
    source_port: int = 0
    target_port: int = 0
    frame: bytes | None = None
    vnet: bytes = b""


def make_frame(question: Question) -> bytes:
    """An Ethernet frame with the packet; its MACs are nobody's, the port's word counts."""
    version = question.dst.version
    number = protocol_of(question)
    payload = max(question.length - HEADER[version], TRANSPORT.get(number, 0))
    if version == 4:
        total = HEADER[4] + payload
        head = struct.pack(
            ">BBHHHBBH4s4s",
            0x45,
            0,
            total & 0xFFFF,
            0,
            0x4000 if question.df else 0,
            question.ttl,
            number,
            0,
            question.source.packed,
            question.dst.packed,
        )
        head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    else:
        head = struct.pack(
            ">IHBB16s16s",
            6 << 28,
            payload & 0xFFFF,
            number,
            question.ttl,
            question.source.packed,
            question.dst.packed,
        )
    body = _transport(question, number, payload).ljust(payload, b"\0")
    return bytes(12) + struct.pack(">H", ETHERTYPE[version]) + head + body


def _transport(question: Question, number: int, payload: int) -> bytes:
    """Ports, and the type of an echo request: what workers look at."""
    if number == ICMP[question.dst.version]:
        return struct.pack(">BBHHH", 8 if question.dst.version == 4 else 128, 0, 0, 0, 0)
    ports = struct.pack(">HH", question.source_port, question.target_port)
    if number == UDP:
        return ports + struct.pack(">HH", payload & 0xFFFF, 0)
    if number == TCP:
        return ports + struct.pack(">IIBBHHH", 0, 0, 0x50, 0x02, 0, 0, 0)
    return b""


def protocol_of(question: Question) -> int:
    return ICMP[question.dst.version] if question.protocol is None else question.protocol


def checksum(data: bytes) -> int:
    """RFC 1071, over an even number of bytes."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def flow_hash(seed: int, question: Question) -> int:
    """The hash the workers would pick the path with."""
    number = protocol_of(question)
    ported = number in (TCP, UDP)
    return int(
        lib.flow_hash(
            seed & 0xFFFFFFFFFFFFFFFF,
            question.dst.version,
            question.source.packed.ljust(16, b"\0"),
            question.dst.packed.ljust(16, b"\0"),
            number,
            question.source_port if ported else 0,
            question.target_port if ported else 0,
        )
    )


def default_source(topology: Topology, port: Port | None, dst: Address) -> Address:
    """A source for a packet that was asked about without one: another host of the ingress."""
    if port is not None:
        for own in port.addresses:
            if own.version == dst.version and own.network.prefixlen < own.max_prefixlen - 1:
                other = own.network.network_address + 1
                return other if other != own.ip else other + 1
    return IPv4Address("192.0.2.1") if dst.version == 4 else IPv6Address("2001:db8::1")


# ---- a frame in bytes ----


def frame_question(frame: bytes, port: Port | None, vnet: bytes = b"") -> Question:
    """A question about a frame as it would come in on a port."""
    nowhere = IPv4Address(0)
    return Question(nowhere, nowhere, port, frame=frame, vnet=vnet)


def station_of(frame: bytes, port: Port | None) -> int:
    """Whom a frame is addressed to, as the kernel tells a packet socket (eth_type_trans)."""
    target = frame[:6]
    if target == b"\xff" * 6:
        return int(lib.STATION_BROADCAST)
    if target[:1] and target[0] & 1:
        return int(lib.STATION_MULTICAST)
    if port is None or target == port.mac:
        return int(lib.STATION_HOST)
    return int(lib.STATION_OTHER)


def received(frame: bytes) -> tuple[bytes, int]:
    """The frame as a packet socket sees it, without its VLAN tag, and the ID of that tag. What the
    kernel throws away before, a tag with less than two bytes behind it, is no bytes."""
    if int.from_bytes(frame[12:14], "big") not in VLAN_TAGS:
        return frame, 0
    if len(frame) < ETHERNET + VLAN_TAG + 2:
        return b"", 0
    return frame[:12] + frame[16:], int.from_bytes(frame[14:16], "big") & 0x0FFF


# ---- the request of a client ----


def question_of(params: Mapping[str, Any], topology: Topology) -> Question:
    """The parameters of the method `explain`, checked."""
    port = _port(params.get("in"), topology)
    if params.get("frame") is not None:
        return frame_question(_bytes(params["frame"]), port)
    dst = parse_address(params.get("dst"))
    text = params.get("source")
    source = parse_address(text) if text is not None else default_source(topology, port, dst)
    if source.version != dst.version:
        raise usage("E_ADDRESS", f"{source} and {dst} are of different families")
    number = _protocol(params.get("protocol"), dst.version)
    least = HEADER[dst.version] + TRANSPORT.get(number, 0)
    df = params.get("df")
    return Question(
        dst,
        source,
        port,
        parse_number(params, "ttl", 64, 0, 255),
        parse_number(params, "length", 84, least, MAX_LENGTH),
        True if df is None else bool(df),
        number,
        parse_number(params, "source_port", 0, 0, 65535),
        parse_number(params, "target_port", 0, 0, 65535),
        vnet=_vnet(parse_number(params, "gso", 0, 0, 65535), number, dst.version),
    )


def _vnet(gso: int, number: int, version: int) -> bytes:
    """Of a super-frame whose segments carry `gso` bytes, as the kernel hands it on."""
    if gso == 0:
        return b""
    kinds = {(TCP, 4): lib.VNET_GSO_TCPV4, (TCP, 6): lib.VNET_GSO_TCPV6}
    kinds |= {(UDP, 4): lib.VNET_GSO_UDP_L4, (UDP, 6): lib.VNET_GSO_UDP_L4}
    if (number, version) not in kinds:
        what = "only tcp and udp come in super-frames (gso)"
        raise usage("E_TYPE", what, "name its protocol: tcp or udp")
    start, check = ETHERNET + HEADER[version], 16 if number == TCP else 6
    head = start + TRANSPORT[number]
    return struct.pack(
        "=BBHHHH", lib.VNET_NEEDS_CSUM, kinds[number, version], head, gso, start, check
    )


def _port(name: object, topology: Topology) -> Port | None:
    if name is None:
        return None
    port = topology.by_name(str(name)[:32])
    if port is None:
        names = ", ".join(sorted(p.name for p in topology.ports.values())) or "none"
        raise usage("E_INTERFACE", f"no port {name!r:.40}", f"ports: {names}")
    return port


def _protocol(value: object, version: int) -> int:
    if value is None or value == "icmp":
        return ICMP[version]
    if isinstance(value, str) and value in PROTOCOLS:
        return PROTOCOLS[value]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255:
        return value
    raise usage(
        "E_TYPE", f"protocol is {value!r:.20}, allowed are {', '.join(PROTOCOLS)} and 0 to 255"
    )


def _bytes(text: object) -> bytes:
    if isinstance(text, str):
        try:
            frame = bytes.fromhex(text)
        except ValueError:
            frame = b""
        if ETHERNET <= len(frame) <= MAX_FRAME:
            return frame
    raise usage(
        "E_TYPE",
        f"frame is not {ETHERNET} to {MAX_FRAME} bytes in hexadecimal",
        "from the destination MAC on, for example as `tcpdump -xx` prints it",
    )
