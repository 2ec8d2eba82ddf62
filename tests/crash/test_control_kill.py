"""kill -9 of control at each step of an update: the successor has every acknowledged route."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import posix_ipc
import pytest

from ribcage.controlplane.process.tables.segments import Segments, open_segments
from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.values.nexthop import BLACKHOLE
from ribcage.shared.memory.fib_records import FibKind
from ribcage.shared.memory.segment import remove_segment
from ribcage.shared.plan import FibPlan, Plan
from ribcage.shared.process.names import Names

PLAN = Plan("t", fib=FibPlan(max_routes4=1000, max_routes6=1000))

# The victim: a core over real segments that is killed inside its second update.
VICTIM = textwrap.dedent(
    """
    import asyncio, os, signal, sys
    from ipaddress import ip_network
    from pathlib import Path
    from ribcage.controlplane.routes.core import Core
    from ribcage.controlplane.values.nexthop import BLACKHOLE
    from ribcage.shared.memory.rows import rows_of
    from ribcage.controlplane.process.tables.segments import open_segments
    from ribcage.controlplane.routes.sources.runtime import RUNTIME
    from ribcage.controlplane.values.wanted import Wanted
    from ribcage.shared.process.names import Names
    from ribcage.shared.plan import FibPlan, Plan

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    async def main(instance, base, where):
        plan = Plan("t", fib=FibPlan(max_routes4=1000, max_routes6=1000))
        names = Names(instance, Path(base))
        segments = await open_segments(names, plan, 7, lambda *a, **k: None)
        core = Core(plan, segments.rib, segments.fib, segments.reader)
        core.takeover(segments.fib_is_new)
        number = core.nexthops.intern(BLACKHOLE)
        def add(prefix):
            wanted = Wanted(ip_network(prefix), RUNTIME.number, BLACKHOLE)
            core.publisher.commit(rows_of([wanted.row(number)]), 1, 1)
        add("198.51.100.0/24")
        if where == "before the FIB":
            core.fib.apply = die
        elif where == "before the generation":
            core.fib.publish = die
        elif where == "before the journal closes":
            core.publisher.table = Closing(core.rib)
        add("203.0.113.0/24")

    class Closing:
        def __init__(self, rib):
            self.rib = rib
        def __getattr__(self, name):
            return die if name == "published" else getattr(self.rib, name)

    asyncio.run(main(*sys.argv[1:]))
    """
)


@pytest.fixture
def names(tmp_path: Path) -> Iterator[Names]:
    made = Names(f"k{uuid4().hex[:12]}", tmp_path)
    made.make_run_dir()
    yield made
    for name in (made.fib, made.rib):
        remove_segment(name)
    posix_ipc.unlink_semaphore(made.writer_semaphore)


@pytest.mark.parametrize(
    "where", ["before the FIB", "before the generation", "before the journal closes"]
)
def test_the_successor_has_the_route_that_was_acknowledged(names: Names, where: str) -> None:
    """SIGKILL at this step: the next control process finds it, publishes it, and verifies."""
    argv = [sys.executable, "-c", VICTIM, names.instance, str(names.run_base), where]
    died = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr

    async def successor() -> None:
        segments: Segments = await open_segments(names, PLAN, 7, lambda *a, **k: None)
        try:
            assert segments.guard.inherited  # one guard from the first word to the journal's end
            core = Core(PLAN, segments.rib, segments.fib, segments.reader)
            taken = core.takeover(segments.fib_is_new)
            assert taken.replayed == 1
            assert not taken.everything
            for address in ("198.51.100.1", "203.0.113.1"):
                assert segments.reader.lookup(address).kind == FibKind.BLACKHOLE
            assert segments.rib.changed() == segments.rib.counts().published
            report: dict[str, Any] = await core.verify(500)
            assert report["differences"] == []
            assert core.forwarding.sets[core.nexthops.intern(BLACKHOLE)] == BLACKHOLE
        finally:
            segments.close()

    import asyncio

    asyncio.run(successor())
