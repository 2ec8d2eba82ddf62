"""A paced stream of numbered UDP packets: what was lost, doubled or late, and for how long.

    python -m ribcage.lab.probe.stream receive --bind 10.0.2.2 --port 9000
    python -m ribcage.lab.probe.stream send 10.0.2.2 --port 9000 --rate 2000 --flows 16

Both print the line `ready` when they begin, and run until their standard input closes. With
`--flows N` the sender uses N source ports in turn (`--source-port` and the following), so that
the workers of a router share the stream. The sender prints {"sent", "late_ms", "flows"}.

The receiver is told on its standard input how many were sent, a number on a line. It ends when
so many different packets have come and COPIES seconds more brought no second copy, or `--linger`
seconds after its input closed: how long that takes is the network's affair, and no fixed pause
is right on a machine that may stop for half a second. It prints {"received", "missing",
"missing_first", "duplicates", "reordered", "longest_gap_ms", "overflows", "flows"}. Numbers count
over all flows; "flows" tells the same of each, by source port, with its gaps of PAUSE seconds and
more as [begin_ns, end_ns] of CLOCK_MONOTONIC. `missing` counts up to the highest number seen;
hold `received` against the sender's `sent`. `overflows` are packets that came as far as the
receiver's own full socket buffer: lost by the probe, not on the way.

Pacing is by absolute monotonic deadlines, so that a late wake-up is made good. One that is later
than LATE moves all deadlines after it instead: what a machine that stood still owes would leave
in one burst, and that is no paced stream.
"""

import argparse
import contextlib
import itertools
import json
import os
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import Any

STDIN = 0
PACKET = struct.Struct("!8sQQ")
MAGIC = b"ribcage1"
SIZE = 64  # bytes of payload, so that a packet is larger than the Ethernet minimum
SOURCE_PORT = 20_000  # below the range the kernel picks from, so a flow is the same every run
LATE = 0.02  # seconds a sender catches up; at 2,000 a second a burst of 40 packets
COPIES = 0.3  # seconds without any packet, after which no second copy is expected any more
SO_RCVBUFFORCE = 33  # socket(7); Python has no name for it
SO_MEMINFO = 55  # nine words, the last is the packets dropped for want of room
PAUSE = 0.015  # seconds between two packets of a flow that are worth telling
MAX_PAUSES = 500  # told of each flow


@dataclass(slots=True)
class Flow:
    """What came from one source port."""

    received: int = 0
    reordered: int = 0
    highest: int = 0
    last_ns: int = 0
    longest_ns: int = 0
    pauses: list[tuple[int, int]] = field(default_factory=list)

    def take(self, number: int, now: int) -> None:
        """One packet that was not seen before."""
        if self.last_ns:
            gap = now - self.last_ns
            self.longest_ns = max(self.longest_ns, gap)
            if gap >= PAUSE * 1e9 and len(self.pauses) < MAX_PAUSES:
                self.pauses.append((self.last_ns, now))
        self.received += 1
        self.reordered += number < self.highest
        self.highest = max(self.highest, number)
        self.last_ns = now

    def to_json(self) -> dict[str, Any]:
        """JSON values; times in milliseconds but for the pauses."""
        return {
            "received": self.received,
            "reordered": self.reordered,
            "longest_gap_ms": round(self.longest_ns / 1e6, 3),
            "pauses": self.pauses,
        }


def enlarge_buffer(sock: socket.socket) -> None:
    """Room for some thousand packets: beyond the machine's limit where we may, up to it if not."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
    except PermissionError:  # a user namespace of a plain user
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)


def count_overflows(sock: socket.socket) -> int:
    try:
        return int(struct.unpack("9I", sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))[8])
    except (OSError, struct.error):  # before Linux 4.12
        return 0


def stdin_closed(timeout: float) -> bool:
    ready, _, _ = select.select([sys.stdin], [], [], max(timeout, 0))
    return bool(ready) and not sys.stdin.read(1)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def send(
    target: str, port: int, rate: float, flows: int = 1, source_port: int = SOURCE_PORT
) -> dict[str, Any]:
    """Send numbered packets, `rate` a second in all, until stdin closes. Numbers start at 1."""
    sent, late = 0, 0.0
    each = dict.fromkeys(range(source_port, source_port + flows), 0)
    with contextlib.ExitStack() as stack:
        socks = []
        for own in each:
            sock = stack.enter_context(socket.socket(_family(target), socket.SOCK_DGRAM))
            sock.bind(("", own))
            sock.connect((target, port))
            socks.append((own, sock))
        turns = itertools.cycle(socks)
        print("ready", flush=True)
        start = time.monotonic()
        while True:
            due = start + sent / rate
            if stdin_closed(due - time.monotonic()):
                break
            behind = time.monotonic() - due
            late = max(late, behind)
            if behind > LATE:
                start += behind
            body = PACKET.pack(MAGIC, sent + 1, time.monotonic_ns())
            own, sock = next(turns)
            try:
                sock.send(body.ljust(SIZE, b"\0"))
            except ConnectionRefusedError:
                continue  # an ICMP error about an earlier packet; this one was not sent
            sent += 1
            each[own] += 1
    return {"sent": sent, "late_ms": round(late * 1000, 3), "flows": each}


def receive(bind: str, port: int, linger: float) -> dict[str, Any]:
    """Take numbered packets in until all that were sent have come; see the module's text."""
    seen: set[int] = set()
    flows: dict[int, Flow] = {}
    whole = Flow()
    duplicates = 0
    told = b""
    wanted: int | None = None
    until: float | None = None  # at the latest, once the input has ended
    with socket.socket(_family(bind), socket.SOCK_DGRAM) as sock:
        enlarge_buffer(sock)
        sock.bind((bind, port))
        print("ready", flush=True)
        watched: list[socket.socket | int] = [sock, STDIN]
        while until is None or time.monotonic() < until:
            complete = wanted is not None and len(seen) >= wanted
            wait = 1.0 if until is None else max(until - time.monotonic(), 0)
            ready, _, _ = select.select(watched, [], [], COPIES if complete else wait)
            if complete and not ready:
                break
            if STDIN in ready:
                words = os.read(STDIN, 64)
                told += words
                if not words:
                    watched.remove(STDIN)
                    wanted = int(told) if told.strip() else None
                    until = time.monotonic() + linger
            if sock not in ready:
                continue
            data, peer = sock.recvfrom(2048)
            if len(data) < PACKET.size or not data.startswith(MAGIC):
                continue
            now = time.monotonic_ns()
            number = PACKET.unpack_from(data)[1]
            if number in seen:
                duplicates += 1
                continue
            seen.add(number)
            whole.take(number, now)
            flows.setdefault(peer[1], Flow()).take(number, now)
        overflows = count_overflows(sock)
    missing = [number for number in range(1, whole.highest + 1) if number not in seen]
    return {
        "received": len(seen),
        "highest": whole.highest,
        "missing": len(missing),
        "missing_first": missing[0] if missing else 0,
        "duplicates": duplicates,
        "reordered": whole.reordered,
        "longest_gap_ms": round(whole.longest_ns / 1e6, 3),
        "overflows": overflows,
        "flows": {number: flow.to_json() for number, flow in sorted(flows.items())},
    }


def main() -> None:
    """Command-line face."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    sender = verbs.add_parser("send")
    sender.add_argument("target")
    sender.add_argument("--rate", type=float, default=1000.0)
    sender.add_argument("--flows", type=int, default=1)
    sender.add_argument("--source-port", type=int, default=SOURCE_PORT)
    receiver = verbs.add_parser("receive")
    receiver.add_argument("--bind", default="0.0.0.0")
    receiver.add_argument("--linger", type=float, default=5.0)
    for verb in (sender, receiver):
        verb.add_argument("--port", type=int, default=9000)
    args = parser.parse_args()
    if args.verb == "send":
        result = send(args.target, args.port, args.rate, args.flows, args.source_port)
    else:
        result = receive(args.bind, args.port, args.linger)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
