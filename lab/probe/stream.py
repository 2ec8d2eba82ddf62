"""A paced stream of numbered UDP packets: what was lost, doubled or late, and for how long.

    python -m ribcage.lab.probe.stream receive --bind 10.0.2.2 --port 9000
    python -m ribcage.lab.probe.stream send 10.0.2.2 --port 9000 --rate 2000

Both run until their standard input closes; the receiver first prints the line `ready`. The
sender then prints {"sent", "late_ms"}; the receiver waits `--linger` seconds for stragglers and
prints {"received", "missing", "missing_first", "duplicates", "reordered", "longest_gap_ms"}.
`missing` counts up to the highest number seen; hold `received` against the sender's `sent`.
Pacing is by absolute monotonic deadlines, so a late wake-up is made good, not accumulated.
"""

import argparse
import json
import select
import socket
import struct
import sys
import time
from typing import TextIO

PACKET = struct.Struct("!8sQQ")
MAGIC = b"ribcage1"
SIZE = 64  # bytes of payload, so that a packet is larger than the Ethernet minimum


def _stdin_closed(timeout: float) -> bool:
    ready, _, _ = select.select([sys.stdin], [], [], max(timeout, 0))
    return bool(ready) and not sys.stdin.read(1)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def send(target: str, port: int, rate: float) -> dict[str, float]:
    """Send numbered packets, `rate` a second, until stdin closes. Numbers start at 1."""
    sent, late = 0, 0.0
    with socket.socket(_family(target), socket.SOCK_DGRAM) as sock:
        sock.connect((target, port))
        start = time.monotonic()
        while True:
            due = start + sent / rate
            if _stdin_closed(due - time.monotonic()):
                break
            late = max(late, time.monotonic() - due)
            body = PACKET.pack(MAGIC, sent + 1, time.monotonic_ns())
            try:
                sock.send(body.ljust(SIZE, b"\0"))
            except ConnectionRefusedError:
                continue  # an ICMP error about an earlier packet; this one was not sent
            sent += 1
    return {"sent": sent, "late_ms": round(late * 1000, 3)}


def receive(bind: str, port: int, linger: float) -> dict[str, int | float]:
    """Take numbered packets in until stdin closes, then `linger` seconds more."""
    seen: set[int] = set()
    duplicates = reordered = highest = 0
    last_at, gap = 0.0, 0.0
    until: float | None = None
    with socket.socket(_family(bind), socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind((bind, port))
        print("ready", flush=True)
        watched: list[socket.socket | TextIO] = [sock, sys.stdin]
        while until is None or time.monotonic() < until:
            wait = 1.0 if until is None else max(until - time.monotonic(), 0)
            ready, _, _ = select.select(watched, [], [], wait)
            if sys.stdin in ready and not sys.stdin.read(1):
                watched.remove(sys.stdin)
                until = time.monotonic() + linger
            if sock not in ready:
                continue
            data = sock.recv(2048)
            if len(data) < PACKET.size or not data.startswith(MAGIC):
                continue
            now = time.monotonic()
            number = PACKET.unpack_from(data)[1]
            if number in seen:
                duplicates += 1
                continue
            if last_at:
                gap = max(gap, now - last_at)
            last_at = now
            reordered += number < highest
            highest = max(highest, number)
            seen.add(number)
    missing = [number for number in range(1, highest + 1) if number not in seen]
    return {
        "received": len(seen),
        "highest": highest,
        "missing": len(missing),
        "missing_first": missing[0] if missing else 0,
        "duplicates": duplicates,
        "reordered": reordered,
        "longest_gap_ms": round(gap * 1000, 3),
    }


def main() -> None:
    """Command-line face."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    sender = verbs.add_parser("send")
    sender.add_argument("target")
    sender.add_argument("--rate", type=float, default=1000.0)
    receiver = verbs.add_parser("receive")
    receiver.add_argument("--bind", default="0.0.0.0")
    receiver.add_argument("--linger", type=float, default=0.3)
    for verb in (sender, receiver):
        verb.add_argument("--port", type=int, default=9000)
    args = parser.parse_args()
    if args.verb == "send":
        result: object = send(args.target, args.port, args.rate)
    else:
        result = receive(args.bind, args.port, args.linger)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
