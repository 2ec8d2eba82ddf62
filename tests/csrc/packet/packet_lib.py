"""Frames in, verdicts and bytes out: the C frame functions as the Python tests call them.

Use: `parse(frame)` returns a `Parsed` that keeps the buffers alive; `Parsed.rewrite()`,
`.finish()`, `.icmp()` return bytes. `DROP` maps the names of enum drop_reason to numbers, read
from the header itself. `v4()`, `v6()` and `ether()` build received frames from scapy fields.
"""

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ribcage.shared._core import ffi, lib
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

CSRC = Path(__file__).resolve().parents[3] / "csrc"
MAC_HERE, MAC_PEER = "02:00:00:00:00:01", "02:00:00:00:00:02"
SOURCE_MAC, TARGET_MAC = bytes.fromhex("020101010101"), bytes.fromhex("020202020202")
SEED = 0x5EED

DROP: dict[str, int] = {
    name: int(number)
    for name, number in re.findall(
        r"^REASON\(DROP_(\w+), (\d+),",
        (CSRC / "layout" / "drop_reasons.h").read_text(),
        re.MULTILINE,
    )
}
DROP_NAME = {number: name for name, number in DROP.items()}


@dataclass(frozen=True, slots=True)
class Vnet:
    """struct virtio_net_hdr."""

    flags: int = 0
    gso_type: int = 0
    hdr_len: int = 0
    gso_size: int = 0
    csum_start: int = 0
    csum_offset: int = 0

    def pack(self) -> bytes:
        return struct.pack(
            "=BBHHHH",
            self.flags,
            self.gso_type,
            self.hdr_len,
            self.gso_size,
            self.csum_start,
            self.csum_offset,
        )


@dataclass(slots=True)
class Parsed:
    """A struct packet with the frame it points into."""

    packet: Any
    keep: tuple[Any, ...] = field(repr=False)
    frame: bytes = field(repr=False)

    @property
    def outcome(self) -> str:
        """`FORWARD`, `DELIVER`, `DROP:REASON` or `LOCAL:REASON`."""
        p = self.packet
        names = {
            lib.PACKET_FORWARD: "FORWARD",
            lib.PACKET_DELIVER: "DELIVER",
            lib.PACKET_DROP: "DROP",
            lib.PACKET_LOCAL: "LOCAL",
        }
        verdict = names[p.verdict]
        return f"{verdict}:{DROP_NAME[p.drop]}" if p.drop else verdict

    def rewrite(self, decrement: bool = True) -> tuple[bytes, bytes]:
        """(vnet header, whole frame as it would be sent)."""
        out = ffi.new("uint8_t[]", lib.PACKET_REWRITE_ROOM)
        packet = ffi.addressof(self.packet)
        built = lib.packet_rewrite(packet, TARGET_MAC, SOURCE_MAC, out, int(decrement))
        head = bytes(ffi.buffer(out, built))
        replaced = built - lib.VNET_LENGTH
        rest = self.frame[replaced : self.packet.send_length]
        return head[: lib.VNET_LENGTH], head[lib.VNET_LENGTH :] + rest

    def finish(self, room: int = 70000) -> bytes:
        out = ffi.new("uint8_t[]", max(room, 1))
        written = lib.packet_finish_checksum(ffi.addressof(self.packet), out, room)
        return bytes(ffi.buffer(out, written))

    def icmp(self, what: int, info: int = 0, room: int = 1280) -> bytes:
        source = bytes([192, 0, 2, 1]) + bytes(12)
        if self.packet.family == 6:
            source = bytes.fromhex("20010db8000000000000000000000fff")
        out = ffi.new("uint8_t[]", max(room, 1))
        length = lib.icmp_build(ffi.addressof(self.packet), what, info, source, out, room)
        return bytes(ffi.buffer(out, length))


def parse(
    frame: object,
    *,
    vnet: Vnet | None = None,
    wire: int | None = None,
    station: int = 0,
    host_port: bool = False,
    seed: int = SEED,
) -> Parsed:
    """Parses bytes (or a scapy packet) that arrived whole unless `wire` says otherwise."""
    data = bytes(frame)  # type: ignore[call-overload]
    memory = ffi.new("uint8_t[]", max(len(data), 1))
    ffi.buffer(memory)[: len(data)] = data
    header = ffi.new("uint8_t[]", vnet.pack()) if vnet else ffi.NULL
    packet = ffi.new("struct packet *")
    lib.packet_parse(
        packet,
        memory,
        len(data),
        len(data) if wire is None else wire,
        header,
        station,
        seed,
        int(host_port),
    )
    return Parsed(packet[0], (memory, header, packet), data)


def ether(payload: object, **fields: Any) -> bytes:
    """A frame addressed to the router."""
    return bytes(Ether(dst=MAC_HERE, src=MAC_PEER, **fields) / payload)


def v4(payload: object = None, **fields: Any) -> bytes:
    fields = {"src": "10.0.0.1", "dst": "198.51.100.7", **fields}
    body = UDP(sport=1000, dport=53) / b"0123456789abcdef" if payload is None else payload
    return ether(IP(**fields) / body)


def v6(payload: object = None, **fields: Any) -> bytes:
    fields = {"src": "2001:db8::1", "dst": "2001:db8:1::9", **fields}
    body = UDP(sport=1000, dport=53) / b"0123456789abcdef" if payload is None else payload
    return ether(IPv6(**fields) / body)
