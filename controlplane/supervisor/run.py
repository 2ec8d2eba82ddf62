"""The supervisor as a whole: its parts wired together, from the first birth to the last removal.

    supervisor.run()           # makes or adopts, forks, watches; the exit status once stopped
    supervisor.go_on(image)    # the same from the state of the build before
start/lives.py makes one, and lets go of what it held. Raises RibcageError for a start that cannot
work (a name taken, no room); once it was ready it logs and goes on.
"""

import os
import signal
import sys
from collections.abc import Callable

from ribcage.controlplane.supervisor.children import exits
from ribcage.controlplane.supervisor.children.adoption import Adoption
from ribcage.controlplane.supervisor.children.health import Health
from ribcage.controlplane.supervisor.children.helper import Helpers
from ribcage.controlplane.supervisor.children.lifecycle import Lifecycle
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
from ribcage.controlplane.supervisor.resources.logfile import LogFile
from ribcage.controlplane.supervisor.resources.logs import Logs
from ribcage.controlplane.supervisor.resources.ports import PortSockets
from ribcage.controlplane.supervisor.resources.store import Store
from ribcage.controlplane.supervisor.signals import Signals
from ribcage.controlplane.supervisor.start.beginning import Beginning
from ribcage.controlplane.supervisor.start.early import Early
from ribcage.controlplane.supervisor.start.lock import SupervisorLock
from ribcage.controlplane.supervisor.start.rings import prepare_rings
from ribcage.controlplane.supervisor.stopping import Stopping
from ribcage.controlplane.supervisor.upgrade import carry
from ribcage.controlplane.supervisor.upgrade.image import Image
from ribcage.controlplane.supervisor.upgrade.story import UpgradeStory
from ribcage.controlplane.supervisor.upgrade.upgrading import Upgrading
from ribcage.shared.build import build_id
from ribcage.shared.errors import RibcageError
from ribcage.shared.process.log import log
from ribcage.shared.process.names import Names
from ribcage.shared.refusals import refused

LISTEN_AGAIN = 0.5


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
        image: Image | None = None,
    ) -> None:
        """`image`: the state of the build before, after an upgrade."""
        plan = settings.plan
        self.on_ready = on_ready
        self.announced = image is not None
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
        if image is None:
            objects, self.living, users = objects_of(settings, names, roles, store)
            if users.why is not None:
                log("info", "users.one", why=users.why, uid=os.geteuid())
        else:
            objects, users = carry.objects_of(image, plan, roles.create_stats, store.keep)
            self.living = []
            store.kept = dict(image.store)
        self.adopts = bool(self.living) or objects.state.ready
        objects.state.guardian = []  # the ward says who it is now
        most, number = plan.rings.max_memory, objects.state.instance_id
        ports = PortSockets(roles.open_port, most, store, number, roles.make_rings)
        self.context = Context(
            names,
            settings,
            roles,
            limits,
            loop,
            objects,
            ProcessTable(plan.workers.count, plan.workers.restart_max, plan.workers.restart_window),
            ports,
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
        self.lifecycle = Lifecycle(
            self.context,
            self.handover,
            self.serve,
            self.gone,
            inherit=lambda child: self.upgrading.successors.inherit(child),
        )
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
            names,
            manager,
            store,
            loop,
            manager.successor
            or ([sys.executable, *image.successor[1:]] if image else list(sys.orig_argv)),
            json_log,
            self.note_guardian,
        )
        self.mending = Mending(
            self.context, self.lifecycle, self.adoption, lock, self.take_lock, self.reap
        )
        self.logs = Logs(self.context, self.handover, log_file)
        shared = (self.context, self.lifecycle, self.messages, self.adoption)
        parts = carry.Parts(*shared, lambda: self.lock, log_file, manager, self.ward)
        self.upgrading = Upgrading(parts, self.handover, self.helpers)
        if image is not None:
            carry.restore(parts, image)

    def run(self, early: Early | None = None) -> int:
        """RibcageError when the start could not work; then nothing is left of it."""
        context = self.context
        context.early = early or context.early
        if self.adopts:
            context.beginning.over()
        take_back(context)
        self.ward.begin()
        self.manager.run(context.loop)
        self._listen()
        return self.until_stopped()

    def until_stopped(self) -> int:
        context = self.context
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

    def go_on(self, image: Image) -> int:
        """After an upgrade of this process: as if nothing had been."""
        self.context.beginning.over()
        self.ward.announced = True
        self.ward.begin()
        self.manager.run(self.context.loop)
        if image.build != build_id():
            self.ward.renew()  # it would start the build before
        self.context.save()
        self.reap()  # SIGCHLD was perhaps read by the image before
        self.upgrading.resume(UpgradeStory.from_json(image.story))
        self.check_ready()
        return self.until_stopped()

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
        for worker in [one for one in context.workers if not one.running]:
            self.lifecycle.start(worker)
        context.early.end()  # it was taken, or control lives
        context.save()
        if not self.adopts:
            prepare_rings(context)
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
        self.upgrading.step()

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
        self.upgrading.step()
        context = self.context
        if self.announced or context.phase != "running" or context.fib is None:
            return
        ports = set(context.ports.known)
        if context.table.control.state == "ready" and all(
            worker.state == "ready" and worker.has_fib and worker.has_ports >= ports
            for worker in context.workers
        ):
            self.announced = True
            context.roles.drop_rings()
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
