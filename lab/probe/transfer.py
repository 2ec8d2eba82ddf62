"""A checked TCP transfer: N bytes there and N other bytes back, with a SHA-256 of each.

    python -m ribcage.lab.probe.transfer serve --bind 10.0.2.2 --port 9100
    python -m ribcage.lab.probe.transfer fetch 10.0.2.2 --port 9100 --mib 64

The server takes one connection and ends; it prints `ready` first. Both print {"sent_sha256",
"received_sha256", "seconds_out", "seconds_back", ...}: equal digests at both ends are the proof.
`--seconds S` sends unchecked zeros one way for S seconds instead: the throughput benchmark.
"""

import argparse
import hashlib
import json
import random
import socket
import time

CHUNK = 1 << 20
HEADER = 16  # bytes: mode and size, before the data


def _payload(mib: int, seed: int) -> bytes:
    """`mib` MiB of seeded bytes: one random MiB, turned by a counter so that no two are equal."""
    block = random.Random(seed).randbytes(CHUNK - 8)
    return b"".join(i.to_bytes(8, "big") + block for i in range(mib))


def _receive(sock: socket.socket, size: int) -> str:
    """SHA-256 of exactly `size` bytes; ConnectionError when the peer ends early."""
    digest, buffer, left = hashlib.sha256(), bytearray(CHUNK), size
    while left:
        got = sock.recv_into(buffer, min(left, CHUNK))
        if not got:
            raise ConnectionError(f"peer ended with {left} of {size} bytes missing")
        digest.update(memoryview(buffer)[:got])
        left -= got
    return digest.hexdigest()


def _exchange(sock: socket.socket, mib: int, first: bool) -> dict[str, object]:
    """One direction, then the other; the connecting side sends first."""
    data = _payload(mib, seed=1 if first else 2)
    result: dict[str, object] = {"mib": mib, "sent_sha256": hashlib.sha256(data).hexdigest()}
    for sending in (first, not first):
        started = time.monotonic()
        if sending:
            sock.sendall(data)
            sock.recv(1)  # the peer has it all
            result["seconds_out"] = round(time.monotonic() - started, 4)
        else:
            result["received_sha256"] = _receive(sock, len(data))
            sock.sendall(b"k")
            result["seconds_back"] = round(time.monotonic() - started, 4)
    return result


def _drain(sock: socket.socket) -> dict[str, object]:
    """Count bytes until the peer ends; the rate is that of the receiver, as iperf counts."""
    buffer, total, started = bytearray(CHUNK), 0, time.monotonic()
    while got := sock.recv_into(buffer):
        total += got
    seconds = time.monotonic() - started
    return {"bytes": total, "seconds": seconds, "gbit_s": total * 8 / seconds / 1e9}


def _flood(sock: socket.socket, seconds: float) -> dict[str, object]:
    data, sent, end = bytes(CHUNK), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        sent += sock.send(data)
    return {"bytes": sent, "seconds": seconds}


def serve(bind: str, port: int) -> dict[str, object]:
    """Take one connection, do what its header says."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.create_server((bind, port), family=family) as listener:
        print("ready", flush=True)
        sock, _ = listener.accept()
    with sock:
        header = sock.recv(HEADER, socket.MSG_WAITALL)
        mib = int.from_bytes(header[8:], "big")
        return _exchange(sock, mib, first=False) if header[0] == 1 else _drain(sock)


def fetch(target: str, port: int, mib: int, seconds: float | None) -> dict[str, object]:
    """Connect and exchange `mib` MiB, or flood for `seconds`."""
    with socket.create_connection((target, port), timeout=20) as sock:
        mode = 1 if seconds is None else 2
        sock.sendall(bytes([mode]).ljust(8, b"\0") + mib.to_bytes(8, "big"))
        return _exchange(sock, mib, first=True) if seconds is None else _flood(sock, seconds)


def main() -> None:
    """Command-line face."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    server = verbs.add_parser("serve")
    server.add_argument("--bind", default="0.0.0.0")
    client = verbs.add_parser("fetch")
    client.add_argument("target")
    client.add_argument("--mib", type=int, default=64)
    client.add_argument("--seconds", type=float)
    for verb in (server, client):
        verb.add_argument("--port", type=int, default=9100)
    args = parser.parse_args()
    if args.verb == "serve":
        result = serve(args.bind, args.port)
    else:
        result = fetch(args.target, args.port, args.mib, args.seconds)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
