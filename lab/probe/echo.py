"""ICMP echo, v4 and v6: every request numbered, every reply with its hop limit and time.

    python -m ribcage.lab.probe.echo 10.0.2.2 --count 5

Prints {"sent", "received", "lost": [sequence...], "hops": [ttl...], "rtt_us": [...]}. Requests go
one after the other: the next leaves when the reply of the last is in or overdue, so a lost
first packet shows as sequence 1 in `lost`. Needs a raw socket (root of its namespace).
"""

import argparse
import json
import os
import socket
import struct
import time
from dataclasses import asdict, dataclass, field

ECHO_REQUEST = {4: 8, 6: 128}
ECHO_REPLY = {4: 0, 6: 129}
LAST = 0xFFFF  # sequence numbers of the protocol; after it they begin again
HEADER = struct.Struct("!BBHHHQ")  # type, code, checksum, id, sequence, payload


@dataclass(slots=True)
class Echoes:
    """What came back; `hops` is the TTL or hop limit seen in each reply, `rtt_us` its time."""

    target: str
    sent: int = 0
    received: int = 0
    lost: list[int] = field(default_factory=list)
    hops: list[int] = field(default_factory=list)
    rtt_us: list[float] = field(default_factory=list)


def internet_checksum(data: bytes) -> int:
    """RFC 1071, over bytes of any length."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _request(family: int, identifier: int, sequence: int) -> bytes:
    """One echo request. The kernel fills in the ICMPv6 checksum (RFC 3542 section 3.1)."""
    number = sequence & LAST
    fields = (ECHO_REQUEST[family], 0, 0, identifier, number, time.monotonic_ns())
    packet = HEADER.pack(*fields)
    if family == 4:
        packet = HEADER.pack(*fields[:2], internet_checksum(packet), *fields[3:])
    return packet


def _reply(family: int, sock: socket.socket) -> tuple[bytes, int]:
    """The ICMP part of the next datagram, and its TTL or hop limit."""
    data, ancillary, _, _ = sock.recvmsg(2048, 256)
    if family == 4:
        return data[(data[0] & 15) * 4 :], data[8]
    for level, kind, value in ancillary:
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_HOPLIMIT:
            return data, int(struct.unpack("i", value[:4])[0])
    return data, -1


def echo(target: str, count: int = 5, timeout: float = 2.0, source: str | None = None) -> Echoes:
    """Send `count` echoes to `target`, each waited for at most `timeout` seconds."""
    family = 6 if ":" in target else 4
    result = Echoes(target)
    kind = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if family == 6 else (socket.AF_INET, 1)
    with socket.socket(kind[0], socket.SOCK_RAW, kind[1]) as sock:
        if family == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        if source:
            sock.bind((source, 0))
        identifier = os.getpid() & 0xFFFF
        for sequence in range(1, count + 1):
            sent_at = time.monotonic()
            sock.sendto(_request(family, identifier, sequence), (target, 0))
            result.sent += 1
            while (left := sent_at + timeout - time.monotonic()) > 0:
                sock.settimeout(left)
                try:
                    packet, hops = _reply(family, sock)
                except TimeoutError:
                    break
                if len(packet) < 8:
                    continue
                reply, _, _, its_id, its_sequence = struct.unpack_from("!BBHHH", packet)
                if (reply, its_id, its_sequence) == (
                    ECHO_REPLY[family],
                    identifier,
                    sequence & LAST,
                ):
                    result.received += 1
                    result.hops.append(hops)
                    result.rtt_us.append(round((time.monotonic() - sent_at) * 1e6, 1))
                    break
            if result.received + len(result.lost) < sequence:
                result.lost.append(sequence)
    return result


def main() -> None:
    """Command-line face."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=2.0)
    parser.add_argument("--source")
    args = parser.parse_args()
    print(json.dumps(asdict(echo(args.target, args.count, args.timeout, args.source))))


if __name__ == "__main__":
    main()
