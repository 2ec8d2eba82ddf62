"""Control is stopped, not dead: nobody empties the event queue, and packets cross all the same."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for
from ribcage.shared.memory.stats import StatsReader
from tests.netns.counters import read_stats
from tests.netns.router_rig import FLOWS, Rig, rig
from tests.netns.worker.frames import udp_frame

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]

QUEUE = "[events]\nqueue_bytes = 1024\n[hold]\ntimeout = '2s'\n"  # 16 events, 12 of misses
UNKNOWN = range(100, 220)  # hosts of eth2's network that nobody is


def life(reader: StatsReader) -> tuple[int, int]:
    """(pid, events_lost)."""
    told = reader.life()
    return told.pid, told.events_lost


def lives(built: Rig, supervisor: int) -> list[tuple[int, int]]:
    """Of both workers, without asking control."""
    names = [built.router.names.stats(worker) for worker in range(2)]
    return built.r1.call(read_stats, supervisor, names, life)


def scan(built: Rig) -> None:
    """One packet to each unknown host, from ports that spread over the workers."""
    ours, theirs = built.mac("h1", "eth0"), built.mac("r1", "eth1")
    built.send(
        [
            udp_frame(ours, theirs, "10.0.1.2", f"10.0.2.{host}", b"?", port=5000 + host)
            for host in UNKNOWN
        ]
    )


def test_a_stopped_control_and_a_full_queue_cost_no_packet(tmp_path: Path) -> None:
    """SIGSTOP on control under a stream, and more misses than the queue holds: nothing is lost,
    the workers stay, lost events are counted; after SIGCONT new hosts are resolved again and no
    first packet is lost."""
    with rig(tmp_path, more=QUEUE) as built:
        control, supervisor = built.router.pid("control"), built.router.pid("supervisor")
        workers = [pid for pid, _ in lives(built, supervisor)]
        before = built.received()
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            built.both_carry(before)
            os.kill(control, signal.SIGSTOP)
            try:
                scan(built)
                wait_for("lost events", _lost(built, supervisor))
                stream.carried(0.5)
                assert [pid for pid, _ in lives(built, supervisor)] == workers
            finally:
                os.kill(control, signal.SIGCONT)
            built.router.wait_ready()
            stream.carried(0.2)
        built.nothing_lost(stream.result)
        assert stream.result.duplicates == 0
        assert built.router.pid("control") == control
        wait_for("the log says so", lambda: built.log_lines("events.lost"))
        built.counted("given up", lambda: built.stats()["totals"]["held"] == 0)
        built.h2.ip("addr add 10.0.2.9/24 dev eth0")
        built.echo("10.0.2.9")
        built.balanced()


def test_a_control_that_stays_stopped_is_replaced_and_no_packet_is_lost(tmp_path: Path) -> None:
    """SIGSTOP for good: within control.hang_timeout the standby serves changes, packets cross all
    the while, `ps` and the log say why, and a command given meanwhile is answered."""
    with rig(tmp_path, more="[control]\nhang_timeout = '1s'\n") as built:
        built.standby_ready()
        control = built.router.pid("control")
        workers = [built.router.pid("worker", index) for index in range(2)]
        before = built.received()
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            built.both_carry(before)
            os.kill(control, signal.SIGSTOP)
            built.successor("control", 0, control)
            built.router.call("route.add", dst="203.0.113.0/24", nexthops=[{"via": "10.0.2.2"}])
            stream.carried(0.2)
        built.nothing_lost(stream.result)
        (row,) = [row for row in built.router.processes() if row["role"] == "control"]
        assert row["hangs"] == 1 and row["last_exit"].startswith("stopped: no answer for ")
        assert [built.router.pid("worker", index) for index in range(2)] == workers
        assert built.log_lines("child.stopped")
        built.verified()
        built.balanced()


def _lost(built: Rig, supervisor: int) -> Callable[[], bool]:
    return lambda: sum(lost for _, lost in lives(built, supervisor)) > 0
