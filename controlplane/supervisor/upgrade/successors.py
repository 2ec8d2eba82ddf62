"""Successors in waiting: each steps in when the process ends whose place it waits for.

    successors.fork(child)        # slot `child` has one from now on; False: none could be made
    successors.inherit(child)     # from lifecycle.py at a death: True when no other is needed

A worker's waits for its attach message, control's and the standby's are standbys. Nothing is taken
from the old one while it lives. A successor ends by itself with its channel, so one that a dead
supervisor leaves behind is gone before anybody could mistake it for the worker; the state file
names it only once the place is its own.
"""

from collections.abc import Callable

from ribcage.controlplane.supervisor.children.lifecycle import Lifecycle
from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.context import Context
from ribcage.controlplane.supervisor.handover import Handover
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.identity import SegmentKind
from ribcage.shared.memory.ring_positions import write_positions
from ribcage.shared.memory.segment import map_segment
from ribcage.shared.process.log import log


class Successors:
    """`on_stopped(child)` runs when an old one has ended, `on_inherited(child)` when its successor
    has the place."""

    def __init__(
        self,
        context: Context,
        handover: Handover,
        lifecycle: Lifecycle,
        *,
        on_stopped: Callable[[Child], None],
        on_inherited: Callable[[Child], None],
    ) -> None:
        self.context = context
        self.handover = handover
        self.lifecycle = lifecycle
        self.on_stopped = on_stopped
        self.on_inherited = on_inherited

    def fork(self, child: Child) -> bool:
        """Makes one. The old one notices nothing."""
        role = "worker" if child.role == "worker" else "standby"
        successor = Child(role, child.index, child.backoff)
        try:
            self.lifecycle.fork(successor)
        except (OSError, RibcageError) as error:
            log("error", "fork.failed", child=f"successor of {child.name}", error=str(error))
            return False
        child.successor = successor
        self.lifecycle.serve(successor)
        log("info", "successor.start", child=child.name, child_pid=successor.pid)
        return True

    def inherit(self, child: Child) -> bool:
        """`child` has ended. True when it only waited itself, or its successor is in its place."""
        for slot in self.context.table.all():
            if slot.successor is child:
                slot.successor = None
                return True
        successor, child.successor = child.successor, None
        if successor is None:
            return False
        self.on_stopped(child)
        if not successor.running or successor.channel is None:
            return False
        self._move(successor, child)
        self._attach(child)
        log("info", "successor.inherits", child=child.name, child_pid=child.pid)
        self.on_inherited(child)
        return True

    def _move(self, successor: Child, child: Child) -> None:
        """The process goes from the successor's slot into the one that counts restarts."""
        assert successor.channel is not None
        self.context.loop.unwatch(successor.channel.fileno())
        child.pid, child.start, child.pidfd = successor.pid, successor.start, successor.pidfd
        child.uid, child.own, child.channel = successor.uid, successor.own, successor.channel
        child.started_ns, child.speaks = successor.started_ns, successor.speaks
        child.ready_at, child.has_fib, child.has_ports = successor.ready_at, False, set()
        child.state = successor.state if child.role == "standby" else "starting"
        successor.pid, successor.start, successor.pidfd, successor.channel = 0, 0, -1, None
        self.lifecycle.serve(child)
        self.context.save()

    def _own_stats(self, child: Child) -> None:
        """The slot's stats object if this build can use it; else another, with counters at zero,
        that says where the old one has left the rings."""
        objects = self.context.objects
        try:
            map_segment(objects.stats_fd(child.index), SegmentKind.STATS).close()
        except RibcageError as error:
            log("info", "stats.renewed", child=child.name, why=error.message[:200])
        else:
            return
        objects.renew_stats(child.index)
        write_positions(objects.stats_fd(child.index), child.rings)

    def _attach(self, child: Child) -> None:
        try:
            if child.role == "worker":
                self._own_stats(child)
                self.handover.attach_worker(child)
                self.handover.tell_workers((child.index,))  # its bell is another
            elif child.role == "control":
                self.handover.attach_control(child, "promote")
        except (OSError, RibcageError) as error:
            log("error", "attach.failed", child=child.name, error=str(error))
            child.kill()
        self.lifecycle.expect_ready(child)
