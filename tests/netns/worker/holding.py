"""What a worker must do with real veth: packets wait for a neighbour, within bounds."""

import os
import signal
import socket
from dataclasses import replace

from ribcage.shared._core import lib

from tests.netns.worker.frames import (
    icmp_of,
    number_of,
    numbered,
    ttl_of,
)
from tests.netns.worker.lab import PLAN, Lab, receive, wait_for
from tests.netns.worker.scenario import frame, main


def first_packet_waits_for_its_neighbour() -> None:
    """An unknown on-link host: one event, the packets wait, and all go out in order when the
    route to the host is published and the bell rings."""
    with Lab() as lab:
        lab.start()
        lab.queue.receive_batch()
        tx, rx = lab.src.packet_socket("eth0"), lab.dst.packet_socket("eth0")
        for n in range(5):
            tx.send(frame(lab, "10.2.0.77", numbered(n)))
        wait_for("held", lambda: lab.snapshot().held == 5)
        assert lab.stats[0].waiting() and lab.snapshot().balanced
        misses = [e for e in lab.queue.receive_batch() if e.type == "neighbour-miss"]
        assert [(e.port, str(e.address)) for e in misses] == [(1, "10.2.0.77")]
        assert lab.bell[0][0].recv(8)
        waits = lab.stats[0].new_waits()
        assert [(port, str(address)) for port, address in waits] == [(1, "10.2.0.77")]
        lab.fib.adjacency(5, 1, lab.mac[1], lab.peer_mac[1], "10.2.0.77")
        lab.fib.group(5, lib.FIB_KIND_FORWARD, 5)
        lab.fib.route("10.2.0.77/32", 5)
        lab.fib.publish()
        lab.bell[0][0].send(b"x")
        got = receive(rx, lambda f: number_of(f) >= 0, 5)
        assert [number_of(f) for f in got] == [0, 1, 2, 3, 4]
        assert {ttl_of(f) for f in got} == {63}
        wait_for("nothing held", lambda: lab.snapshot().held == 0)
        wait_for("not waiting", lambda: not lab.stats[0].waiting())
        assert lab.snapshot().balanced


def silent_neighbour_ends_in_unreachable() -> None:
    """No answer within hold.timeout: no-neighbour, and host unreachable to the sender; without a
    bell the packet would have been looked up again by itself."""
    plan = replace(PLAN, hold=replace(PLAN.hold, timeout=0.3, per_neighbour=4))
    with Lab(plan) as lab:
        lab.start()
        tx = lab.src.packet_socket("eth0")
        for n in range(10):
            tx.send(frame(lab, "10.2.0.78", numbered(n)))
        wait_for("bounded", lambda: lab.snapshot().drops["neighbour-queue-full"] == 6)
        error = receive(tx, lambda f: icmp_of(f) == (3, 1, 0), 1)[0]
        assert error[26:30] == socket.inet_aton("10.1.0.1")
        wait_for("given up", lambda: lab.snapshot().drops["no-neighbour"] == 4)
        assert lab.snapshot().held == 0 and lab.snapshot().balanced
        lab.fib.adjacency(6, 1, lab.mac[1], lab.peer_mac[1], "10.2.0.79")
        lab.fib.group(6, lib.FIB_KIND_FORWARD, 6)
        rx = lab.dst.packet_socket("eth0")
        tx.send(frame(lab, "10.2.0.79", numbered(50)))
        wait_for("held", lambda: lab.snapshot().held == 1)
        lab.fib.route("10.2.0.79/32", 6)
        lab.fib.publish()
        receive(rx, lambda f: number_of(f) == 50, 1)


def held_packets_of_a_killed_worker_are_counted() -> None:
    """Copies die with their worker: its successor counts them as worker-restarting."""
    with Lab() as lab:
        lab.start()
        tx = lab.src.packet_socket("eth0")
        for n in range(3):
            tx.send(frame(lab, "10.2.0.77", numbered(n)))
        wait_for("held", lambda: lab.snapshot().held == 3)
        lab.kill()
        assert lab.snapshot().held == 3 and lab.snapshot().balanced
        lab.start()
        snapshot = lab.snapshot()
        assert snapshot.held == 0 and snapshot.drops["worker-restarting"] == 3
        assert snapshot.balanced and not lab.stats[0].waiting()
        tx.send(frame(lab, "10.2.0.77", numbered(9)))
        wait_for("held again", lambda: lab.snapshot().held == 1)
        assert os.WEXITSTATUS(lab.kill(number=signal.SIGTERM)) == 0
        snapshot = lab.snapshot()
        assert snapshot.drops["quiesced"] == 1 and snapshot.held == 0 and snapshot.balanced
        assert lab.stats[0].life().state == "stopped"


if __name__ == "__main__":
    main(globals())
