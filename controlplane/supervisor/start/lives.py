"""How a life of the supervisor begins, from a plan or from the state of the build before, and ends.

    exit_code = run_supervisor(settings, names, roles)      # takes the lock, makes or adopts
    run = resume_supervisor(image, roles)                   # everything in place, nothing begun
    exit_code = run()

Raises RibcageError for a start that cannot work (already running, no right); nothing is left then.
Blocks its signals for good: not for a process that does anything else afterwards.
"""

import os
from collections.abc import Callable

from ribcage.controlplane.supervisor.children.fork import log_level
from ribcage.controlplane.supervisor.context import Deadlines, Roles, Settings
from ribcage.controlplane.supervisor.guardian.manager import Manager
from ribcage.controlplane.supervisor.resources.descriptors import raise_descriptor_limit
from ribcage.controlplane.supervisor.resources.logfile import LogFile
from ribcage.controlplane.supervisor.rights import confine
from ribcage.controlplane.supervisor.run import Supervisor
from ribcage.controlplane.supervisor.start.beginning import check_paths
from ribcage.controlplane.supervisor.start.early import Early
from ribcage.controlplane.supervisor.start.footing import low_limits
from ribcage.controlplane.supervisor.start.lock import SupervisorLock
from ribcage.controlplane.supervisor.upgrade import carry
from ribcage.controlplane.supervisor.upgrade.image import Image
from ribcage.shared.build import build_id
from ribcage.shared.errors import RibcageError
from ribcage.shared.process import log as lines
from ribcage.shared.process.log import log
from ribcage.shared.process.names import Names
from ribcage.shared.process.title import show_as
from ribcage.shared.refusals import refused

LOCK_PATIENCE = 2.0  # of a successor: a child that was being forked may hold the lock a moment


def run_supervisor(
    settings: Settings,
    names: Names,
    roles: Roles,
    limits: Deadlines | None = None,
    on_ready: Callable[[], None] = lambda: None,
    log_file: LogFile | None = None,
    manager: Manager | None = None,
    stop: bool = False,
    early: Early | None = None,
) -> int:
    """Runs until stopped; the exit status. `on_ready` is called once, when all are ready.
    `log_file`: what descriptor 2 is, when it is ours to open anew. `manager`: who restarts us.
    `stop`: the last one died while it stopped; what it left is ended in order. `early`: control,
    as it is until it is told so; the caller's to end if it is not taken."""
    manager = manager or Manager()
    plan = settings.plan
    lines.setup("supervisor", log_level(plan.log.level), plan.log.format)
    build_id()  # of the files as they are now: what is forked says what was loaded
    show_as("supervisor", names.instance)
    os.umask(0o077)  # for all children too: what any of them makes is closed until it says else
    # A standby has no attach message yet, helpers never get one: they resolve these names.
    os.environ["RIBCAGE_INSTANCE"] = names.instance
    os.environ["RIBCAGE_RUN_DIR"] = str(names.run_base)
    try:
        raise_descriptor_limit(plan.workers.count, plan.management.max_clients)
    except RibcageError:
        names.remove_run_dir()  # a daemon's log was to be there
        raise
    for name, soft in low_limits():
        log("warning", "limit.low", name=name, soft=soft)
    check_paths(names.sockets)
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
        return supervisor.run(early)
    finally:
        leave(names, lock if supervisor is None else supervisor.lock)


def leave(names: Names, lock: SupervisorLock) -> None:
    """The end of a run."""
    lock.release()
    names.remove_run_dir()


def resume_supervisor(image: Image, roles: Roles) -> Callable[[], int]:
    """Puts the state of the build before into place; what it returns runs until stopped."""
    settings, names = Settings.parse(image.settings), Names.from_json(image.names)
    lines.setup("supervisor", log_level(settings.plan.log.level), settings.plan.log.format)
    confine(settings.plan.process.seccomp)  # what the exec made inheritable, and the new list
    build_id()
    show_as("supervisor", names.instance)
    lock = SupervisorLock(image.fds["lock"], names.supervisor_lock)
    supervisor = Supervisor(
        settings, names, roles, Deadlines(**image.limits), lambda: None, carry.log_file_of(image),
        carry.manager_of(image), lock, False, image,
    )  # fmt: skip

    def run() -> int:
        try:
            return supervisor.go_on(image)
        finally:
            leave(names, supervisor.lock)

    return run
