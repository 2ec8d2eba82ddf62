"""The supervisor with real workers, real packet sockets and a real (empty) FIB, in a namespace."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ribcage.shared.memory.stats import UNUSABLE
from tests.controlplane.supervisor.memory import private_kb
from tests.netns.counters import stats_paths

pytestmark = pytest.mark.netns
MakeRouter = Callable[..., Any]


def packet_sockets(pid: int) -> set[str]:
    """Inodes of the process's packet sockets, as its namespace lists them."""
    rows = Path(f"/proc/{pid}/net/packet").read_text().splitlines()[1:]
    inodes = {row.split()[-1] for row in rows}
    links = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    return inodes & {link[8:-1] for link in links if link.startswith("socket:[")}


@pytest.fixture
def real(make_router: MakeRouter, tmp_path: Path) -> Any:
    """Two workers, ports w0 and w1 (the two ends of a veth pair) open."""
    namespace = tmp_path / "namespace"
    router = make_router(2, FAKE_REAL=str(namespace))
    router.start()
    namespace.write_text(str(router.worker_pids()[0]))
    for index in (0, 1):
        ifindex = ifindex_of(router.pid, f"w{index}")
        router.tell({"type": "port-open", "index": index, "name": f"w{index}", "ifindex": ifindex,
                     "kind": "port", "slots": 16, "slot_bytes": 69632})  # fmt: skip
        answer = router.said("port-opened")
        assert answer["ok"] is True, answer
    for pid in router.worker_pids():
        router.until("two sockets", lambda pid=pid: len(packet_sockets(pid)) == 2)
    return router


def ifindex_of(pid: int, name: str) -> int:
    """From the namespace's own table: our process is not in it."""
    for row in Path(f"/proc/{pid}/net/dev_snmp6/{name}").read_text().splitlines():
        if row.startswith("ifIndex"):
            return int(row.split()[1])
    raise AssertionError(name)


def test_real_workers_become_ready_and_leave_nothing(real: Any) -> None:
    """Attached, forwarding, no capability; a stop ends them in order."""
    for pid in real.worker_pids():
        assert "CapEff:\t0000000000000000" in Path(f"/proc/{pid}/status").read_text()
    assert private_kb(real.child("supervisor")["pid"]) <= 20 * 1024
    assert real.stop() == 0
    assert "stop.slow" not in real.log_text()
    assert real.leftovers() == []


def test_a_killed_real_worker_is_replaced_on_the_same_sockets(real: Any) -> None:
    """kill -9: the successor is ready soon, with the very sockets of the dead one."""
    old = real.worker_pids()[0]
    had = packet_sockets(old)
    os.kill(old, signal.SIGKILL)
    real.logged("restarts=1")
    new = real.until("another", lambda: next((p for p in real.worker_pids()[:1] if p != old), 0))
    real.until("sockets", lambda: packet_sockets(new) == had)
    real.until("ready", lambda: real.child("worker")["state"] == "ready")


def test_a_worker_whose_object_is_damaged_gets_another(real: Any) -> None:
    """The successor of a worker that spoilt its stats object could only end, and end again: it
    says so by its exit status and is given a new object, on the same sockets."""
    old = real.worker_pids()[0]
    had = packet_sockets(old)
    path = stats_paths(old)[real.names.stats(0)]
    inode = path.stat().st_ino
    with path.open("r+b") as file:
        file.seek(16)  # the layout id, which nobody stores again
        file.write(b"spoilt!!")
    os.kill(old, signal.SIGKILL)
    real.logged("stats.renewed")
    real.until("ready", lambda: real.child("worker")["state"] == "ready")
    new = real.worker_pids()[0]
    assert stats_paths(new)[real.names.stats(0)].stat().st_ino != inode
    real.until("sockets", lambda: packet_sockets(new) == had)
    assert f"exited {UNUSABLE}" in real.log_text()
    assert real.stop() == 0
    assert real.leftovers() == []


def test_real_workers_survive_their_supervisor(real: Any) -> None:
    """kill -9 on the supervisor: the next one adopts them and their sockets, and steers: one more
    for each port, which the workers do not have."""
    workers = real.worker_pids()
    sockets = [packet_sockets(pid) for pid in workers]
    real.disconnect()
    real.crash()
    real.start()
    assert real.worker_pids() == workers
    assert packet_sockets(real.pid) > sockets[0] | sockets[1]
    assert len(packet_sockets(real.pid)) == 2 * 2 + 2
    assert "port.unsteered" not in real.log_text() and "port.renewed" not in real.log_text()
    os.kill(workers[1], signal.SIGKILL)
    real.until("replaced", lambda: real.child("worker", 1)["state"] == "ready"
               and real.child("worker", 1)["own"])  # fmt: skip
    real.until("sockets", lambda: packet_sockets(real.worker_pids()[1]) == sockets[1])
    assert real.stop() == 0
    assert real.leftovers() == []
