"""Which worker carries which flow of a stream, and how long a flow paused after something happened.

Not a test."""

import ctypes
from collections.abc import Callable

from ribcage.lab.probe.traffic import FlowResult
from ribcage.shared.memory.stats import StatsReader
from tests.netns.counters import read_stats
from tests.netns.router_rig import FLOWS, Rig
from tests.netns.worker.frames import udp_frame


def rx(reader: StatsReader) -> int:
    return reader.snapshot().rx


def received(built: Rig, supervisor: int) -> list[int]:
    """rx of each worker, without asking control."""
    names = [built.router.names.stats(worker) for worker in range(2)]
    return built.r1.call(read_stats, supervisor, names, rx)


def owners(built: Rig) -> dict[int, int]:
    """Which worker gets the flow of each source port: three packets, and whose counter moved."""
    supervisor = built.router.pid("supervisor")
    ours, theirs = built.mac("h1", "eth0"), built.mac("r1", "eth1")
    found = {}
    for port in range(20_000, 20_000 + FLOWS):
        frame = udp_frame(ours, theirs, "10.0.1.2", "10.0.2.2", b"?", port=port)
        # The stream's own target port decides the hash too.
        frame = frame[:36] + (9000).to_bytes(2, "big") + frame[38:]
        before = received(built, supervisor)
        built.send([frame] * 3)
        built.counted("three packets", _more(built, supervisor, sum(before) + 3))
        after = received(built, supervisor)
        found[port] = max(range(2), key=lambda w: after[w] - before[w])
    return found


def _more(built: Rig, supervisor: int, wanted: int) -> Callable[[], bool]:
    return lambda: sum(received(built, supervisor)) >= wanted


def resumed(flow: FlowResult, at: int) -> float:
    """Seconds after `at` at which a flow's pause around it ended, 0 without a pause."""
    ends = [end for begin, end in flow.pauses if begin <= at + 20_000_000 and end > at]
    return max(((end - at) / 1e9 for end in ends), default=0.0)


def pidfd_getfd(pidfd: int, number: int) -> int:
    """A copy of another process's descriptor (we are its user, or root)."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(438, pidfd, number, 0)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return int(fd)
