"""Workers that hang, stop, keep dying or read a frame that kills them, under numbered flows.

What is promised of each: its flows go on, soon, on the others; it is replaced; every packet is
counted; and as long as it lasts nobody says that all is well.
"""

import errno
import os
import re
import signal
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ribcage.lab.probe.traffic import Stream, StreamResult
from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for
from tests.netns.flow_owners import owners, pidfd_getfd, resumed
from tests.netns.router_rig import FLOWS, Rig, config, rig
from tests.netns.worker.frames import udp_frame

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]

TEACH = 'orphan_timeout = "5s"\nteach = true'
PROMISED = 0.7  # seconds until the flows of a hung or stopped worker go on
STEERED = 0.1  # and those of one that is killed again and again, after each death
BATCH = 64
Record = Callable[[str, object], None]


def pause_of(result: StreamResult, ports: list[int], others: list[int], at: int) -> float:
    """Seconds after `at` until all of these flows went on, less what the others stood still."""
    rest = max((resumed(result.flows[port], at) for port in others), default=0.0)
    return max(resumed(result.flows[port], at) for port in ports) - rest


def split(owner: dict[int, int], worker: int) -> tuple[list[int], list[int]]:
    """The source ports of its flows, and of the others'."""
    mine = [port for port, w in owner.items() if w == worker]
    return mine, [port for port in owner if port not in mine]


def row_of(built: Rig, worker: int) -> dict[str, Any]:
    rows = built.router.processes()
    return next(row for row in rows if (row["role"], row["index"]) == ("worker", worker))


def state_of(built: Rig, worker: int) -> str:
    return str(row_of(built, worker)["state"])


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("how", ["hang", "stop"])
def test_flows_of_a_worker_that_hangs_or_is_stopped_go_on(
    how: str, tmp_path: Path, record_property: Record
) -> None:
    """Its flows are with the other within 0.7 s, it is killed and replaced, what lay in its ring
    is forwarded by its successor: nothing is lost, and the flows of the other do not notice."""
    with rig(tmp_path, config(router=TEACH)) as built:
        owner = owners(built)
        mine, others = split(owner, 0)
        assert mine and others, owner
        old = built.router.pid("worker", 0)
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            stream.carried(0.5)
            at = time.monotonic_ns()
            if how == "hang":
                built.router.call("fault.inject", worker=0, kind="hang")
            else:
                os.kill(old, signal.SIGSTOP)
            built.successor("worker", 0, old)
            stream.carried(1.0)
        result = stream.result
        took = pause_of(result, mine, others, at)
        record_property(f"{how}_ms", round(took * 1000))
        print(f"{how}: flows went on after {took * 1000:.0f} ms; {result.lost} lost, "
              f"{result.duplicates} twice")  # fmt: skip
        assert built.log_lines("worker.hung"), built.router.log.read_text()[-2000:]
        built.nothing_lost(result)
        assert result.duplicates <= BATCH
        assert took < PROMISED, result.circumstances
        built.balanced()
        built.echo()


def test_a_stopped_worker_without_traffic_is_left_alone_and_comes_back(tmp_path: Path) -> None:
    """Under a debugger: it is told as stopped, no new frame is given to it, and nobody kills it. It
    goes on when it is continued. Meanwhile no change counts it as seen, nor do the counters
    balance."""
    with rig(tmp_path) as built:
        pid = built.router.pid("worker", 1)
        quiet(built)
        os.kill(pid, signal.SIGSTOP)
        wait_for("stopped", lambda: state_of(built, 1) == "stopped")
        hops = [{"via": "10.0.2.2"}]
        reply = built.router.call("route.add", dst="198.51.100.0/24", nexthops=hops, wait="visible")
        assert reply["workers"] == {
            "seen": 1, "of": 2, "absent": [{"worker": 1, "state": "stopped"}],
        }  # fmt: skip
        stats = built.stats()
        assert stats["balanced"] is False
        assert stats["uncounted"] == [{"worker": 1, "state": "stopped"}]
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            stream.carried(0.6)
        built.nothing_lost(stream.result)
        assert state_of(built, 1) == "stopped"
        os.kill(pid, signal.SIGCONT)
        wait_for("ready", lambda: state_of(built, 1) == "ready")
        assert built.router.pid("worker", 1) == pid
        before = built.received()
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            built.both_carry(before)
        built.nothing_lost(stream.result)
        built.balanced()


def quiet(built: Rig) -> None:
    """Until no frame has come for a second: the kernels' own (RFC 4861, 4862) come when links do,
    and one of them in the ring of who is stopped would rightly end him."""
    seen = [-1, 0.0]

    def look() -> bool:
        rx = sum(built.received())
        if rx != seen[0]:
            seen[:] = [rx, time.monotonic()]
        return time.monotonic() - seen[1] > 1.0

    wait_for("a second without a frame", look, 30)


@pytest.mark.slow
@pytest.mark.alone
def test_flows_of_a_slot_that_keeps_dying_are_with_the_others(
    tmp_path: Path, record_property: Record
) -> None:
    """Killed nine times as soon as it is there: after each death its flows are with the other
    within 0.1 s; it waits for its next try and says when, how often it died and how; and it is
    not given up: the next try serves its flows again. Nothing is lost, all is counted."""
    with rig(tmp_path) as built:
        owner = owners(built)
        mine, others = split(owner, 0)
        kills = []
        pid = built.router.pid("worker", 0)
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            stream.carried(0.3)
            for _ in range(5):
                kills.append(time.monotonic_ns())
                os.kill(pid, signal.SIGKILL)
                pid = built.successor("worker", 0, pid)
                stream.carried(0.15)
            kills.append(time.monotonic_ns())
            os.kill(pid, signal.SIGKILL)
            wait_for("waiting", lambda: state_of(built, 0) == "waiting")
            row = next(
                r for r in built.router.processes() if (r["role"], r["index"]) == ("worker", 0)
            )
            assert re.fullmatch(
                r"next try in [0-5]\.\d s, died 6 times, last: killed by signal 9 \(SIGKILL\)",
                row["note"],
            )
            assert built.stats()["uncounted"] == [{"worker": 0, "state": "waiting"}]
            stream.carried(0.3)
            built.successor("worker", 0, pid, 20.0)
            stream.carried(0.3)
        result = stream.result
        took = [pause_of(result, mine, others, at) for at in kills]
        record_property("steered_ms", [round(one * 1000) for one in took])
        print("steered after ms:", [round(one * 1000) for one in took])
        built.nothing_lost(result)
        assert max(took) < STEERED, (took, result.circumstances)
        built.balanced()


@pytest.mark.parametrize("word", ["abort", "hang"])
def test_a_frame_that_kills_is_set_aside(word: str, tmp_path: Path) -> None:
    """One frame among many ends every worker that reads it. Two die; the third sets it aside,
    counts it under a reason of its own and shows its bytes; all the others arrive."""
    with rig(tmp_path, config(router=TEACH)) as built:
        ours, theirs = built.mac("h1", "eth0"), built.mac("r1", "eth1")

        def frame(payload: bytes) -> bytes:
            return udp_frame(ours, theirs, "10.0.1.2", "10.0.2.2", payload, port=20_001)

        before = built.balanced()
        restarts = sum(r["restarts"] for r in built.router.processes() if r["role"] == "worker")
        poison = frame(b"ribcage:poison:" + word.encode())
        built.send([*[frame(b"good")] * 30, poison, *[frame(b"good")] * 30])
        wait_for("set aside", lambda: built.drops().get("set-aside", 0) == 1, 20.0)

        def all_counted() -> bool:
            stats = built.stats()
            return bool(stats["balanced"]) and stats["totals"]["rx"] >= before["rx"] + 61

        wait_for("all counted", all_counted, 20.0)
        after = built.balanced()
        # A frame of the dead worker's batch that had left before it died may leave twice.
        assert after["forwarded"] - before["forwarded"] >= 60
        report = built.router.call("drops.show")
        (aside,) = report["set_aside"]
        assert bytes.fromhex(aside["bytes"]) == poison and aside["port"] == "eth1"
        rows = [r for r in built.router.processes() if r["role"] == "worker"]
        assert sum(r["restarts"] for r in rows) == restarts + 2, rows
        built.echo()


def test_without_teach_a_poisoned_frame_is_a_frame(tmp_path: Path) -> None:
    with rig(tmp_path) as built:
        ours, theirs = built.mac("h1", "eth0"), built.mac("r1", "eth1")
        frame = udp_frame(
            ours, theirs, "10.0.1.2", "10.0.2.2", b"ribcage:poison:abort", port=20_001
        )
        before = built.balanced()["forwarded"]
        built.send([frame] * 3)
        built.counted("forwarded", lambda: built.stats()["totals"]["forwarded"] >= before + 3)
        assert all(r["restarts"] == 0 for r in built.router.processes() if r["role"] == "worker")


def test_a_descriptor_of_a_ring_neither_opens_its_filter_nor_steers(tmp_path: Path) -> None:
    """What a worker holds is locked: the kernel refuses to detach the filter, to attach another,
    and to change who gets which frames."""
    with rig(tmp_path) as built:
        pid = built.router.pid("worker", 0)
        found = built.r1.call(try_to_unlock, pid)
        assert len(found) >= 3 and set(found) == {("EPERM", "EPERM", "EPERM")}, found


def try_to_unlock(pid: int) -> list[tuple[str, str, str]]:
    """Inside r1: what the kernel says to each packet socket of this process."""
    inodes = {row.split()[-1] for row in Path("/proc/net/packet").read_text().splitlines()[1:]}
    pidfd = os.pidfd_open(pid)
    found = []
    program = struct.pack("HHHHQ", 1, 0, 0, 0, 0)
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        link = str(entry.readlink())
        if not link.startswith("socket:[") or link[8:-1] not in inodes:
            continue
        fd = pidfd_getfd(pidfd, int(entry.name))
        with socket.socket(fileno=fd) as sock:
            said = []
            for level, option, value in (
                (socket.SOL_SOCKET, 27, struct.pack("i", 0)),
                (socket.SOL_SOCKET, 26, program),
                (263, 22, program),
            ):
                try:
                    sock.setsockopt(level, option, value)
                    said.append("done")
                except OSError as error:
                    said.append(errno.errorcode[error.errno or 0])
            found.append((said[0], said[1], said[2]))
    os.close(pidfd)
    return found
