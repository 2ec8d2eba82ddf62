"""What a worker must do with real veth: what is not forwarded is counted, and its sender told."""

import os
import signal
import socket
import subprocess
import time
from dataclasses import replace

from ribcage.shared._core import lib

from tests.netns.worker.frames import (
    icmp_of,
    number_of,
    numbered,
    patched,
    udp_frame,
)
from tests.netns.worker.lab import PLAN, Lab, drain, ip, receive, wait_for
from tests.netns.worker.scenario import SMALL, frame, main, wait_counted


def every_bad_frame_has_its_reason() -> None:
    """Malformed and unwanted frames are counted by reason, and rx is their sum."""
    with Lab() as lab:
        lab.start()
        tx = lab.src.packet_socket("eth0")
        good = frame(lab, "10.2.0.2")
        cases = {
            "bad-version": patched(good, 14, 0x55),
            "bad-checksum": patched(good, 24, good[24] ^ 1),
            "bad-length": good[:-3],
            "ttl-expired": frame(lab, "10.2.0.2", ttl=1),
            "no-route": frame(lab, "192.0.2.1"),
            "blackhole": frame(lab, "10.10.0.1"),
            "unreachable": frame(lab, "10.11.0.1"),
            "prohibited": frame(lab, "10.12.0.1"),
            "bad-destination": frame(lab, "127.0.0.1"),
            "bad-source": udp_frame(
                lab.peer_mac[0], lab.mac[0], "127.0.0.1", "10.2.0.2", b"martian"
            ),
        }
        before = lab.snapshot()
        for bad in cases.values():
            for _ in range(3):
                tx.send(bad)
        for name in cases:
            wait_for(name, lambda name=name: lab.snapshot().drops[name] >= 3)
        after = lab.snapshot()
        assert after.balanced
        assert after.rx - before.rx == 3 * len(cases)
        assert {n: after.drops[n] for n in cases} == dict.fromkeys(cases, 3)
        example = lab.stats[0].example("no-route")
        assert example is not None and str(example.target) == "192.0.2.1"


def icmp_errors_name_the_router() -> None:
    """Time exceeded, unreachable and too big come from the ingress port's address."""
    with Lab() as lab:
        lab.start()
        tx = lab.src.packet_socket("eth0")
        lab.fib.adjacency(3, 1, lab.mac[1], lab.peer_mac[1], "10.2.0.2", mtu=1000)
        lab.fib.group(3, lib.FIB_KIND_FORWARD, 3)
        lab.fib.route("10.13.0.0/16", 3)
        lab.fib.route("fd13::/16", 3)
        lab.fib.publish()

        def error_of_router(f: bytes) -> bool:
            found = icmp_of(f)
            return found is not None and found[0] < 128 and f[6:12] == lab.mac[0]

        wanted = {
            (11, 0, 0): frame(lab, "10.2.0.2", ttl=1),
            (3, 0, 0): frame(lab, "192.0.2.1"),
            (3, 1, 0): frame(lab, "10.11.0.1"),
            (3, 13, 0): frame(lab, "10.12.0.1"),
            (3, 4, 1000): frame(lab, "10.13.0.1", bytes(1200), dont_fragment=True),
            (3, 0): frame(lab, "fd00:2::2", ttl=1),
            (2, 0, 1000): frame(lab, "fd13::1", bytes(1200)),
        }
        for about in wanted.values():
            tx.send(about)
        errors = receive(tx, error_of_router, 7)
        found = {icmp_of(f) for f in errors}
        assert {(11, 0, 0), (3, 0, 0), (3, 1, 0), (3, 13, 0), (3, 4, 1000)} <= found
        assert (2, 0, 1000) in found
        sources = {f[26:30] if f[12] == 8 else f[22:38] for f in errors}
        assert sources == {socket.inet_aton("10.1.0.1"), socket.inet_pton(10, "fd00:1::1")}
        wait_for("icmp_sent", lambda: lab.snapshot().icmp_sent == 7)
        assert lab.snapshot().balanced


def icmp_flood_is_limited() -> None:
    """A flood of TTL 1 costs at most the configured errors; the rest is counted."""
    plan = replace(PLAN, icmp=replace(PLAN.icmp, rate=10, burst=5, per_source=10))
    with Lab(plan, **SMALL) as lab:
        lab.start()
        tx = lab.src.packet_socket("eth0")
        start = time.monotonic()
        for _ in range(500):
            tx.send(frame(lab, "10.2.0.2", ttl=1))
        wait_for("all counted", lambda: lab.snapshot().drops["ttl-expired"] == 500)
        allowed = 5 + 10 * (time.monotonic() - start) + 1
        snapshot = lab.snapshot()
        assert 1 <= snapshot.icmp_sent <= allowed
        assert snapshot.icmp_sent + snapshot.icmp_limited == 500


def burst_beyond_ring_is_counted() -> None:
    """A stopped worker's full ring: the rest is counted as rx and as rx-ring-full, and every
    frame that was queued leaves afterwards, though it is many batches."""
    with Lab() as lab:
        lab.start()
        tx, rx = lab.src.packet_socket("eth0"), lab.dst.packet_socket("eth0")
        os.kill(lab.pids[0], signal.SIGSTOP)
        for n in range(400):
            tx.send(frame(lab, "10.2.0.2", numbered(n)))
        os.kill(lab.pids[0], signal.SIGCONT)
        wait_counted(lab, 400)
        snapshot = lab.snapshot()
        lost = snapshot.drops["rx-ring-full"]
        assert snapshot.balanced and snapshot.rx == 400 and lost > 200
        assert snapshot.ports[0].ring_drops == lost
        got = receive(rx, lambda f: number_of(f) >= 0, 400 - lost)
        assert [number_of(f) for f in got] == list(range(400 - lost))


def full_egress_is_a_counted_drop() -> None:
    """A slow link: what its queue refuses is counted, the worker never waits."""
    with Lab(**SMALL) as lab:
        made = subprocess.run(
            ["tc", "qdisc", "add", "dev", "p1", "root", "tbf", "rate", "80kbit", "burst", "2000",
             "limit", "3000"], check=False, capture_output=True,
        )  # fmt: skip
        if made.returncode != 0:
            print("SKIP: this kernel has no tbf:", made.stderr.decode().strip())
            return
        lab.start()
        tx = lab.src.packet_socket("eth0")
        for n in range(300):
            tx.send(frame(lab, "10.2.0.2", numbered(n, 200)))
        wait_counted(lab, 300)
        snapshot = lab.snapshot()
        assert snapshot.balanced and snapshot.rx == 300
        assert snapshot.drops["tx-full"] > 200
        assert snapshot.forwarded + snapshot.drops["tx-full"] == 300


def dead_egress_is_a_counted_drop() -> None:
    """The egress interface goes down: port-down, an event, and the other port still works."""
    with Lab(**SMALL) as lab:
        lab.start()
        tx, back = lab.src.packet_socket("eth0"), lab.src.packet_socket("eth0")
        ip("link", "set", "p1", "down")
        for n in range(50):
            tx.send(frame(lab, "10.2.0.2", numbered(n)))
        wait_for("port-down", lambda: lab.snapshot().drops["port-down"] == 50)
        tx.send(frame(lab, "10.1.0.2", numbered(99)))
        receive(back, lambda f: number_of(f) == 99 and f[6:12] == lab.mac[0], 1)
        events = lab.queue.receive_batch()
        assert any(e.type == "port-error" and e.port == 1 for e in events)
        ip("link", "set", "p1", "up")
        rx = lab.dst.packet_socket("eth0")

        def crosses() -> bool:
            tx.send(frame(lab, "10.2.0.2", numbered(7)))
            return any(number_of(f) == 7 for f in drain(rx))

        wait_for("forwarding after the link is back", crosses)


if __name__ == "__main__":
    main(globals())
