"""What a worker must do with real veth: frames cross, by flow, whole, as they should be."""

import os
import socket
import threading
from dataclasses import replace

from tests.netns.worker.frames import (
    number_of,
    numbered,
    sound,
    ttl_of,
)
from tests.netns.worker.lab import Lab, drain, ip, receive, wait_for
from tests.netns.worker.scenario import SMALL, frame, main, wait_counted


def forwards_both_families() -> None:
    """TTL minus one, checksums right, counters exact."""
    with Lab() as lab:
        lab.start()
        tx, rx = lab.src.packet_socket("eth0"), lab.dst.packet_socket("eth0")
        for n in range(20):
            tx.send(frame(lab, "10.2.0.2", numbered(n)))
            tx.send(frame(lab, "fd00:2::2", numbered(100 + n), ttl=7))
        got = receive(rx, lambda f: number_of(f) >= 0, 40)
        assert sorted(number_of(f) for f in got) == [*range(20), *range(100, 120)]
        assert {ttl_of(f) for f in got} == {63, 6}
        assert all(sound(f) for f in got)
        assert all(f[:6] == lab.peer_mac[1] and f[6:12] == lab.mac[1] for f in got)
        wait_counted(lab, 40)
        snapshot = lab.snapshot()
        assert snapshot.balanced
        assert snapshot.ports[0].rx >= 40 and snapshot.ports[1].tx >= 40


def send_all(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.close()


def tcp_with_offloads() -> None:
    """Super-frames and unfinished checksums cross the router whole."""
    with Lab() as lab:
        lab.start()
        for family, host in ((socket.AF_INET, "10.2.0.2"), (socket.AF_INET6, "fd00:2::2")):
            data = os.urandom(1 << 20) * 8
            with lab.dst:
                server = socket.create_server((host, 7777), family=family)
            with lab.src:
                client = socket.socket(family, socket.SOCK_STREAM)
            client.settimeout(20)
            server.settimeout(20)
            client.connect((host, 7777))
            connection, _ = server.accept()
            connection.settimeout(20)
            sender = threading.Thread(target=send_all, args=(client, data))
            sender.start()
            received = bytearray()
            while piece := connection.recv(1 << 20):
                received += piece
            sender.join()
            assert bytes(received) == data
            snapshot = lab.snapshot()
            assert snapshot.balanced and snapshot.gso > 0
            assert snapshot.drops["truncated"] == 0


def flows_stick_to_one_of_two_workers() -> None:
    """Fanout: each frame to exactly one worker, a flow always to the same, flows spread."""
    with Lab(workers=2, **SMALL) as lab:
        lab.start(0)
        lab.start(1)
        tx, rx = lab.src.packet_socket("eth0"), lab.dst.packet_socket("eth0")
        shares = []
        for flow in range(24):
            before = [s.snapshot().rx for s in lab.stats]
            target = "10.2.0.2" if flow % 2 else "fd00:2::2"
            for n in range(4):
                tx.send(frame(lab, target, numbered(flow * 10 + n), port=5000 + flow))
            wait_for("counted", lambda b=before: lab.total("rx") == sum(b) + 4)
            shares.append([s.snapshot().rx - b for s, b in zip(lab.stats, before, strict=True)])
        assert all(sorted(share) == [0, 4] for share in shares), shares
        assert 4 <= sum(share[0] == 4 for share in shares) <= 20, shares
        got = [number_of(f) for f in receive(rx, lambda f: number_of(f) >= 0, 96)]
        assert len(set(got)) == 96 and drain(rx) == []


def host_port_keeps_the_ttl() -> None:
    """What the host stack sends is routed without decrement and counted apart."""
    with Lab() as lab:
        lab.ports[0] = replace(lab.ports[0], kind="host")
        lab.start()
        tx, rx = lab.src.packet_socket("eth0"), lab.dst.packet_socket("eth0")
        tx.send(frame(lab, "10.2.0.2", numbered(1), ttl=1))
        assert ttl_of(receive(rx, lambda f: number_of(f) == 1, 1)[0]) == 1
        tx.send(frame(lab, "10.1.0.1", numbered(2)))
        wait_for("same-host", lambda: lab.snapshot().drops["same-host"] == 1)
        snapshot = lab.snapshot()
        assert snapshot.from_host == 2 and snapshot.forwarded == 1 and snapshot.balanced


def own_addresses_are_left_to_the_kernel() -> None:
    """Ping to the router's address is answered by the kernel, once, and counted delivered."""
    with Lab() as lab:
        lab.start()
        with lab.src:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("10.1.0.1", 6000))
            server.settimeout(10)
            sock.sendto(b"question", ("10.1.0.1", 6000))
            assert server.recv(100) == b"question"
        wait_for("delivered", lambda: lab.snapshot().delivered >= 1)
        assert lab.snapshot().forwarded == 0 and lab.snapshot().balanced


def new_mac_needs_no_new_filter() -> None:
    """The port's MAC changes under a bound socket; foreign unicast is still not taken."""
    with Lab() as lab:
        lab.start()
        tx, rx = lab.src.packet_socket("eth0"), lab.dst.packet_socket("eth0")
        ip("link", "set", "p0", "address", "02:00:00:00:00:99")
        old = frame(lab, "10.2.0.2", numbered(1))
        tx.send(old)
        tx.send(bytes.fromhex("020000000099") + old[6:])
        receive(rx, lambda f: number_of(f) == 1, 1)
        tagged = old[:12] + b"\x81\x00\x00\x05" + old[12:]
        tx.send(bytes.fromhex("020000000099") + tagged[6:])
        tx.send(bytes.fromhex("020000000099") + frame(lab, "10.2.0.2", numbered(2))[6:])
        receive(rx, lambda f: number_of(f) == 2, 1)
        wait_counted(lab, 2)
        assert lab.snapshot().rx == 2 and lab.snapshot().balanced


if __name__ == "__main__":
    main(globals())
