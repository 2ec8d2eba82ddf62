"""The workers as control sees them: of a slot that went nothing is left to be touched."""

import mmap
import os
import subprocess
import sys

from ribcage.shared._core import ffi

from ribcage.controlplane.workers.workers import Workers, WorkerSlot
from ribcage.shared.memory.stats import SIZE, StatsReader, format_stats

# In a process of its own: what this guards against is SIGSEGV.
GONE = """
import os
from ribcage.controlplane.workers.workers import Workers, WorkerSlot
from ribcage.shared._core import ffi
from ribcage.shared.memory.stats import SIZE, StatsReader, format_stats

fd = os.memfd_create("stats", os.MFD_CLOEXEC)
os.ftruncate(fd, SIZE)
format_stats(fd, 0, 99)
workers = Workers()
workers.slots[0] = WorkerSlot(0, StatsReader(fd), state="running")
waiting = workers.watches()
reader = waiting[0].stats
assert waiting[0].look().worker == 0
{end}
assert not waiting[0].look().alive
workers.close()
assert not waiting[0].look().alive
for use in (reader.life, reader.seen, reader.snapshot, reader.waiting, reader.histogram):
    try:
        use()
    except (AttributeError, TypeError):
        continue
    raise SystemExit(f"{{use}} of a closed object gave an answer")
"""


def run(end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GONE.format(end=end)],
        capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr}"


def test_a_slot_that_went_while_somebody_waited_is_not_alive() -> None:
    """The supervisor takes a worker away during a wait_visible(): its counters are kept, until
    the slot comes back with an object of its own. Control once died of SIGSEGV there."""
    back = '[{"index": 0, "pid": 7, "state": "ready"}]'
    run(f"workers.states([]); assert not waiting[0].look().alive; workers.states({back})")


def test_closing_all_leaves_no_stale_object() -> None:
    run("workers.close()")


def test_a_worker_that_still_has_the_fib_before_has_seen_nothing_of_this_one() -> None:
    """A FIB that was built anew begins at generation 0: a worker that still has the one before,
    at 1000, would seem to have seen all of it. It forwards by that one, so it is waited for."""
    fd = os.memfd_create("stats", os.MFD_CLOEXEC)
    os.ftruncate(fd, SIZE)
    format_stats(fd, 0, 99)
    workers = Workers()
    workers.slots[0] = slot = WorkerSlot(0, StatsReader(fd), state="ready")
    with mmap.mmap(fd, SIZE) as memory, ffi.from_buffer(memory) as base:
        stats = ffi.cast("struct stats_object *", base)
        stats.life.pid, stats.seen.generation, stats.seen.table = 1, 1000, 5
        assert slot.look().alive
        workers.use(5)
        assert slot.look().alive
        workers.use(6)
        assert slot.look().alive and not slot.look().uses(1)
        stats.seen.generation, stats.seen.table = 2, 6
        assert (slot.look().alive, slot.look().generation) == (True, 2)
    workers.states([{"index": 1, "pid": 7, "state": "ready"}])
    assert workers.slots[1].table == 6
    workers.close()
    os.close(fd)
