"""What a `ping` takes while a program floods the management socket, and what packets lose.

    python -m ribcage.lab.bench.clients --clients 10000 --seconds 10

A router in a lab of its own carries a paced, numbered stream. Another process opens `--clients`
connections one after the other, keeps each for as long as it is let, asks for `fib.show` on it
without ever waiting for an answer, and connects anew when it is let go. Meanwhile this process
connects, asks `system.ping` and leaves, every 50 ms, as a person's command does. Prints the times
of those, how often one was refused, and the packets lost; --json prints one document.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ribcage.lab.bench.tcp import machine
from ribcage.lab.demo.demo import CONFIG
from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.namespaces import Lab
from ribcage.lab.topology.router import Router, running
from ribcage.lab.topology.topologies import demo as demo_topology
from ribcage.shared.errors import RibcageError
from ribcage.shared.management import ManagementClient
from ribcage.shared.process.python import python

EVERY = 0.05  # seconds between two pings
ASK = b'{"jsonrpc":"2.0","id":1,"method":"fib.show","params":{}}\n'
AT_ONCE = 256  # connections of the flood that wait to be let in


def flood(path: str, clients: int) -> None:
    """The program that floods: until it is killed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    selector = selectors.DefaultSelector()
    made = 0
    while True:
        while len(selector.get_map()) < min(AT_ONCE, clients):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            if sock.connect_ex(path) != 0:  # EAGAIN: the queue of those who wait is full
                sock.close()
                break
            made += 1
            if made % clients == 0:
                print(made, flush=True)
            selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        for key, _ in selector.select(0.01):
            _ask(selector, key.fileobj)


def _ask(selector: selectors.BaseSelector, sock: Any) -> None:
    """Reads what there is and asks again; a connection that has ended is forgotten."""
    try:
        with contextlib.suppress(BlockingIOError):
            if not sock.recv(1 << 16):
                raise ConnectionError
        with contextlib.suppress(BlockingIOError):
            sock.send(ASK * 16)
    except OSError:
        selector.unregister(sock)
        sock.close()


def measure(clients: int, seconds: float) -> dict[str, Any]:
    """One flood in one router."""
    facts = machine()
    times: list[float] = []
    refused = 0
    with tempfile.TemporaryDirectory() as name, Lab() as lab:
        demo_topology(lab)
        folder = Path(name)
        router = Router(lab.nodes["r1"], CONFIG, "clients", folder, folder / "run")
        with running(router):
            socket_path = router.names.control_socket
            quiet = [_ping(socket_path) for _ in range(20)]
            words = ("--flood", str(socket_path), "--clients", str(clients))
            command = python("ribcage.lab.bench.clients", *words)
            with Stream(lab.nodes["h1"], lab.nodes["h2"], "10.0.2.2", flows=8) as stream:
                hog = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                try:
                    assert hog.stdout is not None
                    hog.stdout.readline()  # it has opened all its connections once
                    end = time.monotonic() + seconds
                    while time.monotonic() < end:
                        try:
                            times.append(_ping(socket_path))
                        except RibcageError:
                            refused += 1
                        time.sleep(EVERY)
                    counters = router.call("system.clients")["counters"]
                finally:
                    hog.kill()
                    hog.wait()
    result = stream.result
    return {
        "ping_ms": _spread(times),
        "quiet_ms": _spread(quiet),
        "refused": refused,
        "sent": result.sent,
        "lost": result.lost,
        "connections": counters["accepted"] + counters.get("turned_away", 0),
        "requests": counters["requests"],
        "clients": clients,
        "machine": facts,
    }


def _ping(path: Path) -> float:
    """Milliseconds to connect, ask and be answered."""
    start = time.monotonic()
    with ManagementClient(path, 10.0) as client:
        client.call("system.ping")
    return (time.monotonic() - start) * 1e3


def _spread(times: list[float]) -> dict[str, float]:
    return {
        "median": statistics.median(times),
        "p99": sorted(times)[int(len(times) * 0.99)],
        "max": max(times),
    }


def main() -> int:
    """Command-line face."""
    parser = argparse.ArgumentParser(description="A ping while clients flood the socket.")
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--flood", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.flood:
        flood(args.flood, args.clients)
    result = measure(args.clients, args.seconds)
    if args.json:
        print(json.dumps(result))
        return 0
    facts, ping = result["machine"], result["ping_ms"]
    print(f"{facts['cpu']}, {facts['cpus']} CPUs, Linux {facts['kernel']}")
    print(f"{result['connections']} connections, {result['requests']} requests answered")
    print("ping meanwhile, ms: "
          f"median {ping['median']:.1f}  p99 {ping['p99']:.1f}  max {ping['max']:.1f}"
          f"  (quiet {result['quiet_ms']['median']:.1f}), refused {result['refused']}")  # fmt: skip
    print(f"packets lost: {result['lost']} of {result['sent']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
