"""Flows of numbered packets that are judged one by one: who sent what when, who got it when.

    python -m ribcage.lab.probe.numbered send --folder F --name s1 --rate 200 --flow 0,198.18.0.1
    python -m ribcage.lab.probe.numbered receive --folder F --name k1

Both print `ready` and run until their standard input ends, then print one JSON document. What
happened is in record files (records.py): of each packet its flow, its number and the monotonic
time just before the send; of each arrival the same and the kernel's time stamp of it. So neither
a sender that stood still nor a receiver that woke late is taken for a loss on the way: what was
not sent has no number, what waits in the receiver's socket has its time already.

Each tick sends one packet on every flow. A tick that is late moves all after it (stream.py).
"""

import argparse
import json
import select
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

from ribcage.lab.probe.records import RECEIVED, SENT, RecordWriter
from ribcage.lab.probe.stream import LATE, count_overflows, enlarge_buffer, stdin_closed

PACKET = struct.Struct("!8sHxxIQ")  # magic, flow, number, sent
MAGIC = b"ribcage2"
SIZE = 64
PORT = 9000
SOURCE_PORT = 20_000
FLUSH = 0.05  # seconds that records may wait in the process
SO_TIMESTAMPNS = 35  # socket(7); Python has no name for it
STAMP = struct.Struct("@qq")


def send(folder: Path, name: str, rate: float, flows: dict[int, str]) -> dict[str, Any]:
    """`rate` packets a second on each flow (number -> address) until stdin ends."""
    records = RecordWriter(folder, name, SENT)
    numbers = dict.fromkeys(flows, 0)
    refused: dict[str, int] = {}
    latest = 0.0
    sockets = {}
    for flow, target in flows.items():
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        sockets[flow] = socket.socket(family, socket.SOCK_DGRAM)
        sockets[flow].bind(("", SOURCE_PORT + flow))
    print("ready", flush=True)
    due = flushed = time.monotonic()
    while not stdin_closed(due - time.monotonic()):
        behind = time.monotonic() - due
        latest = max(latest, behind)
        due += 1 / rate + (behind if behind > LATE else 0)
        for flow, target in flows.items():
            number = numbers[flow] + 1
            now = time.monotonic_ns()
            body = PACKET.pack(MAGIC, flow, number, now).ljust(SIZE, b"\0")
            try:  # not connected: an ICMP error about an earlier packet refuses no later one
                sockets[flow].sendto(body, (target, PORT))
            except OSError as error:  # the host's own link is down: nothing was sent
                reason = error.strerror or "unknown"
                refused[reason] = refused.get(reason, 0) + 1
                continue
            numbers[flow] = number
            records.add(flow, number, now)
        if due - flushed > FLUSH:
            records.flush()
            flushed = due
    records.close()
    for sock in sockets.values():
        sock.close()
    return {"sent": numbers, "late_ms": round(latest * 1e3, 3), "refused": refused}


def receive(folder: Path, name: str) -> dict[str, Any]:
    """Takes both families in until stdin ends."""
    records = RecordWriter(folder, name, RECEIVED)
    received = foreign = 0
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        enlarge_buffer(sock)
        sock.bind(("::", PORT))
        sock.setblocking(False)
        print("ready", flush=True)
        open_ = True
        while open_:
            ready, _, _ = select.select([sock, sys.stdin], [], [], FLUSH)
            if sys.stdin in ready:
                open_ = bool(sys.stdin.read(1))
            # Time stamps are of the wall clock; both clocks are read together, each time anew.
            offset = time.time_ns() - time.monotonic_ns()
            while True:
                try:
                    data, ancillary, _, _ = sock.recvmsg(2048, 64)
                except BlockingIOError:
                    break
                if len(data) != SIZE or not data.startswith(MAGIC):
                    foreign += 1
                    continue
                _, flow, number, sent = PACKET.unpack_from(data)
                records.add(flow, number, sent, _arrival(ancillary) - offset)
                received += 1
            records.flush()
        lost_here = count_overflows(sock)
    records.close()
    return {"received": received, "overflows": lost_here, "foreign": foreign}


def _arrival(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = STAMP.unpack_from(value)
            return int(seconds * 1_000_000_000 + nanoseconds)
    return time.time_ns()


def main() -> None:
    """Command-line face."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    sender = verbs.add_parser("send")
    sender.add_argument("--rate", type=float, default=200.0)
    sender.add_argument("--flow", action="append", default=[], help="NUMBER,ADDRESS")
    receiver = verbs.add_parser("receive")
    for verb in (sender, receiver):
        verb.add_argument("--folder", type=Path, required=True)
        verb.add_argument("--name", required=True)
    args = parser.parse_args()
    if args.verb == "send":
        pairs = (text.split(",", 1) for text in args.flow)
        flows = {int(number): address for number, address in pairs}
        result = send(args.folder, args.name, args.rate, flows)
    else:
        result = receive(args.folder, args.name)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
