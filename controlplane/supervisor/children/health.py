"""Notices workers that do not work: hung, or stopped. Their flows go to the others at once.

Ten times a second, twenty while frames wait somewhere, it looks at the rings and at the stats
objects. A ring with a frame in it whose worker takes none for `workers.hang_timeout` has a hung
worker, whether its loop turns or not, or lost its ring: told, steered away, killed, replaced; the
successor drains the ring. Not so a worker that was told to rest (quiesced), nor one that would run
but gets no CPU: killing it helps nobody.

A worker that is stopped (SIGSTOP, a debugger) is steered away as soon as it is seen. It is left
alone while nothing waits for it; with frames in its rings or packets held for as long as
`hang_timeout` it is treated as hung.

We may have stood still ourselves: the time we overslept is nobody's fault.
"""

import contextlib
import select
import time
from dataclasses import dataclass, field

from ribcage.controlplane.supervisor.children import processes
from ribcage.controlplane.supervisor.children.lifecycle import Lifecycle
from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.context import Context
from ribcage.controlplane.supervisor.handover import Handover
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.stats import StatsReader
from ribcage.shared.process.log import log

IDLE = 0.1  # seconds between two looks
BUSY = 0.05  # while somebody has frames that wait
OVERSLEPT = 0.1
BEAT = 1.5  # a worker that sleeps wakes once a second for its heartbeat
STARVED = 4  # times the timeout that a worker without CPU is given


@dataclass(slots=True)
class WorkerWatch:
    """What was seen of one process."""

    pid: int
    reader: StatsReader | None
    since: dict[int, tuple[int, float]] = field(default_factory=dict)  # port: taken, from when on
    stopped_at: float = 0.0
    cpu: float = -1.0  # seconds it had used when it was first suspected

    def close(self) -> None:
        if self.reader is not None:
            self.reader.close()


class Health:
    """A timer of its own; maps the stats objects of the workers."""

    def __init__(self, context: Context, handover: Handover, lifecycle: Lifecycle) -> None:
        self.context = context
        self.handover = handover
        self.lifecycle = lifecycle
        self._watches: dict[int, WorkerWatch] = {}
        self._poll = select.poll()
        self._rings: dict[int, tuple[int, int]] = {}  # descriptor: worker, port
        self._polled = -1  # PortSockets.changes of what is polled
        self._due = time.monotonic() + IDLE
        context.loop.after(IDLE, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        self._excuse(now)
        if self.context.phase == "running":
            waiting = self._waiting()
            for worker in list(self.context.workers):
                self._look_at(worker, waiting.get(worker.index, set()), now)
            for index in [i for i in self._watches if i >= len(self.context.workers)]:
                self._watches.pop(index).close()
        busy = any(watch.since for watch in self._watches.values())
        pause = BUSY if busy else IDLE
        self._due = time.monotonic() + pause
        self.context.loop.after(pause, self._look)

    def _excuse(self, now: float) -> None:
        late = now - self._due
        if late < OVERSLEPT:
            return
        for watch in self._watches.values():
            watch.since = {port: (taken, at + late) for port, (taken, at) in watch.since.items()}
            watch.stopped_at += late if watch.stopped_at else 0.0

    def _waiting(self) -> dict[int, set[int]]:
        """Ports with a frame in the ring, by worker."""
        ports = self.context.ports
        if self._polled != ports.changes:
            self._polled = ports.changes
            self._poll = select.poll()
            self._rings = {}
            for worker in self.context.workers:
                for port, fd in ports.rings(worker.index).items():
                    self._rings[fd] = worker.index, port
                    self._poll.register(fd, select.POLLIN)
        found: dict[int, set[int]] = {}
        for fd, events in self._poll.poll(0) if self._rings else ():
            if events & select.POLLIN:
                index, port = self._rings[fd]
                found.setdefault(index, set()).add(port)
        return found

    def _watch(self, child: Child) -> WorkerWatch:
        watch = self._watches.get(child.index)
        if watch is None or watch.pid != child.pid:
            if watch is not None:
                watch.close()
            reader = None
            with contextlib.suppress(OSError, RibcageError, ValueError):
                reader = StatsReader(self.context.objects.stats_fd(child.index))
            watch = self._watches[child.index] = WorkerWatch(child.pid, reader)
        return watch

    def _look_at(self, child: Child, ports: set[int], now: float) -> None:
        if not child.running or child.state not in ("ready", "stopped"):
            watch = self._watches.pop(child.index, None)
            if watch is not None:
                watch.close()
            return
        watch = self._watch(child)
        if watch.reader is None:  # of no object of ours: whether it is stopped can be seen still
            facts = processes.facts(child.pid)
            if facts is not None:
                self._stop_or_go(child, watch, facts.stopped, now)
            return
        life = watch.reader.life()
        for port in watch.since.keys() - ports:
            del watch.since[port]
        for port in ports:
            taken = watch.reader.taken(port)
            if port not in watch.since or watch.since[port][0] != taken:
                watch.since[port] = taken, now
        oldest = min((at for _, at in watch.since.values()), default=now)
        silent = now - life.heartbeat / 1e9 > BEAT
        if oldest == now and not silent and child.state == "ready":
            watch.cpu = -1.0
            return
        facts = processes.facts(child.pid)
        if facts is None:
            return  # dead: its exit is on the way
        self._stop_or_go(child, watch, facts.stopped, now)
        if watch.cpu < 0:
            watch.cpu = facts.cpu_seconds
        patience = self.context.plan.workers.hang_timeout
        if facts.letter == "R" and facts.cpu_seconds == watch.cpu:
            patience *= STARVED
        if child.state == "ready" and life.state == "quiesced":
            return
        held = child.state == "stopped" and life.waiting and now - watch.stopped_at >= patience
        if held or now - oldest >= patience:
            self._hung(child, watch, now - oldest)

    def _stop_or_go(self, child: Child, watch: WorkerWatch, stopped: bool, now: float) -> None:
        if stopped == (child.state == "stopped"):
            return
        child.state = "stopped" if stopped else "ready"
        watch.stopped_at = now if stopped else 0.0
        log("warning" if stopped else "info", "worker.stopped" if stopped else "worker.well",
            child=child.name, child_pid=child.pid)  # fmt: skip
        if not stopped:
            watch.since = {port: (taken, now) for port, (taken, _) in watch.since.items()}
        self.handover.tell_workers()
        self.lifecycle.share_frames()

    def _hung(self, child: Child, watch: WorkerWatch, waited: float) -> None:
        was = child.state
        child.state = "hung"
        child.verdict = f"{'stopped' if was == 'stopped' else 'hung'} while packets waited"
        child.hangs += 1
        log("error", "worker.hung", child=child.name, child_pid=child.pid,
            waited_ms=round(waited * 1000), ports=" ".join(map(str, sorted(watch.since))),
            was=was)  # fmt: skip
        child.kill()
        self.handover.tell_workers()
        self.lifecycle.share_frames()
