"""What `explain` tells about a frame, as what a wire and counters can show.

    told = tell(view, port, vnet, frame)
    told.outcome   ("drop", "ttl-expired"), ("forward", None), ...
    told.sent      (egress port, the frame that leaves), or None
    told.error     the ICMP error, with what becomes of it

Read from the answer that users get: its verdict, reason and stages. What the frames then look like
is worked out here, from the RFCs, without the router's code.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from ribcage.controlplane.management.decision import View
from ribcage.controlplane.management.explain import explain
from ribcage.controlplane.management.question import frame_question
from ribcage.shared.memory.fib_records import Port
from tests.netns.worker.frames import checksum

TYPES = {  # RFC 792, RFC 1812 5.2.7.1; RFC 4443 3
    4: {"time-exceeded": (11, 0), "net-unreachable": (3, 0), "host-unreachable": (3, 1),
        "administratively-prohibited": (3, 13), "fragmentation-needed": (3, 4)},
    6: {"time-exceeded": (3, 0), "no-route": (1, 0), "address-unreachable": (1, 3),
        "administratively-prohibited": (1, 1), "packet-too-big": (2, 0)},
}  # fmt: skip
ROOM = {4: 576 - 28, 6: 1280 - 48}  # bytes quoted
OUT = re.compile(r"out of (\S+) from (\S+) to (\S+)")
ERROR = re.compile(r"(\S+) from (\S+) to (\S+) (out of|waits for a neighbour on) ([^,]+), subject")
TAKES = re.compile(r"takes (\d+)")
LOST = ("finds no way", "no port has an")


@dataclass(frozen=True, slots=True)
class Error:
    """An ICMP error. `fate`: sent, held (for a neighbour), lost or forbidden."""

    fate: str
    port: str = ""
    source: bytes = b""
    target: bytes = b""
    message: bytes = b""  # type, code and the four bytes behind the checksum
    quoted: bytes = b""

    def seen_as(self) -> tuple[bytes, ...]:
        return (self.source, self.target, self.message, self.quoted)


@dataclass(frozen=True, slots=True)
class Told:
    ingress: Port
    vnet: bytes
    frame: bytes
    outcome: tuple[str, str | None]
    prefix: str | None
    sent: tuple[str, bytes] | None
    error: Error | None


def tell(view: View, port: Port, vnet: bytes, frame: bytes) -> Told:
    answer = explain(view, frame_question(frame, port, vnet))
    stages = {one["stage"]: one for one in answer["stages"]}
    lookup = stages.get("lookup", {}).get("detail", "")
    prefix = re.match(r"\S+/\d+", lookup)
    sent = None
    if answer["verdict"] == "forward":
        dev, source, target = OUT.match(stages["send"]["detail"]).groups()
        sent = dev, leaving(frame, port, mac(source), mac(target))
    return Told(
        port,
        vnet,
        frame,
        (answer["verdict"], answer.get("reason")),
        prefix.group() if prefix else None,
        sent,
        error_of(stages, vnet, frame),
    )


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def untagged(frame: bytes) -> bytes:
    """As it is received: the kernel takes a VLAN tag off."""
    return frame[:12] + frame[16:] if frame[12:14] in (b"\x81\0", b"\x88\xa8") else frame


def packet_of(frame: bytes) -> bytes:
    """The IP packet without padding."""
    packet = untagged(frame)[14:]
    if packet[0] >> 4 == 4:
        return packet[: int.from_bytes(packet[2:4], "big")]
    return packet[: 40 + int.from_bytes(packet[4:6], "big")]


def leaving(frame: bytes, ingress: Port, source: bytes, target: bytes) -> bytes:
    """RFC 1812 5.3.1: one less to live, and a checksum that is right; nothing else changes."""
    packet = bytearray(packet_of(frame))
    if packet[0] >> 4 == 6:
        packet[7] -= not ingress.host
    elif not ingress.host:
        packet[8] -= 1
        packet[10:12] = b"\0\0"
        packet[10:12] = checksum(bytes(packet[: (packet[0] & 15) * 4])).to_bytes(2, "big")
    return target + source + untagged(frame)[12:14] + bytes(packet)


def quotable(vnet: bytes, frame: bytes) -> bytes:
    """The packet as the wire would show it: of a super-frame the first segment, with its own length
    and checksums, and without the flags that the last one has."""
    packet = packet_of(frame)
    _, kind, _, size, start, check = struct.unpack("=BBHHHH", vnet)
    if kind == 0:
        return packet
    tcp, head = kind in (1, 4), start - 14
    segment = bytearray(packet[: head + (20 if tcp else 8) + size])
    length = len(segment) - head
    if tcp:
        segment[head + 13] &= 0xF6
    else:
        segment[head + 4 : head + 6] = length.to_bytes(2, "big")
    family = packet[0] >> 4
    ends = segment[12:20] if family == 4 else segment[8:40]
    if family == 4:
        segment[2:4] = len(segment).to_bytes(2, "big")
        segment[10:12] = b"\0\0"
        segment[10:12] = checksum(bytes(segment[:20])).to_bytes(2, "big")
    else:
        segment[4:6] = length.to_bytes(2, "big")
    at = head + check
    segment[at : at + 2] = b"\0\0"
    pseudo = bytes(ends) + length.to_bytes(4, "big") + (6 if tcp else 17).to_bytes(4, "big")
    whole = checksum(pseudo + bytes(segment[head:])) or 0xFFFF
    segment[at : at + 2] = whole.to_bytes(2, "big")
    return bytes(segment)


def error_of(stages: Mapping[str, Mapping[str, str]], vnet: bytes, frame: bytes) -> Error | None:
    stage = stages.get("icmp")
    if stage is None:
        return None
    if stage["verdict"] == "no":
        return Error("lost" if any(word in stage["detail"] for word in LOST) else "forbidden")
    what, source, target, how, dev = ERROR.match(stage["detail"]).groups()
    packet = quotable(vnet, frame)
    family = packet[0] >> 4
    rest = 0
    if "mtu" in stages:
        rest = int(TAKES.search(stages["mtu"]["detail"]).group(1))
    message = bytes(TYPES[family][what]) + rest.to_bytes(4, "big")
    return Error(
        "sent" if how == "out of" else "held",
        dev,
        ip_address(source).packed,
        ip_address(target).packed,
        message,
        packet[: ROOM[family]],
    )


def error_seen(frame: bytes) -> tuple[bytes, ...] | None:
    """A captured ICMP error in the same form; None when its headers or checksums are wrong."""
    packet = frame[14:]
    if frame[12:14] == b"\x08\x00" and packet[9] == 1 and checksum(packet[:20]) == 0:
        if int.from_bytes(packet[2:4], "big") != len(packet) or packet[0] != 0x45:
            return None
        source, target, icmp, pseudo = packet[12:16], packet[16:20], packet[20:], b""
    elif frame[12:14] == b"\x86\xdd" and packet[6] == 58:
        if int.from_bytes(packet[4:6], "big") != len(packet) - 40:
            return None
        source, target, icmp = packet[8:24], packet[24:40], packet[40:]
        pseudo = source + target + len(icmp).to_bytes(4, "big") + (58).to_bytes(4, "big")
    else:
        return None
    if checksum(pseudo + icmp) != 0:
        return None
    return source, target, icmp[:2] + icmp[4:8], icmp[8:]


class Golden:
    """The longest prefix that holds an address, by looking at all of them."""

    def __init__(self, prefixes: Mapping[int, list[str]]) -> None:
        self.rows = {
            family: sorted(
                (-n.prefixlen, n.max_prefixlen - n.prefixlen, int(n.network_address), text)
                for text in listed
                for n in (ip_network(text),)
            )
            for family, listed in prefixes.items()
        }

    def match(self, frame: bytes) -> str | None:
        packet = untagged(frame)[14:]
        family = packet[0] >> 4
        target = int.from_bytes(packet[16:20] if family == 4 else packet[24:40], "big")
        for _, shift, network, text in self.rows[family]:
            if target >> shift == network >> shift:
                return text
        return None
