"""kill -9 on the supervisor: everybody goes on, the next one takes them back."""

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ribcage.shared.process.channel import Channel
from ribcage.shared.process.message import ChannelClosed

MakeRouter = Callable[..., Any]


def inodes(pid: int, what: str) -> set[tuple[str, int]]:
    """(name, inode) of the descriptors whose link contains `what`."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        link = str(entry.readlink())
        if what in link:
            found.add((link, entry.stat().st_ino))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def adopted(router: Any) -> dict[str, list[int]]:
    """Pids by role, once control and all workers are ready under the new supervisor."""
    rows = router.ps()
    result: dict[str, list[int]] = {}
    for row in rows:
        result.setdefault(row["role"], []).append(row["pid"])
    return result


def test_the_next_supervisor_keeps_everybody(router: Any) -> None:
    """Same pids, same rings, same queue, instance and stats; no worker was restarted."""
    router.open_port(0)
    router.open_port(1, "eth1", 6)
    router.until("standby", lambda: any(r["role"] == "standby" for r in router.state()["children"]))
    before, state = adopted(router), router.state()
    since = router.child("worker", 1)["started_ns"]
    rings = inodes(before["worker"][1], "ring-")
    assert len(rings) == 2
    router.disconnect()
    router.crash()
    assert all(alive(pid) for pid in before["worker"] + before["control"])
    router.start()
    after, now = adopted(router), router.state()
    assert {role: pids for role, pids in after.items() if role != "supervisor"} == {
        role: pids for role, pids in before.items() if role != "supervisor"
    }
    for key in ("instance_id", "queue_key", "semaphore", "shm"):
        assert now[key] == state[key]
    assert inodes(router.pid, "ring-1-1") == {x for x in rings if "ring-1-1" in x[0]}
    assert "ports-request" in router.heard()
    assert abs(router.child("worker", 1)["started_ns"] - since) < 200_000_000
    assert router.stop() == 0
    assert router.leftovers() == []


def test_an_adopted_worker_with_an_older_fib_gets_the_present_one(router: Any) -> None:
    """Control made another one while no supervisor lived: nobody sends by the old one for long."""
    path = Path("/dev/shm") / router.names.fib[1:]
    router.disconnect()
    router.crash()
    fresh = path.with_name(path.name + ".test")
    fresh.write_bytes(path.read_bytes())
    os.chown(fresh, path.stat().st_uid, path.stat().st_gid)
    fresh.chmod(path.stat().st_mode & 0o777)
    fresh.replace(path)
    number = path.stat().st_ino
    router.start()
    workers = router.worker_pids()
    assert workers
    for pid in workers:
        router.until(
            "the present FIB",
            lambda pid=pid: number in {inode for _, inode in inodes(pid, path.name)},
        )
    assert router.stop() == 0


def test_an_adopted_worker_that_dies_is_replaced_with_its_rings(router: Any) -> None:
    """Its end is seen by pidfd, its status unknown; the successor gets the rings given back."""
    router.open_port(0)
    worker = router.worker_pids()[0]
    router.until("ring", lambda: inodes(worker, "ring-"))
    rings = inodes(worker, "ring-")
    router.disconnect()
    router.crash()
    router.start()
    os.kill(worker, signal.SIGKILL)
    router.logged("worker 0 unknown (not our child)")
    router.until("ready", lambda: router.child("worker")["state"] == "ready")
    row = router.child("worker")
    assert row["pid"] != worker
    assert row["own"] is True
    assert inodes(row["pid"], "ring-") == rings


def test_a_worker_that_died_meanwhile_is_forked_and_its_rings_made_anew(router: Any) -> None:
    """Nobody had its rings any more: new sockets are opened, and control is asked for its ports."""
    router.open_port(0)
    first, second = router.worker_pids()
    router.disconnect()
    router.crash()
    os.kill(second, signal.SIGKILL)
    router.until("dead", lambda: not alive(second))
    router.start()
    assert router.worker_pids()[0] == first
    assert "ports-request" in router.heard()
    router.until("ring", lambda: inodes(router.worker_pids()[1], "ring-0-1"))
    assert inodes(router.worker_pids()[0], "ring-0-0")


def test_a_dead_control_is_replaced_by_the_adopted_standby(router: Any) -> None:
    """Supervisor and control killed together: the standby is found and promoted."""
    router.until("standby", lambda: any(r["role"] == "standby" for r in router.state()["children"]))
    rows = {row["role"]: row["pid"] for row in router.state()["children"]}
    workers = router.worker_pids()
    router.disconnect()
    router.crash()
    os.kill(rows["control"], signal.SIGKILL)
    router.names.control_socket.unlink()
    router.start()
    assert router.child("control")["pid"] == rows["standby"]
    assert router.worker_pids() == workers


def test_control_is_forked_when_nobody_is_left_to_be_it(router: Any) -> None:
    """Supervisor, control and standby killed: workers go on under a new control."""
    router.until("standby", lambda: any(r["role"] == "standby" for r in router.state()["children"]))
    workers = router.worker_pids()
    router.disconnect()
    router.crash()
    for row in router.state()["children"]:
        if row["role"] != "worker":
            os.kill(row["pid"], signal.SIGKILL)
    router.start()
    assert router.child("control")["state"] == "ready"
    assert router.worker_pids() == workers, router.log_text()


def test_the_silent_are_killed_and_replaced(make_router: MakeRouter) -> None:
    """A stopped worker says no hello: after the deadline its slot goes to a new one."""
    router = make_router(2, FAKE_ADOPTION="0.7").start()
    first, second = router.worker_pids()
    router.disconnect()
    router.crash()
    os.kill(second, signal.SIGSTOP)
    router.start()
    router.logged("child.silent")
    router.until("killed", lambda: not alive(second))
    assert router.worker_pids()[0] == first
    assert router.worker_pids()[1] != second


def test_nobody_left_means_leftovers_are_removed(router: Any) -> None:
    """Everybody killed at once: the next start removes what the state file names, and starts."""
    state = router.state()
    router.disconnect()
    router.crash()
    for row in state["children"]:
        os.kill(row["pid"], signal.SIGKILL)
    router.until("all dead", lambda: not any(alive(row["pid"]) for row in state["children"]))
    assert router.leftovers() != []
    router.start()
    router.logged("leftovers.removed")
    assert router.state()["instance_id"] != state["instance_id"]
    assert router.state()["queue_key"] != state["queue_key"]
    keys = {int(r.split()[0]) for r in Path("/proc/sysvipc/msg").read_text().splitlines()[1:]}
    assert state["queue_key"] not in keys
    assert router.stop() == 0
    assert router.leftovers() == []


def test_without_a_successor_they_stop_in_time(make_router: MakeRouter) -> None:
    """orphan_timeout: nobody stays for ever behind a supervisor that does not come back."""
    router = make_router(1)
    router.write_plan(1, orphan_timeout=0.3)
    router.start()
    router.crash()
    pids = [row["pid"] for row in router.state()["children"]]
    router.until("gone", lambda: not any(alive(pid) for pid in pids))


def connect(router: Any) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(str(router.names.supervisor_socket))
    return sock


def closed(sock: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        try:
            return sock.recv(1, socket.MSG_DONTWAIT) == b""
        except ConnectionError:
            return True
    return False


def test_a_stranger_is_shut_out_before_a_byte_is_read(router: Any) -> None:
    """Root or the same user, with the best of hellos or the largest of messages: nobody that the
    state file names is waited for, so whoever comes is closed at once. Four memfds of 40 MB once
    cost 2.3 s of the supervisor; now its CPU time hardly moves."""
    hello = {"type": "hello", "role": "worker", "index": 0, "pid": os.getpid(), "version": "0",
             "instance": router.names.instance, "again": True}  # fmt: skip
    before = router.child("supervisor")["cpu"]
    for _ in range(4):
        sock = connect(router)
        with contextlib.suppress(ChannelClosed):  # shut out before it has spoken
            guest = Channel(sock)
            guest.send(hello | {"more": "[" * (40 << 20)})
        router.until("refused", lambda sock=sock: closed(sock))
        sock.close()
    assert "guest.refused" in router.log_text()
    assert "is nobody we wait for" in router.log_text()
    assert [row["state"] for row in router.ps() if row["role"] == "worker"] == ["ready", "ready"]
    assert router.child("supervisor")["cpu"] - before < 0.3


def test_strangers_without_number_cost_few_lines(router: Any) -> None:
    """Three hundred connections: closed each, no descriptor stays, some lines of log."""
    for _ in range(300):
        sock = connect(router)
        router.until("closed", lambda sock=sock: closed(sock))
        sock.close()
    assert 1 <= router.log_text().count("guest.refused") < 30
    assert router.child("supervisor")["fds"] < 60
    assert router.stop() == 0


def test_a_stranger_is_shut_out_while_the_living_are_waited_for(make_router: MakeRouter) -> None:
    """One worker is stopped, so that the adoption lasts: who comes meanwhile is not heard."""
    router = make_router(2, FAKE_ADOPTION="2").start()
    first, second = router.worker_pids()
    router.disconnect()
    router.crash()
    os.kill(second, signal.SIGSTOP)
    router.process = router.launch()
    router.logged("supervisor.adopts")
    sock = connect(router)
    router.until("refused", lambda: closed(sock))
    sock.close()
    assert router.log_text().count(" ready workers=") == 1, "the adoption was over before"
    router.logged(" ready workers=2", 2)
    router.note_pids()
    assert router.worker_pids()[0] == first
    assert "is nobody we wait for" in router.log_text()
