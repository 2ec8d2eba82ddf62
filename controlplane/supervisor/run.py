"""The supervisor's life: take the lock, make or adopt, fork, watch, stop, remove.

Use (ribcage/roles.py): `exit_code = run_supervisor(settings, names, roles)`. Raises RibcageError
for a start that cannot work (already running, no right, a name taken, no room); nothing is left;
once it was ready it logs and goes on, and returns 0 once stopped in order. Blocks its signals for
good: not for a process that does anything else afterwards.
"""

import os
import signal
import sys
from collections.abc import Callable

from ribcage.controlplane.supervisor.children import exits
from ribcage.controlplane.supervisor.children.adoption import Adoption
from ribcage.controlplane.supervisor.children.health import Health
from ribcage.controlplane.supervisor.children.helper import Helpers
from ribcage.controlplane.supervisor.children.lifecycle import Lifecycle, log_level
from ribcage.controlplane.supervisor.children.table import Child, ProcessTable
from ribcage.controlplane.supervisor.context import Context, Deadlines, Roles, Settings
from ribcage.controlplane.supervisor.continuing import objects_of, take_back
from ribcage.controlplane.supervisor.dumping import remove_files, write_dump
from ribcage.controlplane.supervisor.guardian.manager import Manager
from ribcage.controlplane.supervisor.guardian.ward import Ward
from ribcage.controlplane.supervisor.handover import Handover
from ribcage.controlplane.supervisor.loop import Loop
from ribcage.controlplane.supervisor.mending import Mending
from ribcage.controlplane.supervisor.messages import Messages
from ribcage.controlplane.supervisor.reloading import Reloading
from ribcage.controlplane.supervisor.resources.bells import Bells
from ribcage.controlplane.supervisor.resources.descriptors import raise_descriptor_limit
from ribcage.controlplane.supervisor.resources.logfile import LogFile
from ribcage.controlplane.supervisor.resources.logs import Logs
from ribcage.controlplane.supervisor.resources.ports import PortSockets
from ribcage.controlplane.supervisor.resources.store import Store
from ribcage.controlplane.supervisor.signals import Signals
from ribcage.controlplane.supervisor.start.beginning import Beginning, check_paths
from ribcage.controlplane.supervisor.start.footing import low_limits
from ribcage.controlplane.supervisor.start.lock import SupervisorLock
from ribcage.controlplane.supervisor.stopping import Stopping
from ribcage.shared.errors import RibcageError
from ribcage.shared.process import log as lines
from ribcage.shared.process.log import log
from ribcage.shared.process.names import Names
from ribcage.shared.process.title import show_as
from ribcage.shared.refusals import refused

LISTEN_AGAIN = 0.5
LOCK_PATIENCE = (
    2.0  # of a successor: a child that was being forked may hold the lock a moment longer
)


def run_supervisor(
    settings: Settings,
    names: Names,
    roles: Roles,
    limits: Deadlines | None = None,
    on_ready: Callable[[], None] = lambda: None,
    log_file: LogFile | None = None,
    manager: Manager | None = None,
    stop: bool = False,
) -> int:
    """Runs until stopped; the exit status. `on_ready` is called once, when all are ready.
    `log_file`: what descriptor 2 is, when it is ours to open anew. `manager`: who restarts us.
    `stop`: the last one died while it stopped; what it left is ended in order."""
    manager = manager or Manager()
    plan = settings.plan
    lines.setup("supervisor", log_level(plan.log.level), plan.log.format)
    show_as("supervisor", names.instance)
    os.umask(0o077)  # for all children too: what any of them makes is closed until it says else
    # A standby has no attach message yet, helpers never get one: they resolve these names.
    os.environ["RIBCAGE_INSTANCE"] = names.instance
    os.environ["RIBCAGE_RUN_DIR"] = str(names.run_base)
    raise_descriptor_limit(plan.workers.count, plan.management.max_clients)
    for name, soft in low_limits():
        log("warning", "limit.low", name=name, soft=soft)
    check_paths([names.supervisor_socket, names.control_socket, names.guardian_socket("0" * 12)])
    names.make_run_dir()
    if plan.rib.checkpoint:
        names.make_state_dir()
    try:
        lock = SupervisorLock.take(names, LOCK_PATIENCE if manager.address else 0.0)
    except OSError as error:
        raise refused("run_dir", error.errno, path=names.supervisor_lock) from error
    supervisor = None
    try:
        deadlines = limits or Deadlines()
        supervisor = Supervisor(
            settings, names, roles, deadlines, on_ready, log_file, manager, lock, stop
        )
        return supervisor.run()
    finally:
        (lock if supervisor is None else supervisor.lock).release()
        names.remove_run_dir()


class Supervisor:
    """Wires the parts together; each part is a file of its own."""

    def __init__(
        self,
        settings: Settings,
        names: Names,
        roles: Roles,
        limits: Deadlines,
        on_ready: Callable[[], None],
        log_file: LogFile | None,
        manager: Manager,
        lock: SupervisorLock,
        stop: bool,
    ) -> None:
        plan = settings.plan
        self.on_ready = on_ready
        self.announced = False
        self.manager = manager
        self.lock = lock
        self.stop_at_once = stop
        loop = Loop()
        # Blocked from here on: a child forked below starts with them blocked and unblocks them
        # when it is complete.
        self.signals = Signals(
            loop,
            {
                signal.SIGTERM: self.stop,
                signal.SIGINT: self.stop,
                signal.SIGHUP: self.hang_up,
                signal.SIGUSR1: self.dump,
                signal.SIGUSR2: lambda: self.logs.cycle_level(),
                signal.SIGCHLD: self.reap,
            },
        )
        store = Store(manager)
        objects, self.living, users = objects_of(settings, names, roles, store)
        if users.why is not None:
            log("info", "users.one", why=users.why, uid=os.geteuid())
        self.adopts = bool(self.living) or objects.state.ready
        objects.state.guardian = []  # the ward says who it is now
        self.context = Context(
            names,
            settings,
            roles,
            limits,
            loop,
            objects,
            ProcessTable(plan.workers.count, plan.workers.restart_max, plan.workers.restart_window),
            PortSockets(roles.open_port, plan.rings.max_memory, store, objects.state.instance_id),
            store,
            Bells(),
            restarts=manager.restarts,
            beginning=Beginning(self.stop),
            users=users,
        )
        self.context.awaited = self.living
        self.plan_changed = objects.state.plan_digest != settings.digest
        self.handover = Handover(self.context)
        self.helpers = Helpers(loop)
        self.stopping = Stopping(self.context, self.handover, self.helpers, on_done=loop.stop)
        self.lifecycle = Lifecycle(self.context, self.handover, self.serve, self.gone)
        self.messages = Messages(
            self.context,
            self.handover,
            self.lifecycle,
            on_stop=self.stop,
            on_reload=lambda request, answer: self.reloading.from_request(request, answer),
            on_progress=self.check_ready,
            guardian_row=lambda: self.ward.row(),
        )
        self.reloading = Reloading(
            self.context, self.handover, self.lifecycle, self.messages, self.helpers
        )
        self.adoption = Adoption(self.context, self.handover, self.lifecycle, self.begin)
        self.health = Health(self.context, self.handover, self.lifecycle)
        json_log = plan.log.format == "json"
        self.ward = Ward(
            names, manager, store, loop, list(sys.orig_argv), json_log, self.note_guardian
        )
        self.mending = Mending(
            self.context, self.lifecycle, self.adoption, lock, self.take_lock, self.reap
        )
        self.logs = Logs(self.context, self.handover, log_file)

    def run(self) -> int:
        """RibcageError when the start could not work; then nothing is left of it."""
        context = self.context
        if self.adopts:
            context.beginning.over()
        take_back(context)
        self.ward.begin()
        self.manager.run(context.loop)
        self._listen()
        context.loop.run()
        self._clean_up()
        if context.beginning.error is not None:
            raise context.beginning.error
        log("info", "supervisor.stopped")
        self.manager.finish("EXIT_STATUS=0")
        return 0

    def _listen(self) -> None:
        """Where children find us; those that live need it more than we do, so it is tried again."""
        context = self.context
        try:
            self.adoption.listen(context.users.group)
        except OSError as error:
            log("error", "channel.socket", error=str(error))
            if not context.beginning.failed(
                refused("channel_socket", error.errno, path=context.names.supervisor_socket)
            ):
                context.loop.after(LISTEN_AGAIN, self._listen)
            return
        if self.living:
            context.phase = "adopting"
            log("info", "supervisor.adopts", living=len(self.living))
            self.adoption.expect(self.living)
        else:
            log("info", "supervisor.starts", instance=context.names.instance)
            self.begin()

    def note_guardian(self, guardian: list[int]) -> None:
        """Pid and start time, for `ps` and `stop` when we are dead."""
        self.context.objects.state.guardian = guardian
        self.context.save()

    def take_lock(self, lock: SupervisorLock) -> None:
        """The file of the old one is gone; it is let go with the process."""
        self.lock = lock

    def begin(self) -> None:
        """Fills the empty slots: all of them at a start, the missing ones after an adoption."""
        context = self.context
        if context.phase == "stopping":
            return
        table = context.table
        adopted = context.phase == "adopting"
        context.phase = "running"
        context.awaited = []
        if self.stop_at_once:
            self.stop()
            return
        if self.adopts:
            self.logs.share()  # the living still write where the dead supervisor did
            self.messages.open_fib()
            # A worker that died meanwhile took its rings along: its successor needs new ones.
            for port in list(context.ports.known.values()):
                self.messages.complete_port(port)
        if not table.control.running:
            if table.standby.running:
                self.lifecycle.take_standby()
            else:
                self.lifecycle.start(table.control)
        for worker in context.workers:
            if not worker.running:
                self.lifecycle.start(worker)
        context.save()
        if adopted and table.control.running:
            # It may have opened or closed ports while nobody listened.
            self.handover.post(table.control, {"type": "ports-request"})
            self.handover.tell_workers(tuple(range(len(context.workers))))
            if self.plan_changed:
                self.reloading.apply(context.settings)
        if table.control.state == "ready":
            self.lifecycle.standby_later()
        self.lifecycle.share_frames()
        self.check_ready()

    def serve(self, child: Child) -> None:
        """A child has said something, which may lead to births and deaths, and so back here."""
        self.messages.serve(child)

    def gone(self) -> None:
        """A child has ended: the stop may go on, a reload may have lost who was at it."""
        self.stopping.step()
        self.reloading.look()

    def reap(self) -> None:
        for pid, end in exits.reap():
            child = self.context.table.by_pid(pid)
            try:
                if child is not None and child.own:
                    self.lifecycle.gone(child, end.text)
                elif not self.helpers.ended(pid, end):
                    log("debug", "orphan.reaped", child_pid=pid, cause=end.text)
            except (OSError, RibcageError) as error:  # the others died too; mending.py finishes it
                log("error", "child.end", child_pid=pid, error=str(error))

    def stop(self) -> None:
        self.manager.notify("STOPPING=1")
        if self.context.phase == "adopting":
            self.context.phase = "stopping"  # nobody is forked any more, the silent are killed
            self.adoption.finish()
        self.stopping.begin()

    def hang_up(self) -> None:
        """SIGHUP: the log file anew, then the configuration, whose errors are told there."""
        self.logs.reopen()
        self.reloading.from_file()

    def check_ready(self) -> None:
        """Ready: control and all workers are, and each worker has the FIB and every port."""
        context = self.context
        if self.announced or context.phase != "running" or context.fib is None:
            return
        ports = set(context.ports.known)
        if context.table.control.state == "ready" and all(
            worker.state == "ready" and worker.has_fib and worker.has_ports >= ports
            for worker in context.workers
        ):
            self.announced = True
            context.beginning.over()
            context.objects.state.ready = True
            context.save()
            log("info", "ready", workers=len(context.workers), ports=len(ports))
            self.ward.announced = True
            self.manager.notify("READY=1")
            self.on_ready()

    def dump(self) -> None:
        """SIGUSR1: for a person to read, and control likewise."""
        context = self.context
        self.handover.post(context.table.control, {"type": "dump"})
        rows = [*self.messages.watchers(), *context.table.rows()]
        write_dump(context, rows, self.messages.refused)

    def _clean_up(self) -> None:
        """Nothing is left; what cannot be removed is told, and stops nobody."""
        context = self.context
        self.adoption.close()
        context.ports.close_all()
        if self.manager.guardian is None:  # that one ends with us; systemd would hand it all out
            context.store.drop_all()
        context.objects.remove()
        context.users.release()
        remove_files(context.names)
        self.logs.remove()
        self.ward.end()
