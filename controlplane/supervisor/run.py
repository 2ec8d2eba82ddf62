"""The supervisor's life: take the lock, make or adopt, fork, watch, stop, remove.

Use (ribcage/roles.py): `exit_code = run_supervisor(settings, names, roles)`. Raises RibcageError
before anything was forked (already running, no right, a name taken); after that it logs and goes
on, and returns 0 once stopped in order. Blocks its signals for good: not for a process that does
anything else afterwards.
"""

import json
import os
import signal
import socket
from collections.abc import Callable

from ribcage.controlplane.supervisor.children import exits, processes
from ribcage.controlplane.supervisor.children.adoption import Adoption
from ribcage.controlplane.supervisor.children.health import Health
from ribcage.controlplane.supervisor.children.helper import Helpers
from ribcage.controlplane.supervisor.children.lifecycle import Lifecycle, log_level
from ribcage.controlplane.supervisor.children.table import Child, ProcessTable
from ribcage.controlplane.supervisor.context import Context, Deadlines, Roles, Settings
from ribcage.controlplane.supervisor.handover import Handover
from ribcage.controlplane.supervisor.lock import SupervisorLock
from ribcage.controlplane.supervisor.loop import Loop
from ribcage.controlplane.supervisor.messages import Messages
from ribcage.controlplane.supervisor.reloading import Reloading
from ribcage.controlplane.supervisor.resources.descriptors import raise_descriptor_limit
from ribcage.controlplane.supervisor.resources.logfile import LogFile
from ribcage.controlplane.supervisor.resources.logs import Logs
from ribcage.controlplane.supervisor.resources.objects import Objects, remove_recorded
from ribcage.controlplane.supervisor.resources.ports import PortSockets
from ribcage.controlplane.supervisor.signals import Signals
from ribcage.controlplane.supervisor.statefile import ChildRecord, State
from ribcage.controlplane.supervisor.stopping import Stopping
from ribcage.shared.process import log as lines
from ribcage.shared.process.log import log
from ribcage.shared.process.names import Names
from ribcage.shared.process.title import show_as

LEVELS = ("info", "debug", "warning")  # SIGUSR2 cycles through them
DUMP = "dump.json"


def run_supervisor(
    settings: Settings,
    names: Names,
    roles: Roles,
    limits: Deadlines | None = None,
    on_ready: Callable[[], None] = lambda: None,
    log_file: LogFile | None = None,
) -> int:
    """Runs until stopped; the exit status. `on_ready` is called once, when all are ready.
    `log_file`: what descriptor 2 is, when it is ours to open anew."""
    plan = settings.plan
    lines.setup("supervisor", log_level(plan.log.level), plan.log.format)
    show_as("supervisor", names.instance)
    os.umask(0o077)  # for all children too: what any of them makes is closed until it says else
    # A standby has no attach message yet, helpers never get one: they resolve these names.
    os.environ["RIBCAGE_INSTANCE"] = names.instance
    os.environ["RIBCAGE_RUN_DIR"] = str(names.run_base)
    raise_descriptor_limit(plan.workers.count, plan.management.max_clients)
    names.make_run_dir()
    lock = SupervisorLock.take(names)
    try:
        deadlines = limits or Deadlines()
        return Supervisor(settings, names, roles, deadlines, on_ready, log_file).run()
    finally:
        lock.release()
        if not any(names.run_dir.iterdir()):
            names.run_dir.rmdir()


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
    ) -> None:
        plan = settings.plan
        self.on_ready = on_ready
        self.announced = False
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
                signal.SIGUSR2: self.cycle_level,
                signal.SIGCHLD: self.reap,
            },
        )
        self.group = plan.workers.users[0] if plan.workers.users and os.geteuid() == 0 else None
        if self.group is not None:
            os.chown(names.run_dir, -1, self.group)
        objects, self.living = _objects(settings, names, roles, self.group)
        self.context = Context(
            names,
            settings,
            roles,
            limits,
            loop,
            objects,
            ProcessTable(plan.workers.count, plan.workers.restart_max, plan.workers.restart_window),
            PortSockets(roles.open_port, plan.rings.max_memory, objects.state.instance_id),
        )
        self.plan_changed = objects.state.plan_digest != settings.digest
        self.handover = Handover(self.context)
        self.helpers = Helpers(loop)
        self.stopping = Stopping(self.context, self.handover, self.helpers, on_done=loop.stop)
        self.lifecycle = Lifecycle(self.context, self.handover, self.serve, self.stopping.step)
        self.messages = Messages(
            self.context,
            self.handover,
            self.lifecycle,
            on_stop=self.stop,
            on_reload=self.reload,
            on_progress=self.check_ready,
        )
        self.reloading = Reloading(
            self.context, self.handover, self.lifecycle, self.messages, self.helpers
        )
        self.adoption = Adoption(self.context, self.handover, self.lifecycle, self.begin)
        self.health = Health(self.context, self.handover, self.lifecycle)
        self.logs = Logs(self.context, self.handover, log_file)

    def run(self) -> int:
        context = self.context
        self.adoption.listen(self.group)
        if self.living:
            context.phase = "adopting"
            log("info", "supervisor.adopts", living=len(self.living))
            self.adoption.expect(self.living)
        else:
            log("info", "supervisor.starts", instance=context.names.instance)
            self.begin()
        context.loop.run()
        self._clean_up()
        log("info", "supervisor.stopped")
        return 0

    def begin(self) -> None:
        """Fills the empty slots: all of them at a start, the missing ones after an adoption."""
        context = self.context
        if context.phase == "stopping":
            return
        table = context.table
        adopted = context.phase == "adopting"
        context.phase = "running"
        if adopted:
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

    def reload(self, plan: object) -> None:
        self.reloading.from_object(plan)

    def reap(self) -> None:
        for pid, end in exits.reap():
            child = self.context.table.by_pid(pid)
            if child is not None and child.own:
                self.lifecycle.gone(child, end.text)
            elif not self.helpers.ended(pid, end):
                log("debug", "orphan.reaped", child_pid=pid, cause=end.text)

    def stop(self) -> None:
        _notify("STOPPING=1")
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
            log("info", "ready", workers=len(context.workers), ports=len(ports))
            _notify("READY=1")
            self.on_ready()

    def dump(self) -> None:
        """SIGUSR1: what the supervisor knows, for a person to read, and control likewise."""
        context = self.context
        control = context.table.control
        self.handover.post(control, {"type": "dump"})
        state = context.objects.state
        body = {
            "processes": [self.messages.supervisor_row(), *context.table.rows()],
            "ports": [port.to_json() for port in context.ports.known.values()],
            "fib": context.fib.to_json() if context.fib else None,
            "ring_bytes": context.ports.memory(),
            "objects": {"shm": state.shm, "semaphore": state.semaphore,
                        "queue_key": state.queue_key},
            "messages_refused": self.messages.refused,
        }  # fmt: skip
        path = context.names.run_dir / DUMP
        temporary = path.with_suffix(".tmp")
        try:
            temporary.write_text(json.dumps(body, indent=2) + "\n")
            temporary.replace(path)
        except OSError as error:
            log("error", "dump", error=str(error))
            return
        also = str(context.names.control_dump) if control.channel is not None else "no control"
        log("info", "dump", file=str(path), control=also)

    def cycle_level(self) -> None:
        level = lines.current().level
        following = LEVELS[(LEVELS.index(level) + 1) % len(LEVELS)] if level in LEVELS else "info"
        lines.set_level(following)
        for child in self.context.table.running():
            self.handover.post(child, {"type": "log-level", "level": following})

    def _clean_up(self) -> None:
        context = self.context
        self.adoption.close()
        context.ports.close_all()
        context.objects.remove()
        names = context.names
        for path in (names.state_file, names.control_socket, names.control_lock,
                     names.run_dir / DUMP, names.control_dump,
                     names.control_dump.with_suffix(".tmp")):  # fmt: skip
            path.unlink(missing_ok=True)
        self.logs.remove()


def _objects(
    settings: Settings, names: Names, roles: Roles, group: int | None
) -> tuple[Objects, list[ChildRecord]]:
    """New objects, or those of a run whose children still live."""
    state = State.read(names.state_file, names.instance)
    if state is not None:
        living = [c for c in state.children if processes.is_alive(c.pid, c.start)]
        if living:
            return Objects.attach(names, state, roles.create_stats), living
        removed = remove_recorded(state)
        log("info", "leftovers.removed", of_pid=state.supervisor, objects=len(removed))
    plan = settings.plan
    made = Objects.create(names, roles.create_stats, plan.events.queue_bytes, group, plan.fib.sync)
    return made, []


def _notify(text: str) -> None:
    """sd_notify(3) for a service manager that asked for it."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            sock.sendto(text.encode(), address)
        except OSError as error:
            log("debug", "notify", error=str(error))
