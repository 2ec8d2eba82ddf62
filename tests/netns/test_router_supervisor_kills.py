"""The supervisor is killed and nobody follows, or everybody is killed at once."""

import os
import signal
from pathlib import Path

import pytest

from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for
from tests.netns.router_rig import FLOWS, VIA_H2, Rig, config, rig, stopped

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]


def is_over(pid: int) -> bool:
    """Gone, or a zombie that whoever inherited it has yet to reap."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return text.rpartition(")")[2].split()[0] in "ZX"


def everybody(built: Rig) -> dict[str, int]:
    return {f"{row['role']} {row['index']}": row["pid"] for row in built.router.processes()}


def objects(built: Rig) -> list[str]:
    """What is in /dev/shm of the lab."""
    return built.r1.run(["ls", "/dev/shm"]).stdout.split()


def queues(built: Rig) -> int:
    lines = built.r1.run(["ipcs", "-q"]).stdout.splitlines()
    return sum(line.startswith("0x") for line in lines)


def start_again_over(built: Rig) -> None:
    """A next start removes what the dead left, makes its own, forwards; its stop leaves nothing."""
    assert objects(built), "there is nothing left to be cleaned"
    built.router.start()
    assert built.log_lines("leftovers.removed")
    assert queues(built) == 1
    built.echo()
    hop = [VIA_H2]
    built.router.call("route.add", dst="203.0.113.0/24", nexthops=hop, wait="visible")
    built.verified()
    built.balanced()
    stopped(built)
    assert objects(built) == []
    assert queues(built) == 0


def test_orphans_forward_then_stop_in_order(tmp_path: Path) -> None:
    """No supervisor comes back: packets cross until orphan_timeout, then all end in order, the
    kernel is as before; the next start cleans up the objects."""
    with rig(tmp_path, config(router='orphan_timeout = "4s"'), stop=False) as built:
        built.standby_ready()
        pids = everybody(built)
        assert built.router.process is not None
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            stream.carried(0.3)
            os.kill(pids["supervisor 0"], signal.SIGKILL)
            built.router.process.wait(5)
            stream.carried(0.5)
        built.nothing_lost(stream.result)
        children = {name: pid for name, pid in pids.items() if name != "supervisor 0"}
        wait_for("all children ended", lambda: all(map(is_over, children.values())), 15)
        assert [line for line in built.log_lines("control.stop") if "undone=yes" in line]
        assert "rc-host" not in built.r1.run(["ip", "link"]).stdout
        assert built.r1.run(["nft", "list", "ruleset"]).stdout == ""
        start_again_over(built)


def test_everybody_killed_at_once_is_cleaned_by_the_next_start(tmp_path: Path) -> None:
    """SIGKILL to all in one go: what stays behind, kernel settings included, is put right."""
    with rig(tmp_path, stop=False) as built:
        built.standby_ready()
        pids = everybody(built)
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        wait_for("all dead", lambda: all(map(is_over, pids.values())))
        assert built.router.process is not None
        built.router.process.wait(5)
        assert "ribcage" in built.r1.run(["nft", "list", "ruleset"]).stdout
        start_again_over(built)


def test_a_second_supervisor_adopts_and_stops_everybody(tmp_path: Path) -> None:
    """kill -9 of the supervisor, a next one, SIGTERM to that: nobody and nothing is left."""
    with rig(tmp_path) as built:
        before = everybody(built)
        os.kill(before["supervisor 0"], signal.SIGKILL)
        assert built.router.process is not None
        built.router.process.wait(5)
        # A worker that dies while nobody watches is replaced by the one who comes next.
        os.kill(before["worker 1"], signal.SIGKILL)
        built.router.start()
        after = everybody(built)
        assert after["worker 0"] == before["worker 0"]
        assert after["control 0"] == before["control 0"]
        assert after["worker 1"] != before["worker 1"]
        carried = built.received()
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            built.both_carry(carried)
        built.nothing_lost(stream.result)
        built.balanced()
