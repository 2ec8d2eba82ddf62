"""`explain`: what would happen to a packet, stage by stage, without sending one.

    explain(view, Question(dst, source, ...)) -> {"stages": [...], "verdict": ..., "reason": ...}

The decision is the worker's (decision.py); here it is only put into words. So the answer is the
worker's up to what only the moment decides: full queues, a neighbour that does not answer, the
ICMP limits.
"""

from dataclasses import dataclass, field
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.management.decision import Asked, View, ask
from ribcage.controlplane.management.question import ETHERNET, Question
from ribcage.shared.addresses import mac_text
from ribcage.shared.memory.fib_records import Answer, FibKind
from ribcage.shared.memory.fields import read_address

ICMP_TEXT = {  # csrc/packet/icmp.c: the names of RFC 792 and of RFC 4443
    4: {
        lib.ICMP_ERROR_TIME_EXCEEDED: "time-exceeded",
        lib.ICMP_ERROR_NO_ROUTE: "net-unreachable",
        lib.ICMP_ERROR_UNREACHABLE: "host-unreachable",
        lib.ICMP_ERROR_PROHIBITED: "administratively-prohibited",
        lib.ICMP_ERROR_TOO_BIG: "fragmentation-needed",
    },
    6: {
        lib.ICMP_ERROR_TIME_EXCEEDED: "time-exceeded",
        lib.ICMP_ERROR_NO_ROUTE: "no-route",
        lib.ICMP_ERROR_UNREACHABLE: "address-unreachable",
        lib.ICMP_ERROR_PROHIBITED: "administratively-prohibited",
        lib.ICMP_ERROR_TOO_BIG: "packet-too-big",
    },
}
LIMITS = "subject to the rate limit"
PROTOCOL_TEXT = {6: "TCP", 17: "UDP", 132: "SCTP", 33: "DCCP", 136: "UDP-Lite"}


def explain(view: View, question: Question) -> dict[str, Any]:
    """The story of one packet: {stages, verdict, reason?, icmp?}; verdict: forward, deliver, hold,
    drop, or ignore (the ports leave such a frame alone)."""
    story, port = Story(view), question.port
    if port is not None and not port.up:
        story.step("port", "DROP", f"{port.name} is down")
        return story.end("drop", "port-down")
    asked = ask(view, question)
    if asked is None:
        story.step("filter", "no", "ports take IPv4 and IPv6, untagged, addressed to them")
        return story.end("ignore")
    return story.tell(asked)


@dataclass(slots=True)
class Story:
    """The stages so far, from a decision; `end` closes it."""

    view: View
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

    def drop(self, asked: Asked, stage: str, detail: str) -> dict[str, Any]:
        self.step(stage, "DROP", detail)
        return self.end("drop", _reason(asked.decision.reason), self._icmp(asked))

    def _icmp(self, asked: Asked) -> str | None:
        """What the sender is told, as a stage and in one line; None: nothing."""
        state, packet = asked.c.error, asked.packet
        if state == lib.EXPLAIN_ERROR_NONE:
            return None
        what = ICMP_TEXT[packet.family][asked.decision.error]
        if state == lib.EXPLAIN_ERROR_FORBIDDEN:
            rule = "RFC 1812 4.3.2.7" if packet.family == 4 else "RFC 4443 2.4 e"
            self.step("icmp", "no", f"about such a packet no {what} may be sent ({rule})")
            return None
        if state == lib.EXPLAIN_ERROR_IMPOSSIBLE:
            self.step("icmp", "no", f"no port has an IPv{packet.family} address to send it from")
            return None
        work, lookup = asked.c.icmp_work, asked.c.icmp_lookup
        own = read_address(work.packet.source, packet.family)
        text = f"{what} from {own} to {asked.source}"
        dev = self.view.topology.name_of(lookup.port)
        if work.decision.outcome == lib.DECISION_SEND:
            self.step("icmp", "ok", f"{text} out of {dev}, {LIMITS}")
        elif work.decision.outcome == lib.DECISION_HOLD:
            self.step("icmp", "HOLD", f"{text} waits for a neighbour on {dev}, {LIMITS}")
        else:
            self.step("icmp", "no", f"{text} finds no way: {_reason(work.decision.reason)}")
            return None
        return f"{what} to {asked.source}"

    def tell(self, asked: Asked) -> dict[str, Any]:
        """The stages up to the one that decided."""
        decision, packet = asked.decision, asked.packet
        if decision.stage == lib.STAGE_PARSE and decision.outcome == lib.DECISION_DROP:
            return self.drop(asked, "parse", _parse_text(asked))
        if decision.stage == lib.STAGE_SOURCE:
            return self.drop(asked, "parse", f"{asked.source} is this router's own address")
        size = packet.l3_length
        self.step("parse", "ok", f"IPv{packet.family}, {size} bytes, {_transport_text(asked)}")
        if decision.stage == lib.STAGE_PARSE:
            text = "link scope (multicast, limited broadcast, link-local): left to the host stack"
            self.step("local?", "yes", text)
            return self.end("deliver")
        answer = Answer.from_c(asked.c.lookup)
        if packet.verdict == lib.PACKET_LOCAL:
            return self._link(asked, answer)
        return self._routed(asked, answer)

    def _route(self, asked: Asked) -> str:
        """The matched prefix with where its route comes from."""
        prefix, target = asked.prefix, asked.target
        if prefix is None or target is None:
            return "nothing"
        origin = self.view.origin(prefix, target) if self.view.origin is not None else ""
        return f"{prefix}{origin}"

    def _link(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        """What must not be forwarded, but may be for this host."""
        if asked.decision.outcome == lib.DECISION_DROP:
            return self.drop(asked, "local?", "must not cross a link")
        self.step("local?", "yes", f"{self._route(asked)}: {answer.kind.label}")
        return self.end("deliver")

    def _routed(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        decision = asked.decision
        local = answer.kind == FibKind.RECEIVE
        own = f"{asked.target} is {'an' if local else 'no'} address of this router"
        self.step("local?", "yes" if local else "no", own)
        if decision.stage == lib.STAGE_LOCAL:
            if decision.outcome == lib.DECISION_DROP:
                return self.drop(asked, "lookup", "from the host to itself")
            return self.end("deliver")
        if decision.stage == lib.STAGE_LOOKUP:
            route = f"{self._route(asked)}: {answer.kind.label}"
            return self.drop(asked, "lookup", route if asked.prefix else "no route matches")
        gateway = str(answer.nexthop or asked.target)
        dev = self.view.topology.name_of(answer.port)
        via = "on-link" if answer.kind == FibKind.GLEAN else f"via {gateway}"
        self.step(
            "lookup", "ok", f"{self._route(asked)} {via} dev {dev}, next-hop group {answer.group}"
        )
        return self._way(asked, answer, gateway, dev)

    def _way(self, asked: Asked, answer: Answer, gateway: str, dev: str) -> dict[str, Any]:
        """A route leads on: the stages from the TTL to the egress port."""
        decision, packet = asked.decision, asked.packet
        if not packet.host_port:
            if decision.stage == lib.STAGE_TTL:
                left = max(packet.ttl - 1, 0)
                return self.drop(asked, "ttl", f"ttl {packet.ttl} would become {left}")
            self.step("ttl", "ok", f"{packet.ttl} becomes {packet.ttl - 1}")
        if decision.outcome == lib.DECISION_HOLD:
            self.step("neighbour", "HOLD", f"{gateway} on {dev} is asked for, the packet waits")
            return self.end("hold", "no-neighbour")
        if decision.stage == lib.STAGE_NEIGHBOUR:
            return self.drop(asked, "neighbour", f"{gateway} has no adjacency")
        self.step("neighbour", "ok", f"{gateway} is at {mac_text(answer.target_mac)}")
        if decision.stage == lib.STAGE_PORT:
            return self.drop(asked, "port", f"{dev} is not there")
        size = lib.packet_wire_size(ffi.addressof(packet))
        if decision.stage == lib.STAGE_MTU:
            text = f"{size} bytes, {dev} takes {answer.mtu}"
            return self.drop(
                asked, "mtu", text if packet.dont_fragment else text + ", and DF is not set"
            )
        self.step("mtu", "ok", f"{size} of {answer.mtu} bytes")
        source, target = mac_text(answer.source_mac), mac_text(answer.target_mac)
        self.step("send", "ok", f"out of {dev} from {source} to {target}")
        return self.end("forward")


def _reason(number: int) -> str:
    name = lib.drop_reason_name(number)
    return str(ffi.string(name).decode()) if name != ffi.NULL else f"reason-{number}"


def _parse_text(asked: Asked) -> str:
    reason = _reason(asked.decision.reason)
    texts = {
        "bad-source": f"{asked.source} cannot be a source (RFC 1812 5.3.7)",
        "bad-destination": f"{asked.target} cannot be a destination",
        "multicast": f"{asked.target} is multicast, which is not forwarded",
        "link-local": "a link-local address never crosses a link",
        "bad-length": f"{asked.packet.length - ETHERNET} bytes are no packet",
        "bad-version": "the IP version is not what the Ethernet type says",
        "bad-checksum": "the checksum of the IPv4 header is wrong",
        "options": "source-routing options are refused (RFC 7126 4.3 and 4.4)",
        "truncated": f"{asked.packet.wire_length} bytes are more than a ring slot holds",
    }
    return texts.get(reason, reason)


def _transport_text(asked: Asked) -> str:
    """What the packet carries, as far as a worker looks."""
    packet = asked.packet
    if packet.vnet.gso_size and packet.l4:
        name = PROTOCOL_TEXT.get(packet.protocol, f"protocol {packet.protocol}")
        return f"{name} in segments of {packet.vnet.gso_size} bytes"
    if packet.fragment == lib.FRAGMENT_LATER:
        return "a later fragment"
    icmp = packet.protocol == {4: 1, 6: 58}.get(packet.family)
    if icmp and packet.l4 and packet.frame[packet.l4] == {4: 8, 6: 128}[packet.family]:
        return "ICMP echo"
    if packet.source_port or packet.target_port:
        name = PROTOCOL_TEXT.get(packet.protocol, f"protocol {packet.protocol}")
        return f"{name} from port {packet.source_port} to {packet.target_port}"
    return "ICMP" if icmp else PROTOCOL_TEXT.get(packet.protocol, f"protocol {packet.protocol}")
