"""`explain`: what would happen to a packet, stage by stage, without sending one.

    explain(view, Question(dst, source, ...)) -> {"stages": [...], "verdict": ..., "reason": ...}

The frame is made in memory and parsed by the worker's own packet_parse(); the lookup is a
reader's; the order of the stages is that of csrc/forward/decide.c, whose reasons it names. So the
answer is the worker's, up to what only the moment decides: full queues, a neighbour that does not
answer, the ICMP limits.

`route get` is the same lookup without a packet. Pure but for the reader and the topology.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.values.topology import Topology
from ribcage.shared.addresses import Address, mac_text
from ribcage.shared.memory.fib import FibReader
from ribcage.shared.memory.fib_records import AdjacencyState, Answer, FibKind, Port

ETHERNET = 14
HEADER = {4: 20, 6: 40}
ICMP = {4: 1, 6: 58}
MIN_LENGTH = {4: 28, 6: 48}  # an echo request without data
ICMP_TEXT = {  # csrc/packet/icmp.c: the names of RFC 792 and of RFC 4443
    4: {
        "ttl-expired": "time-exceeded",
        "no-route": "net-unreachable",
        "unreachable": "host-unreachable",
        "prohibited": "administratively-prohibited",
        "too-big": "fragmentation-needed",
    },
    6: {
        "ttl-expired": "time-exceeded",
        "no-route": "no-route",
        "unreachable": "address-unreachable",
        "prohibited": "administratively-prohibited",
        "too-big": "packet-too-big",
    },
}


@dataclass(frozen=True, slots=True)
class Question:
    """The packet: an ICMP echo of `length` bytes. `source` None: from outside, unnamed."""

    dst: Address
    source: Address
    port: Port | None = None
    ttl: int = 64
    length: int = 84
    df: bool = True


@dataclass(slots=True)
class Story:
    """The stages so far; `end` closes it."""

    stages: list[dict[str, str]] = field(default_factory=list)

    def step(self, stage: str, verdict: str, detail: str) -> None:
        self.stages.append({"stage": stage, "verdict": verdict, "detail": detail})

    def end(
        self, verdict: str, reason: str | None = None, icmp: str | None = None
    ) -> dict[str, Any]:
        result: dict[str, Any] = {"stages": self.stages, "verdict": verdict}
        if reason is not None:
            result["reason"] = reason
        if icmp is not None:
            result["icmp"] = icmp
        return result

    def drop(self, stage: str, reason: str, detail: str, question: Question) -> dict[str, Any]:
        self.step(stage, "DROP", detail)
        what = ICMP_TEXT[question.dst.version].get(reason)
        return self.end("drop", reason, f"{what} to {question.source}" if what else None)


def make_frame(question: Question) -> bytes:
    """An Ethernet frame with the packet; its MACs are nobody's, the port's word counts."""
    version = question.dst.version
    payload = max(question.length - HEADER[version], 8)
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
            ICMP[4],
            0,
            question.source.packed,
            question.dst.packed,
        )
        head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
        ether_type = 0x0800
        body = struct.pack(">BBHHH", 8, 0, 0, 0, 0)
    else:
        head = struct.pack(
            ">IHBB16s16s",
            6 << 28,
            payload & 0xFFFF,
            ICMP[6],
            question.ttl,
            question.source.packed,
            question.dst.packed,
        )
        ether_type = 0x86DD
        body = struct.pack(">BBHHH", 128, 0, 0, 0, 0)
    return bytes(12) + struct.pack(">H", ether_type) + head + body.ljust(payload, b"\0")


def checksum(data: bytes) -> int:
    """RFC 1071, over an even number of bytes."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def flow_hash(seed: int, question: Question) -> int:
    """The hash the workers would pick the path with."""
    return int(
        lib.flow_hash(
            seed & 0xFFFFFFFFFFFFFFFF,
            question.dst.version,
            question.source.packed.ljust(16, b"\0"),
            question.dst.packed.ljust(16, b"\0"),
            ICMP[question.dst.version],
            0,
            0,
        )
    )


@dataclass(slots=True)
class View:
    """What an answer is read from."""

    reader: FibReader
    topology: Topology
    seed: int
    origin: Any = None  # (prefix) -> text about the route's source, or None


def explain(view: View, question: Question) -> dict[str, Any]:
    """The story of one packet: {stages, verdict: forward|deliver|hold|drop, reason?, icmp?}."""
    story = Story()
    frame = make_frame(question)
    packet = ffi.new("struct packet *")
    host = question.port is not None and question.port.host
    verdict = lib.packet_parse(
        packet, frame, len(frame), len(frame), ffi.NULL, lib.STATION_HOST, view.seed, host
    )
    if question.port is not None and not question.port.up:
        return story.drop("port", "port-down", f"{question.port.name} is down", question)
    if verdict == lib.PACKET_DROP:
        reason = _reason(packet.drop)
        return story.drop("parse", reason, _parse_text(question, reason), question)
    if not host and verdict != lib.PACKET_DELIVER and view.topology.sends_from(question.source):
        text = f"{question.source} is this router's own address"
        return story.drop("parse", "bad-source", text, question)
    family = question.dst.version
    size = len(frame) - ETHERNET
    story.step("parse", "ok", f"IPv{family}, {size} bytes, ICMP echo")
    if verdict == lib.PACKET_DELIVER:
        text = "link scope (multicast, limited broadcast, link-local): left to the host stack"
        story.step("local?", "yes", text)
        return story.end("deliver")
    answer = view.reader.lookup(question.dst, packet.hash)
    return _decide(view, question, story, packet, answer)


def _decide(
    view: View, question: Question, story: Story, packet: Any, answer: Answer
) -> dict[str, Any]:
    """csrc/forward/decide.c, in words."""
    host = bool(packet.host_port)
    match = view.reader.match(question.dst)
    prefix = str(match.prefix) if match is not None else "nothing"
    origin = view.origin(match.prefix) if view.origin is not None and match is not None else ""
    detail = f"{prefix}{origin}: {answer.kind.label}"
    local = answer.kind == FibKind.RECEIVE
    if packet.verdict == lib.PACKET_LOCAL:
        if answer.kind in (FibKind.RECEIVE, FibKind.BROADCAST):
            story.step("local?", "yes", detail)
            return story.end("deliver")
        return story.drop("local?", _reason(packet.drop), "must not cross a link", question)
    own = f"{question.dst} is {'an' if local else 'no'} address of this router"
    story.step("local?", "yes" if local else "no", own)
    if local:
        if host:
            return story.drop("lookup", "same-host", "from the host to itself", question)
        return story.end("deliver")
    refused = {
        FibKind.NONE: ("no-route", "no route matches"),
        FibKind.BLACKHOLE: ("blackhole", detail),
        FibKind.UNREACHABLE: ("unreachable", detail),
        FibKind.PROHIBIT: ("prohibited", detail),
        FibKind.BROADCAST: ("broadcast", detail),
    }.get(answer.kind)
    if refused is not None:
        return story.drop("lookup", refused[0], refused[1], question)
    gateway = str(answer.nexthop or question.dst)
    dev = view.topology.name_of(answer.port)
    via = "on-link" if answer.kind == FibKind.GLEAN else f"via {gateway}"
    story.step("lookup", "ok", f"{prefix}{origin} {via} dev {dev}, next-hop group {answer.group}")
    return _send(view, question, story, packet, answer, (gateway, dev))


def _send(
    view: View,
    question: Question,
    story: Story,
    packet: Any,
    answer: Answer,
    where: tuple[str, str],
) -> dict[str, Any]:
    gateway, dev = where
    if not packet.host_port:
        if question.ttl <= 1:
            text = f"ttl {question.ttl} would become {max(question.ttl - 1, 0)}"
            return story.drop("ttl", "ttl-expired", text, question)
        story.step("ttl", "ok", f"{question.ttl} becomes {question.ttl - 1}")
    if answer.kind == FibKind.GLEAN or answer.state == AdjacencyState.INCOMPLETE:
        story.step("neighbour", "HOLD", f"{gateway} on {dev} is asked for, the packet waits")
        return story.end("hold", "no-neighbour")
    if answer.state != AdjacencyState.RESOLVED:
        return story.drop("neighbour", "unreachable", f"{gateway} has no adjacency", question)
    story.step("neighbour", "ok", f"{gateway} is at {mac_text(answer.target_mac)}")
    port = view.topology.ports.get(answer.port)
    if port is None:
        return story.drop("port", "port-down", f"{dev} is not there", question)
    if answer.mtu and lib.packet_too_big(packet, answer.mtu):
        text = f"{packet.l3_length} bytes, {dev} takes {answer.mtu}"
        if packet.dont_fragment:
            return story.drop("mtu", "too-big", text, question)
        return story.drop("mtu", "fragment-needed", text + ", and DF is not set", question)
    story.step("mtu", "ok", f"{packet.l3_length} of {answer.mtu} bytes")
    source, target = mac_text(answer.source_mac), mac_text(answer.target_mac)
    story.step("send", "ok", f"out of {dev} from {source} to {target}")
    return story.end("forward")


def _reason(number: int) -> str:
    name = lib.drop_reason_name(number)
    return str(ffi.string(name).decode()) if name != ffi.NULL else f"reason-{number}"


def _parse_text(question: Question, reason: str) -> str:
    texts: Mapping[str, str] = {
        "bad-source": f"{question.source} cannot be a source (RFC 1812 5.3.7)",
        "bad-destination": f"{question.dst} cannot be a destination",
        "multicast": f"{question.dst} is multicast, which is not forwarded",
        "link-local": "a link-local address never crosses a link",
        "bad-length": f"{question.length} bytes are no packet",
    }
    return texts.get(reason, reason)


def default_source(topology: Topology, port: Port | None, dst: Address) -> Address:
    """A source for a packet that was asked about without one: another host of the ingress."""
    if port is not None:
        for own in port.addresses:
            if own.version == dst.version and own.network.prefixlen < own.max_prefixlen - 1:
                other = own.network.network_address + 1
                return other if other != own.ip else other + 1
    return IPv4Address("192.0.2.1") if dst.version == 4 else IPv6Address("2001:db8::1")
