"""Traceroute, v4 and v6: UDP with growing hop limits, answers read from the error queue.

    python -m ribcage.lab.probe.trace 10.0.3.2

Prints {"target", "reached", "hops": [{"hop", "address", "type", "code", "rtt_us"}]}; a hop that
does not answer within the timeout has address null. Needs no privilege (IP_RECVERR).
"""

import argparse
import json
import select
import socket
import struct
import time
from dataclasses import asdict, dataclass, field

IP_RECVERR = 11
IPV6_RECVERR = 25
FIRST_PORT = 33434
EXTENDED_ERROR = struct.Struct("=IBBBBII")  # errno, origin, type, code, pad, info, data
UNREACHABLE = {4: 3, 6: 1}


@dataclass(slots=True)
class TraceHop:
    """One answer; `type` and `code` are those of the ICMP error."""

    hop: int
    address: str | None = None
    type: int = -1
    code: int = -1
    rtt_us: float = 0.0


@dataclass(slots=True)
class Trace:
    """The routers on the way; `reached` when the target itself answered."""

    target: str
    reached: bool = False
    hops: list[TraceHop] = field(default_factory=list)


def _offender(family: int, value: bytes) -> tuple[str, int, int]:
    """Address, ICMP type and code out of a sock_extended_err and the sockaddr behind it."""
    _, _, kind, code, _, _, _ = EXTENDED_ERROR.unpack_from(value)
    rest = value[EXTENDED_ERROR.size :]
    if family == 4:
        return socket.inet_ntop(socket.AF_INET, rest[4:8]), kind, code
    return socket.inet_ntop(socket.AF_INET6, rest[8:24]), kind, code


def _ask(family: int, target: str, hop: int, timeout: float) -> TraceHop:
    """One datagram with hop limit `hop`, and who complained about it."""
    answer = TraceHop(hop)
    with socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_DGRAM) as s:
        if family == 6:
            s.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hop)
        else:
            s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hop)
        started = time.monotonic()
        s.sendto(b"ribcage trace", (target, FIRST_PORT + hop))
        poller = select.poll()
        poller.register(s, select.POLLERR)
        if not poller.poll(timeout * 1000):
            return answer
        answer.rtt_us = round((time.monotonic() - started) * 1e6, 1)
        _, ancillary, _, _ = s.recvmsg(512, 512, socket.MSG_ERRQUEUE)
        for _, kind, value in ancillary:
            if kind in (IP_RECVERR, IPV6_RECVERR):
                answer.address, answer.type, answer.code = _offender(family, value)
    return answer


def trace(target: str, max_hops: int = 8, timeout: float = 1.0) -> Trace:
    """Hop by hop towards `target`, until it answers or `max_hops` have been asked."""
    family = 6 if ":" in target else 4
    path = Trace(target)
    for hop in range(1, max_hops + 1):
        answer = _ask(family, target, hop, timeout)
        path.hops.append(answer)
        if answer.type == UNREACHABLE[family]:
            path.reached = answer.address == target
            break
    return path


def main() -> None:
    """Command-line face."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--max-hops", type=int, default=8)
    parser.add_argument("--timeout", type=float, default=1.0)
    args = parser.parse_args()
    print(json.dumps(asdict(trace(args.target, args.max_hops, args.timeout))))


if __name__ == "__main__":
    main()
