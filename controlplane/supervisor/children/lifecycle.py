"""Starts and exits: forking into a slot, what follows an exit, promotion of the standby.

A worker's successor is forked in the same loop turn as the death is read; control's place is
taken by the standby at once, and a new standby follows after a pause. Who dies too often is tried
every few seconds (backoff.py). What a worker without work would get goes to the others meanwhile.
"""

import os
import time
from collections.abc import Callable

from ribcage.controlplane.supervisor.children import processes
from ribcage.controlplane.supervisor.children.backoff import ForkRetry
from ribcage.controlplane.supervisor.children.exits import UNKNOWN
from ribcage.controlplane.supervisor.children.floods import bound
from ribcage.controlplane.supervisor.children.fork import ForkSpec, fork_role, log_level
from ribcage.controlplane.supervisor.children.rights import rights_of
from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.context import Context
from ribcage.controlplane.supervisor.handover import Handover
from ribcage.controlplane.supervisor.resources.buckets import spread
from ribcage.controlplane.supervisor.start.becoming import took_early
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.stats import UNUSABLE
from ribcage.shared.process.channel import pair
from ribcage.shared.process.log import log
from ribcage.shared.process.port_rings import UNMAPPABLE, PortRings

HEAD_START = 1.0  # seconds; a standby being made is sooner than a control: the same imports
CANNOT_COUNT, CANNOT_MAP = f"exited {UNUSABLE}", f"exited {UNMAPPABLE}"  # as exits.py says it


class Lifecycle:
    """Owns the transitions of `Child.state`. `on_readable(child)` serves a child's channel,
    `on_gone()` is called after each death (the orderly stop waits for it), `inherit(child)` says
    whether a successor has the place already (successors.py)."""

    def __init__(
        self,
        context: Context,
        handover: Handover,
        on_readable: Callable[[Child], None],
        on_gone: Callable[[], None],
        inherit: Callable[[Child], bool] = lambda child: False,
    ) -> None:
        self.context = context
        self.handover = handover
        self.on_readable = on_readable
        self.on_gone = on_gone
        self.inherit = inherit
        self._forks = ForkRetry()
        self._awaits_standby = False
        self.buckets: tuple[int, ...] | None = None  # a worker for each, once somebody lives

    # ---- starts ----

    def start(self, child: Child) -> None:
        """Forks a process into an empty slot and tells it all it needs."""
        context = self.context
        child.cancel_timer()
        if child.running or context.phase == "stopping":
            return
        try:
            if child.role == "worker":
                context.objects.stats_fd(child.index)  # made before the fork: memory may be short
            self.fork(child)
        except (OSError, RibcageError) as error:
            if isinstance(error, RibcageError) and context.beginning.failed(error):
                return
            # Short of processes, memory, descriptors: the others go on, this one is tried again.
            delay = self._forks.failed()
            log("error", "fork.failed", child=child.name, error=str(error), retry_s=delay)
            child.wait(delay, context.loop.after(delay, lambda: self.start(child)))
            return
        self._forks.succeeded()
        self.serve(child)
        log("info", "child.start", child=child.name, child_pid=child.pid, restarts=child.restarts)
        context.save()
        try:
            if child.role == "worker":
                self.handover.attach_worker(child)
            elif child.role == "control":
                self.handover.attach_control(child)
        except (OSError, RibcageError) as error:
            log("error", "attach.failed", child=child.name, error=str(error))
            child.kill()
        self.expect_ready(child)
        # Its bell is a new one, and its object may be: control needs both.
        self.handover.tell_workers((child.index,) if child in context.workers else ())

    def fork(self, child: Child) -> None:
        """A process and its channel, told nothing yet. OSError, RibcageError."""
        roles, standby = self.context.roles, child.role == "standby"
        entry: Callable[[int], None] = lambda fd: roles.run_control(fd, standby)  # noqa: E731
        if child.role == "worker":
            entry = roles.run_worker
        spec = self._spec(child)
        if child.role == "control" and took_early(self.context, child, spec):
            return
        ours, theirs = pair()
        try:
            pid = fork_role(spec, theirs.fileno(), entry, roles.fork)
            uid = spec.rights.uid
            child.attach(pid, ours, os.geteuid() if uid is None else uid)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()

    def serve(self, child: Child) -> None:
        if child.channel is not None:
            bound(child)
            self.context.loop.watch(child.channel.fileno(), lambda: self.on_readable(child))

    def _spec(self, child: Child) -> ForkSpec:
        plan = self.context.plan
        worker = child.role == "worker"
        cpus = plan.workers.cpus
        return ForkSpec(
            role=child.name,
            instance=self.context.names.instance,
            rights=rights_of(child, self.context),
            prepare=self.context.roles.prepare_worker
            if worker
            else self.context.roles.prepare_control,
            level=log_level(plan.log.level),
            form=plan.log.format,
            cpu=cpus[child.index % len(cpus)] if worker and cpus else None,
        )

    def expect_ready(self, child: Child) -> None:
        """Starts the deadline once the child has all it needs; without a FIB no worker can be."""
        if child.state != "starting" or child.timer is not None or child.role == "standby":
            return
        if child.role == "control" or child.has_fib:
            limit = self.context.limits.start
            child.timer = self.context.loop.after(limit, lambda: self._too_slow(child))

    def _too_slow(self, child: Child) -> None:
        child.timer = None
        log("error", "child.silent", child=child.name, child_pid=child.pid)
        child.kill()

    def adopt_watch(self, child: Child) -> None:
        """An adopted process is no child of ours: its pidfd says when it ends."""
        fd = child.pidfd

        def ended() -> None:
            if child.pidfd == fd:
                self.gone(child, UNKNOWN)

        self.context.loop.watch(fd, ended)

    # ---- exits ----

    def hang_up(self, child: Child) -> None:
        """The channel ended: the exit follows, or the child is ended."""
        self._close_channel(child)
        pid = child.pid

        def check() -> None:
            if child.pid == pid:
                log("error", "child.silent", child=child.name, child_pid=pid)
                child.kill()

        if child.running:
            self.context.loop.after(self.context.limits.closed_channel, check)

    def _close_channel(self, child: Child) -> None:
        if child.channel is not None:
            self.context.loop.unwatch(child.channel.fileno())
            child.channel.close()
            child.channel = None

    def gone(self, child: Child, cause: str) -> None:
        """The process in this slot has ended."""
        context = self.context
        if child.channel is not None:
            self.on_readable(child)  # its last words: they were sent before it died
        pid, was = child.pid, child.state
        self._close_channel(child)
        if not child.own:
            context.loop.unwatch(child.pidfd)
        ready_for = child.detach(cause)
        wanted = was == "stopping" or context.phase == "stopping"
        log("info" if wanted else "warning", "child.exit", child=child.name, child_pid=pid,
            cause=f"{child.name} {cause}")  # fmt: skip
        child.state = "absent"
        renewed = False
        if child in context.table.leaving:
            self._retire(child)
        elif context.phase == "running" and not self.inherit(child):
            # While adopting, begin() fills the slot.
            renewed = child.role == "worker" and cause == CANNOT_COUNT and self._renew(child)
            for index in context.ports.lost(child.index) if cause == CANNOT_MAP else ():
                self.renew_port(index)
            self._succeed(child, ready_for)
        if child.role == "worker":
            self.share_frames()
        context.save()
        self.handover.tell_workers((child.index,) if renewed else ())
        self.on_gone()

    def _renew(self, child: Child) -> bool:
        """Another stats object for the slot; False when there is no room for one now."""
        try:
            self.context.objects.renew_stats(child.index)
        except (OSError, RibcageError) as error:
            log("error", "stats.failed", child=child.name, error=str(error))
            return False  # start() makes it, or waits until it can
        log("warning", "stats.renewed", child=child.name)
        return True

    def renew_port(self, index: int) -> None:
        """All sockets of a port anew; what lies in the rings of the others is lost, too."""
        context = self.context
        port = context.ports.known[index]
        log("warning", "port.renewed", index=index, name=port.name)
        for worker in context.workers:
            self.handover.take_port(worker, index)
        context.ports.close(index)
        self.complete_port(port)

    def complete_port(self, port: PortRings) -> None:
        """Opens what is missing of a known port, for the present number of workers."""
        try:
            self.context.ports.open(port, len(self.context.workers))
        except (RibcageError, OSError) as error:
            log("error", "port.open", index=port.index, error=str(error))
        for worker in self.context.workers:
            self.handover.send_port(worker, port)

    def _succeed(self, child: Child, ready_for: float) -> None:
        delay = child.backoff.died(time.monotonic(), ready_for)
        if child.role == "control":
            if self.take_standby(delay):
                return
            self._awaits_standby = self.context.table.standby.running
            delay = max(delay, HEAD_START) if self._awaits_standby else delay
        elif child.role == "standby":
            delay = max(delay, self.context.limits.standby_delay)
            if self._awaits_standby and self.context.table.control.state == "waiting":
                self.start(self.context.table.control)  # nobody is left to wait for
        child.restarts += 1
        if delay == 0:
            self.start(child)
        else:
            begin = self._start_standby if child.role == "standby" else lambda: self.start(child)
            child.wait(delay, self.context.loop.after(delay, begin))
            if child.role != "standby":
                log("warning", "child.waiting", child=child.name, retry_s=delay,
                    died=child.restarts, last_exit=child.last_exit)  # fmt: skip

    def _start_standby(self) -> None:
        """Not beside a control that is being started: that one has the CPU for itself."""
        standby, delay = self.context.table.standby, self.context.limits.standby_delay
        if self.context.table.control.state == "starting":
            standby.wait(delay, self.context.loop.after(delay, self._start_standby))
        else:
            self.start(standby)

    def take_standby(self, delay: float = 0.0) -> bool:
        """Moves the standby's process into control's slot. False when there is none of use.

        Whatever the back-off says: what is ready is used, since without control nothing changes.
        `delay` is how long the next standby is waited for, or a control that dies at each start
        would be forked as fast as the machine can."""
        context = self.context
        control, standby = context.table.control, context.table.standby
        if not standby.running or standby.channel is None:
            return False
        facts = processes.facts(standby.pid)
        if standby.state in ("hung", "stopped") or facts is None or facts.stopped:
            standby.kill()  # its death makes another
            return False
        control.cancel_timer()
        control.pid, control.start, control.pidfd = standby.pid, standby.start, standby.pidfd
        control.uid, control.own, control.channel = standby.uid, standby.own, standby.channel
        control.started_ns, control.speaks = standby.started_ns, standby.speaks
        control.restarts += 1
        control.state = "starting"
        standby.pid, standby.start, standby.pidfd, standby.channel = 0, 0, -1, None
        standby.state = "absent"
        assert control.channel is not None
        for fd in [control.channel.fileno()] + ([] if control.own else [control.pidfd]):
            context.loop.unwatch(fd)
        self.serve(control)
        if not control.own:
            self.adopt_watch(control)
        log("info", "control.promoted", child_pid=control.pid)
        try:
            self.handover.attach_control(control, "promote")
        except (OSError, RibcageError) as error:
            log("error", "attach.failed", child=control.name, error=str(error))
            control.kill()
        self.expect_ready(control)
        self.standby_later(delay)
        return True

    def standby_ready(self) -> None:
        """It has its imports. Is control's slot waiting for its next try, that wait is over."""
        control = self.context.table.control
        if self.context.phase == "running" and control.state == "waiting" and not control.running:
            self.take_standby(self.context.limits.standby_delay)

    def standby_later(self, delay: float = 0.0) -> None:
        """A new standby, once the one at work has had the CPU for itself."""
        standby = self.context.table.standby
        if standby.state == "absent" and not standby.running and standby.timer is None:
            delay = max(delay, self.context.limits.standby_delay)
            standby.timer = self.context.loop.after(delay, self._start_standby)

    def _retire(self, child: Child) -> None:
        """A worker that a reload gave up has left: its slot's things go too."""
        context = self.context
        context.table.leaving.remove(child)
        wanted = [worker for worker in context.workers if worker.index == child.index]
        for worker in wanted:  # the slot is wanted again: its sockets are free now
            self.start(worker)
        if not wanted:
            context.ports.close_worker(child.index)
            context.bells.drop(child.index)
        self.share_frames()

    def share_frames(self) -> None:
        """New frames go to the workers that serve them. With none of them they wait where they
        went last: in the rings, for whoever comes first. Stops this process for a grace period of
        the kernel (8 to 25 ms), so a successor is forked before it is called."""
        context = self.context
        if context.phase != "running":
            return
        ports = context.ports.known.keys()
        living = {
            worker.index
            for worker in context.workers
            if worker.state == "ready" and worker.has_fib and worker.has_ports >= ports
        }
        if living:
            self.buckets = spread(len(context.workers), living, self.buckets)
            context.ports.steer(self.buckets)

    def reset_backoffs(self) -> None:
        """A reload may have mended what made them die: who waits is tried at once."""
        for child in self.context.table.all():
            child.backoff.reset()
            if child.state == "waiting":
                self.start(child)
