"""What a worker must do with real veth when it is killed, faulty, quiesced, orphaned or idle."""

import os
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

from ribcage.shared._core import lib

from ribcage.shared.process.channel import Channel
from ribcage.shared.process.names import Names
from tests.netns.worker.frames import (
    number_of,
    numbered,
)
from tests.netns.worker.lab import PLAN, Lab, drain, port_json, receive, wait_for
from tests.netns.worker.scenario import SMALL, frame, main, wait_counted


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
        names = Names("lab", lab.run_base)
        names.make_run_dir()
        path = names.supervisor_socket
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
        names.remove_run_dir()
        assert hello.body["again"] is True and hello.body["pid"] == lab.pids[0]
        assert hello.body["ports"] == [port_json(p) for p in lab.ports]
        assert set(hello.fds) == {"stats", "fib", "ring:0", "ring:1"}
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


if __name__ == "__main__":
    main(globals())
