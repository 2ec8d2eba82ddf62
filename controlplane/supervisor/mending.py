"""Looks once a second for what was left undone, and does it: the other half of the loop's guard.

A callback that failed in the middle (no descriptor left, a full disk, a folder removed) is over;
what it should have done shows in the state of things, and is found here: a slot that is empty and
waits for nothing, a process that is dead and whose death nobody heard of, a state file that could
not be written, a run directory that somebody removed or renamed. All of it by looking, none of it
by remembering, so that it does not matter what failed. Supervisor only.
"""

from collections.abc import Callable

from ribcage.controlplane.supervisor.children import processes
from ribcage.controlplane.supervisor.children.adoption import Adoption
from ribcage.controlplane.supervisor.children.exits import UNKNOWN
from ribcage.controlplane.supervisor.children.lifecycle import Lifecycle
from ribcage.controlplane.supervisor.context import Context
from ribcage.controlplane.supervisor.resources.folders import give_folders, mend_folders
from ribcage.controlplane.supervisor.start.lock import SupervisorLock
from ribcage.controlplane.supervisor.statefile import State
from ribcage.shared.errors import RibcageError
from ribcage.shared.process.log import log

INTERVAL = 1.0


class Mending:
    """A timer of its own. `on_lock(lock)` takes the lock that replaces one whose file is gone."""

    def __init__(
        self,
        context: Context,
        lifecycle: Lifecycle,
        adoption: Adoption,
        lock: SupervisorLock | None,
        on_lock: Callable[[SupervisorLock], None],
        reap: Callable[[], None],
    ) -> None:
        self.context = context
        self.lifecycle = lifecycle
        self.adoption = adoption
        self.lock = lock
        self.on_lock = on_lock
        self.reap = reap
        context.loop.after(INTERVAL, self._look)

    def _look(self) -> None:
        self.context.loop.after(INTERVAL, self._look)
        if self.context.phase == "stopping":
            self.reap()
            return
        for look in (self._place, self._unsaved, self._tables, self.reap, self._slots):
            try:
                look()
            except (OSError, RibcageError) as error:
                log("error", "mending.failed", what=look.__name__, error=str(error))

    def _place(self) -> None:
        """The run directory and what others find us by in it."""
        names, control = self.context.names, self.context.table.control
        lost = [folder for folder in names.folders if not folder.is_dir()]
        if lost and names.run_dir.is_dir():  # one of them; all are seen by the lock
            log("error", "run_dir.lost", path=str(lost[0]))
            mend_folders(names, self.context.users, self.context.plan.management)
        if self.adoption.in_force and (self.lock is None or self.lock.in_force):
            there = names.control_socket.exists() and names.undo_file.exists()
            if control.state == "ready" and not there:
                self.lifecycle.handover.post(control, {"type": "run-dir"})
            return
        log("error", "run_dir.lost", path=str(names.run_dir))
        names.make_run_dir()
        give_folders(names, self.context.users, self.context.plan.management)
        if self.lock is not None and not self.lock.in_force:
            # E_RUNNING: another supervisor was started there meanwhile. It is the router now.
            self.lock = SupervisorLock.take(names)
            self.on_lock(self.lock)
        if not self.adoption.in_force:
            self.adoption.relisten()
        self.context.save()

    def _unsaved(self) -> None:
        """The state file says what was written last: it may be gone, cut short, or somebody's."""
        state, names = self.context.objects.state, self.context.names
        found = State.read(names.state_file, names.instance)
        if self.context.objects.unsaved or found is None or found.serial != state.serial:
            if names.state_file.is_dir() or names.state_file.is_symlink():
                mend_folders(names, self.context.users, self.context.plan.management)
            self.context.save()

    def _tables(self) -> None:
        """A living control cannot remove another user's file: /dev/shm has the sticky bit."""
        self.lifecycle.handover.mend_tables()

    def _slots(self) -> None:
        if self.context.phase != "running":
            return
        for child in self.context.table.all():
            if child.running and not processes.is_alive(child.pid, child.start):
                if child.start == 0:
                    child.start = processes.start_time(child.pid)  # was not readable at its birth
                    if child.start:
                        continue
                log("warning", "child.missed", child=child.name, child_pid=child.pid)
                self.lifecycle.gone(child, UNKNOWN)
            elif (
                not child.running
                and child.timer is None
                and child.state in ("absent", "waiting", "starting")
                and child not in self.context.table.leaving
            ):
                if child.role == "standby":
                    if self.context.table.control.state == "ready":
                        self.lifecycle.standby_later()
                elif child.role != "control" or not self.lifecycle.take_standby():
                    log("warning", "child.forgotten", child=child.name, state=child.state)
                    self.lifecycle.start(child)
