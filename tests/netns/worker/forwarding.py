"""What a worker must do with real veth: one function a promise, run by test_worker_forwarding.py.

unshare -Urn python worker_scenarios.py NAME      exit 0: kept; else a traceback
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from ribcage.shared._core import lib
from worker_frames import (
    icmp_of,
    number_of,
    numbered,
    patched,
    sound,
    ttl_of,
    udp_frame,
)
from worker_lab import PLAN, Lab, drain, ip, port_json, receive, wait_for

from ribcage.shared.process.channel import Channel

SMALL = {"slots": 2048}  # with small slots: many frames, little memory


def frame(lab: Lab, target: str, payload: bytes = b"hello", **words: object) -> bytes:
    source = "fd00:1::2" if ":" in target else "10.1.0.2"
    return udp_frame(lab.peer_mac[0], lab.mac[0], source, target, payload, **words)  # type: ignore[arg-type]


def wait_counted(lab: Lab, rx: int) -> None:
    """Every packet sent is counted, and nothing waits."""
    wait_for(f"rx {rx}", lambda: lab.total("rx") >= rx)


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
        assert example is not None and example.target == bytes([192, 0, 2, 1])


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


def killed_worker_loses_nothing() -> None:
    """kill -9 under traffic, five times: rx is exactly what was sent, each packet arrives, and a
    packet arrives twice only out of one uncommitted batch a kill."""
    plan = replace(PLAN, workers=replace(PLAN.workers, batch=16))
    with Lab(plan, **SMALL) as lab:
        lab.start()
        tx, rx = lab.src.packet_socket("eth0"), lab.dst.packet_socket("eth0")
        sent, got = 0, []
        for _ in range(5):
            for _ in range(300):
                tx.send(frame(lab, "10.2.0.2", numbered(sent)))
                sent += 1
            lab.kill()
            for _ in range(100):  # while nobody reads the ring
                tx.send(frame(lab, "10.2.0.2", numbered(sent)))
                sent += 1
            assert lab.snapshot().balanced
            lab.start()
        wait_counted(lab, sent)
        got = [number_of(f) for f in receive(rx, lambda f: number_of(f) >= 0, sent)]
        time.sleep(0.05)
        got += [number_of(f) for f in drain(rx) if number_of(f) >= 0]
        assert set(got) == set(range(sent))
        assert len(got) - sent <= 5 * 16, f"{len(got) - sent} duplicates"
        snapshot = lab.snapshot()
        assert snapshot.balanced and snapshot.rx == sent and snapshot.forwarded == sent
        assert lab.stats[0].life().restarts == 5


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
        assert [(e.port, e.address) for e in misses] == [(1, socket.inet_aton("10.2.0.77"))]
        assert os.eventfd_read(lab.bell_control) >= 1
        lab.fib.adjacency(5, 1, lab.mac[1], lab.peer_mac[1], "10.2.0.77")
        lab.fib.group(5, lib.FIB_KIND_FORWARD, 5)
        lab.fib.route("10.2.0.77/32", 5)
        lab.fib.publish()
        os.eventfd_write(lab.bell[0], 1)
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


def faults_told(lab: Lab) -> list[int]:
    """Codes of the faults in the event queue, which is emptied."""
    return [event.code for event in lab.queue.receive_batch() if event.type == "worker-fault"]


def faults_kill_as_asked() -> None:
    """A store to the FIB is SIGSEGV, for this process alone; faults need the plan's `teach`."""
    with Lab(replace(PLAN, teach=True)) as lab:
        lab.start()
        lab.tell(type="fault", kind="fib-write")
        assert os.WTERMSIG(lab.reap()) == signal.SIGSEGV
        lab.start()
        lab.tell(type="fault", kind="exit42")
        assert os.WEXITSTATUS(lab.reap()) == 42
        lab.start()
        lab.tell(type="fault", kind="abort")
        assert os.WTERMSIG(lab.reap()) == signal.SIGABRT
        lab.start()
        lab.tell(type="fault", kind="segv")
        assert os.WTERMSIG(lab.reap()) == signal.SIGSEGV
        lab.start()
        lab.tell(type="fault", kind="hang")
        told: list[int] = []
        wait_for("each told before it happens", lambda: told.extend(faults_told(lab)) or
                 told == [lib.WORKER_FAULT_INJECTED] * 5)  # fmt: skip
        lab.tell(type="stop")
        heartbeat = lab.stats[0].life().heartbeat
        time.sleep(0.2)
        assert lab.stats[0].life().heartbeat == heartbeat
        assert os.WTERMSIG(lab.kill()) == signal.SIGKILL
        lab.plan = replace(lab.plan, teach=False)
        lab.start()
        lab.tell(type="fault", kind="exit42")
        lab.tell(type="nonsense", value=[1, 2])
        lab.tell(type="port-add", index="x")
        lab.tell(type="quiesce", id=5)
        assert lab.expect("done").body["id"] == 5
        assert faults_told(lab) == [lib.WORKER_FAULT_MESSAGE], "what could not be obeyed"


def quiesced_worker_leaves_frames_in_the_ring() -> None:
    """Quiesce, resume, stop: frames wait in the ring and none is lost."""
    with Lab() as lab:
        lab.start()
        tx, rx = lab.src.packet_socket("eth0"), lab.dst.packet_socket("eth0")
        lab.tell(type="quiesce", id=1)
        lab.expect("done")
        for n in range(20):
            tx.send(frame(lab, "10.2.0.2", numbered(n)))
        assert lab.snapshot().rx == 0
        wait_for("state", lambda: lab.stats[0].life().state == "quiesced")
        lab.tell(type="resume", id=2)
        assert lab.expect("done").body["id"] == 2
        receive(rx, lambda f: number_of(f) >= 0, 20)
        lab.tell(type="stop")
        assert os.WEXITSTATUS(lab.reap()) == 0
        tx.send(frame(lab, "10.2.0.2", numbered(21)))
        lab.start()
        receive(rx, lambda f: number_of(f) == 21, 1)
        wait_counted(lab, 21)  # a frame leaves before its batch is committed
        assert lab.snapshot().rx == 21


def orphan_forwards_and_is_adopted() -> None:
    """The supervisor is gone: forwarding goes on, the next one gets every descriptor back; with
    no next one the worker stops in order after orphan_timeout."""
    with Lab(replace(PLAN, orphan_timeout=15.0)) as lab:
        lab.start()
        run_dir = lab.run_base / "lab"
        run_dir.mkdir()
        path = run_dir / "supervisor.sock"
        tx, rx = lab.src.packet_socket("eth0"), lab.dst.packet_socket("eth0")
        lab.channels[0].close()
        for n in range(10):
            tx.send(frame(lab, "10.2.0.2", numbered(n)))
        receive(rx, lambda f: number_of(f) >= 0, 10)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(path))
            listener.listen(1)
            listener.settimeout(10)
            lab.channels[0] = Channel(listener.accept()[0])
        hello = lab.expect("hello")
        path.unlink()
        run_dir.rmdir()
        assert hello.body["again"] is True and hello.body["pid"] == lab.pids[0]
        assert hello.body["ports"] == [port_json(p) for p in lab.ports]
        assert set(hello.fds) == {"stats", "bell", "bell-control", "fib", "ring:0", "ring:1"}
        same = os.fstat(hello.fds["ring:1"]).st_ino == os.fstat(lab.rings[1][0]).st_ino
        assert same
        hello.close()
        lab.tell(type="quiesce", id=3)
        lab.expect("done")
        lab.tell(type="stop")
        assert os.WEXITSTATUS(lab.reap()) == 0
        lab.plan = replace(lab.plan, orphan_timeout=0.1)
        lab.start()
        lab.channels[0].close()
        assert os.WEXITSTATUS(lab.reap()) == 0


def port_can_be_replaced() -> None:
    """port-del, then port-add with a new ring (the interface came back): forwarding goes on."""
    from ribcage.dataplane.sockets import open_port

    with Lab() as lab:
        lab.start()
        tx, rx = lab.src.packet_socket("eth0"), lab.dst.packet_socket("eth0")
        for n in range(30):
            tx.send(frame(lab, "10.2.0.2", numbered(n)))
        receive(rx, lambda f: number_of(f) >= 0, 30)
        lab.tell(type="port-del", index=0)
        lab.tell(type="quiesce", id=1)
        lab.expect("done")
        os.close(lab.rings[0][0])
        lab.rings[0][0], _ = open_port(lab.ports[0], 0, 1, 0)
        assert lab.channels[0].send(
            {"type": "port-add", **port_json(lab.ports[0])}, {"ring:0": lab.rings[0][0]}
        )
        lab.tell(type="resume", id=2)
        lab.expect("done")
        tx.send(frame(lab, "10.2.0.2", numbered(40)))
        receive(rx, lambda f: number_of(f) == 40, 1)
        lab.kill()  # a successor resumes the new ring, not the old counters
        tx.send(frame(lab, "10.2.0.2", numbered(41)))
        lab.start()
        receive(rx, lambda f: number_of(f) == 41, 1)
        assert lab.snapshot().balanced


def idle_worker_sleeps() -> None:
    """Without traffic a worker uses next to no CPU, and still sees a new generation's frames."""
    with Lab() as lab:
        lab.start()

        def used() -> int:
            stat = Path(f"/proc/{lab.pids[0]}/stat").read_text()
            fields = stat.rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])

        wait_for("asleep", lambda: lab.stats[0].life().state == "polling")
        before = used()
        time.sleep(1.0)
        assert used() - before <= 5, "more than 5 % of a core"


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


SCENARIOS = {
    function.__name__: function
    for function in list(globals().values())
    if callable(function) and getattr(function, "__module__", "") == "__main__"
    and function.__name__ not in ("frame", "wait_counted", "send_all")
}  # fmt: skip

if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        print("\n".join(SCENARIOS))
    else:
        for name in sys.argv[1:]:
            SCENARIOS[name]()
