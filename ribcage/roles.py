"""The composition root: the only place that imports both planes and ties them together.

    python -IP -m ribcage.roles supervisor --plan-fd N [--instance NAME] [--early PID:FD]
    python -IP -m ribcage.roles supervisor --resume-fd N        # goes on from the state in it
    python -IP -m ribcage.roles supervisor --check-resume < STATE   # could it? one JSON report
    python -IP -m ribcage.roles undo RUN_DIR

`ribcage run` executes the first form: the plan waits as JSON in descriptor N, or in the descriptor
store of a service manager as `plan`, and nothing heavy (typer, pydantic, asyncio) is imported here,
because this process forks all others. A worker's code is imported before the fork, so that a
successor starts at once; control's after it. `--guarded` (the guardian started us) and `--stop` (to
end what one that died while stopping has left) are the guardian's to say.
"""

import contextlib
import json
import os
import sys
from pathlib import Path

from ribcage import control
from ribcage.controlplane.supervisor.context import Roles, Settings
from ribcage.controlplane.supervisor.guardian.manager import Manager
from ribcage.controlplane.supervisor.resources.logfile import LogFile
from ribcage.controlplane.supervisor.rights import confine, require_rights
from ribcage.controlplane.supervisor.start.beginning import check_paths
from ribcage.controlplane.supervisor.start.daemon import Status, detach_streams, told
from ribcage.controlplane.supervisor.start.early import Early
from ribcage.controlplane.supervisor.start.footing import stand
from ribcage.controlplane.supervisor.start.lives import resume_supervisor, run_supervisor
from ribcage.controlplane.supervisor.upgrade.check import report
from ribcage.controlplane.supervisor.upgrade.resume import resume
from ribcage.shared.build import PACKAGE, build_id, id_of
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.plan import PlanError
from ribcage.shared.process.log import log
from ribcage.shared.process.names import Names
from ribcage.shared.process.python import python

USAGE = (
    "usage: python -m ribcage.roles supervisor --plan-fd N [--instance NAME] "
    "[--log-file FILE] [--json] [--early PID:N] | undo RUN_DIR"
)
PLAN_BYTES = 17 << 20


def main(argv: list[str] | None = None) -> int:
    """The exit status; errors are printed in two lines, message and hint, or as JSON."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        match arguments:
            case ["supervisor", "--resume-fd", number] if number.isdigit():
                return resume(int(number), lambda image: resume_supervisor(image, roles()))
            case ["supervisor", "--check-resume"]:
                print(json.dumps(report(str(PACKAGE), _every_role)))
                return Exit.OK
            case ["supervisor", *rest]:
                return _supervisor(_options(rest))
            case ["undo", run_dir]:
                from ribcage.controlplane.kernel.changes.undo import undo_as_control

                base, name = Path(run_dir).parent, Path(run_dir).name
                problems = undo_as_control(Names(name, base).undo_file)
                for problem in problems:
                    print(f"error: {problem}", file=sys.stderr)
                return Exit.NO if problems else Exit.OK
            case _:
                raise RibcageError("E_USAGE", USAGE, exit_code=Exit.USAGE)
    except RibcageError as error:
        print(f"error[{error.code}]: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        if "--json" in arguments:
            print(json.dumps({"schema": 1, "error": error.to_json()}), flush=True)
        return error.exit_code


def _supervisor(options: dict[str, str]) -> int:
    """Executed by the command, or started by the guardian or a service manager."""
    manager = Manager.from_environment(os.environ)
    number = options.get("--plan-fd", "")
    plan_fd = manager.taken.get("plan", int(number) if number.isdigit() else -1)
    early = Early.of(options["--early"]) if "--early" in options else Early()
    stand([plan_fd, early.fd, *manager.taken.values()])
    try:
        return _begin(options, manager, plan_fd, early)
    finally:
        early.end()


def _begin(options: dict[str, str], manager: Manager, plan_fd: int, early: Early) -> int:
    settings, names = _settings(options, plan_fd)
    require_rights()
    confine(settings.plan.process.seccomp)
    log_file = _log_file(options, names) if "--guarded" in options else None
    if log_file is not None and manager.restarts:
        with contextlib.suppress(OSError, RibcageError):
            log_file.reopen()  # it may have been opened anew since the guardian was started
    status = Status(manager.taken.pop("status", -1))
    return _run(settings, names, roles(), options, log_file, manager, status, early)


def begin_daemon(channel_fd: int, early: Early) -> int:
    """`run --daemon`, begun by ribcage/daemon.py: all that needs no plan is loaded while the
    command makes one. Errors are the command's to tell; without a plan this was nothing."""
    lent = roles()
    build_id()  # as early as what it tells was loaded
    request = told(channel_fd)
    try:
        if request is None:
            return Exit.OK
        plan_fd, status_fd = request.fds.pop("plan"), request.fds.pop("status")
        options = _options([str(word) for word in request.body["words"]])
        stand([plan_fd, status_fd, early.fd])
        status = Status(status_fd)
        try:
            settings, names = _settings(options, plan_fd)
            require_rights()
            confine(settings.plan.process.seccomp)
            check_paths(names.sockets)
            log_file = _log_file(options, names)
            try:
                detach_streams(log_file.open())
            except RibcageError:
                names.remove_run_dir()
                raise
            lasting = {"plan": plan_fd, "status": status_fd}
            manager = Manager.to_be(_successor(options, names), lasting)
            return _run(settings, names, lent, options, log_file, manager, status, early)
        except RibcageError as error:
            status.failed(error)
            return error.exit_code
    finally:
        early.end()


def _run(
    settings: Settings,
    names: Names,
    lent: Roles,
    options: dict[str, str],
    log_file: LogFile | None,
    manager: Manager,
    status: Status,
    early: Early,
) -> int:
    def ready() -> None:
        status.ready()
        manager.lasting.pop("status", None)
        if "plan" in manager.lasting:
            os.close(manager.lasting.pop("plan"))  # the store has it by now
        manager.remove("status")
        if "--json" in options:
            answer = {"schema": 1, "instance": names.instance, "pid": os.getpid(), "ready": True}
            print(json.dumps(answer), flush=True)

    end = int(Exit.INTERNAL)
    try:
        try:
            end = run_supervisor(
                settings, names, lent, on_ready=ready, log_file=log_file, manager=manager,
                stop="--stop" in options, early=early,
            )  # fmt: skip
            return end
        except OSError as error:
            raise RibcageError("E_START", f"the supervisor cannot begin: {error}") from error
    except RibcageError as error:
        end = error.exit_code
        if log_file is not None and error.code != "E_RUNNING":
            log_file.remove()  # the command tells it; nothing of this start is left
            names.remove_run_dir()
        status.failed(error)
        raise
    finally:
        # A guardian that is our child cannot read our status.
        manager.finish(f"EXIT_STATUS={end}")


def _successor(options: dict[str, str], names: Names) -> list[str]:
    """Command line of a supervisor that a guardian starts."""
    words = python("ribcage.roles", "supervisor", "--guarded", "--instance", names.instance)
    return words + (["--log-file", options["--log-file"]] if "--log-file" in options else [])


def _options(arguments: list[str]) -> dict[str, str]:
    """--name VALUE pairs; argparse would cost a megabyte in every process."""
    values = {"--plan-fd", "--instance", "--log-file", "--early"}
    options: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        if word in values:
            options[word] = next(words, "")
        elif word in ("--guarded", "--stop", "--json"):
            options[word] = ""
        else:
            raise RibcageError("E_USAGE", f"unknown option {word!r}; {USAGE}", exit_code=2)
    return options


def _log_file(options: dict[str, str], names: Names) -> LogFile:
    """The one that was named, else ours, whose folder is made here."""
    if named := options.get("--log-file"):
        return LogFile(Path(named), own=False)
    names.make_run_dir()
    return LogFile(names.log_file, own=True)


def _settings(options: dict[str, str], plan_fd: int) -> tuple[Settings, Names]:
    if plan_fd < 0:
        raise RibcageError("E_USAGE", f"--plan-fd needs a descriptor; {USAGE}", exit_code=2)
    try:
        raw = os.pread(plan_fd, min(os.fstat(plan_fd).st_size, PLAN_BYTES), 0)
        settings = Settings.parse(raw.decode())
    except (OSError, PlanError, UnicodeDecodeError) as error:
        raise RibcageError("E_PLAN", f"plan: {error}", exit_code=Exit.CONFIG) from error
    instance = options.get("--instance") or os.environ.get("RIBCAGE_INSTANCE") or settings.plan.name
    return settings, Names.resolve(instance)


def roles() -> Roles:
    """What the supervisor is lent of the other planes."""
    from ribcage.dataplane.sockets import PortOpener, is_ring
    from ribcage.dataplane.worker import run_worker
    from ribcage.shared.memory.stats import create_stats

    opener = PortOpener()
    return Roles(
        run_worker=run_worker,
        run_control=control.run,
        open_port=opener.open,
        make_rings=opener.make,
        drop_rings=opener.drop,
        is_ring=is_ring,
        create_stats=create_stats,
        undo=lambda run_dir: python("ribcage.roles", "undo", str(run_dir)),
        compile=lambda path: python("ribcage", "config", "compile", "--plan", path),
        prepare_control=_prepare_control,
    )


def _prepare_control() -> None:
    """In the fork that becomes control: what is imported now is of the files as they are now."""
    if id_of(PACKAGE) != build_id():
        log("warning", "build.replaced", loaded=build_id(), hint="ribcage upgrade")
    control.load()


def _every_role() -> None:
    """Imports what this build would fork."""
    roles()
    control.load()


if __name__ == "__main__":
    sys.exit(main())
