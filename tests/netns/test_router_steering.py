"""Which worker gets which flow, through the deaths of those who decide it: the supervisor killed,
with a worker and without, links that flap, workers that come and go by reload."""

import contextlib
import os
import signal
import socket
from pathlib import Path

import pytest

from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for
from tests.netns.flow_owners import owners, pidfd_getfd
from tests.netns.router_rig import FLOWS, Rig, config, rig

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]

GAP = 4  # packets: half a millisecond of 8,000 a second
SLOW = 'count = 2\nrestart = { max = 0, window = "60s" }'  # who dies is away for 5 s


def no_supervisor(built: Rig) -> None:
    assert built.router.process is not None
    os.kill(built.router.pid("supervisor"), signal.SIGKILL)
    built.router.process.wait(5)


def away(built: Rig, worker: int) -> int:
    """Kills a worker, and its successor, who died young: the next one comes in 5 s only. The pid of
    the last one."""
    pid = 0

    def waits() -> bool:
        nonlocal pid
        rows = built.router.processes()
        row = next(r for r in rows if (r["role"], r["index"]) == ("worker", worker))
        if row["pid"] not in (0, None, pid):
            pid = row["pid"]
            os.kill(pid, signal.SIGKILL)
        return bool(row["state"] == "waiting")

    wait_for("waiting", waits)
    return pid


def carried_by_one(built: Rig, worker: int) -> None:
    """Asserts that a stream is whole, and that this worker alone received it."""
    before = built.received()
    with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
        stream.carried(0.4)
    built.nothing_lost(stream.result)
    moved = [now - then for now, then in zip(built.received(), before, strict=True)]
    assert moved[worker] >= stream.result.sent
    assert sum(moved) == moved[worker], moved


def test_the_next_supervisor_steers_and_loses_no_packet(tmp_path: Path) -> None:
    """kill -9 of the supervisor under traffic, and the next one: no packet is lost, no flow changes
    its worker; a worker that dies then is steered away from as before."""
    with rig(tmp_path, config(workers=SLOW)) as built:
        owner = owners(built)
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            stream.carried(0.3)
            no_supervisor(built)
            stream.carried(0.3)
            built.router.start()
            stream.carried(0.3)
        built.nothing_lost(stream.result)
        assert not built.log_lines("port.renewed") and not built.log_lines("port.unsteered")
        assert owners(built) == owner
        for worker in (0, 1):
            pid = away(built, worker)
            carried_by_one(built, 1 - worker)
            built.successor("worker", worker, pid)
        assert owners(built) == owner
        built.balanced()


def test_new_sockets_of_an_adopted_port_are_there_before_their_frames(tmp_path: Path) -> None:
    """A worker dies while there is no supervisor, its flows go on with the other; then the next
    supervisor comes, under traffic, and gives it sockets anew: what comes for them waits for its
    worker. The gap is the moment between joining and opening the filter (decision 22): GAP."""
    with rig(tmp_path, config(workers=SLOW)) as built:
        pid = built.router.pid("worker", 1)
        no_supervisor(built)
        os.kill(pid, signal.SIGKILL)
        wait_for("dead", lambda: not Path(f"/proc/{pid}").exists())
        with Stream(built.h1, built.h2, "10.0.2.2", rate=8000, flows=FLOWS) as stream:
            stream.carried(0.3)
            built.router.start()
            built.successor("worker", 1, pid)
            stream.carried(0.3)
        assert stream.result.lost <= GAP, stream.result.circumstances
        built.balanced()


@pytest.mark.parametrize("worker", [0, 1])
def test_a_worker_killed_with_the_supervisor_has_its_share_again(
    worker: int, tmp_path: Path
) -> None:
    """Nobody has a copy of its sockets any more. The next supervisor makes what it has to make
    anew, and all flows are where they were."""
    with rig(tmp_path, config(workers=SLOW)) as built:
        owner = owners(built)
        pid = built.router.pid("worker", worker)
        no_supervisor(built)
        os.kill(pid, signal.SIGKILL)
        built.router.start()
        built.successor("worker", worker, pid)
        assert bool(built.log_lines("port.renewed")) == (worker == 0)
        before = built.received()
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            built.both_carry(before)
        built.nothing_lost(stream.result)
        assert owners(built) == owner
        for other in (0, 1):
            pid = away(built, other)
            carried_by_one(built, 1 - other)
            built.successor("worker", other, pid)
        built.balanced()


def test_a_link_that_flaps_changes_no_members_place(tmp_path: Path) -> None:
    """Down and up again takes all members out of the group and in: with a worker away its flows
    are with the other still, and at home when it is back."""
    with rig(tmp_path, config(workers=SLOW), stop=False) as built:
        owner = owners(built)
        for worker in (0, 1):
            pid = away(built, worker)
            built.h1.ip("link set eth0 down", "link set eth0 up")
            built.r1.ip("link set eth1 down", "link set eth1 up")
            built.h1.ip("route replace default via 10.0.1.1")
            wait_for("the way back", lambda: _answers(built))
            carried_by_one(built, 1 - worker)
            built.successor("worker", worker, pid)
        assert owners(built) == owner
        assert built.router.stop() == 0


def test_a_worker_that_took_its_ring_down_gets_another(tmp_path: Path) -> None:
    """Whoever holds the socket can do that. The successor says that it cannot map it; the port's
    sockets are made anew, and all flows are where they were."""
    with rig(tmp_path, config(workers=SLOW)) as built:
        owner = owners(built)
        supervisor = built.router.pid("supervisor")
        pid = away(built, 0)
        assert built.r1.call(take_a_ring_down, supervisor) == 1
        built.successor("worker", 0, pid, 30.0)
        assert len(built.log_lines("port.unmappable")) == 1
        assert len(built.log_lines("port.renewed")) == 1
        assert owners(built) == owner
        built.balanced()


def take_a_ring_down(pid: int) -> int:
    """Inside r1: of one of this process's sockets, the first that nobody maps. How many."""
    pidfd = os.pidfd_open(pid)
    inodes = {row.split()[-1] for row in Path("/proc/net/packet").read_text().splitlines()[1:]}
    done = 0
    for entry in sorted(Path(f"/proc/{pid}/fd").iterdir(), key=lambda one: int(one.name)):
        link = str(entry.readlink())
        if done or not link.startswith("socket:[") or link[8:-1] not in inodes:
            continue
        sock = socket.socket(fileno=pidfd_getfd(pidfd, int(entry.name)))
        with sock, contextlib.suppress(OSError):  # EBUSY: a worker lives and has it mapped
            sock.setsockopt(263, 5, bytes(16))
            done += 1
    os.close(pidfd)
    return done


def _answers(built: Rig) -> bool:
    try:
        built.echo(count=1)
    except Exception:
        return False
    return True


def test_workers_that_come_and_go_by_reload_keep_their_places(tmp_path: Path) -> None:
    """2, 4, 1, 3 workers: nothing is lost, and whoever dies then is steered away from."""

    def text(count: int) -> str:
        return config(workers=SLOW.replace("count = 2", f"count = {count}"))

    with rig(tmp_path, text(2)) as built:
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            for count in (4, 1, 3):
                (built.router.folder / "rt.toml").write_text(text(count))
                os.kill(built.router.pid("supervisor"), signal.SIGHUP)
                wait_for(f"{count} workers", lambda count=count: _ready(built) == count, 20.0)
                stream.carried(0.2)
        built.nothing_lost(stream.result)
        pids = {worker: away(built, worker) for worker in (0, 1)}
        carried_by_one(built, 2)
        for worker, pid in pids.items():
            built.successor("worker", worker, pid)
        built.balanced()


def _ready(built: Rig) -> int:
    rows = [row for row in built.router.processes() if row["role"] == "worker"]
    return len(rows) if all(row["state"] == "ready" for row in rows) else 0
