"""The composition root: the only place that imports both planes and ties them together.

    python -IP -m ribcage.roles supervisor --plan-fd N [--instance NAME] [--daemon] [--log-file F]
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
import importlib
import json
import os
import sys
from pathlib import Path

from ribcage.controlplane.supervisor.context import Roles, Settings
from ribcage.controlplane.supervisor.guardian.manager import Manager
from ribcage.controlplane.supervisor.guardian.spawn import bind, command
from ribcage.controlplane.supervisor.resources.logfile import LogFile
from ribcage.controlplane.supervisor.rights import confine, require_rights
from ribcage.controlplane.supervisor.start.beginning import check_paths
from ribcage.controlplane.supervisor.start.daemon import Status, detach
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
    "usage: python -m ribcage.roles supervisor --plan-fd N [--instance NAME] [--daemon] "
    "[--log-file FILE] [--json] | undo RUN_DIR"
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
        if "--json" in arguments and "--daemon" in arguments:
            print(json.dumps({**error.to_json(), "exit": error.exit_code}), flush=True)
        elif "--json" in arguments:
            print(json.dumps({"schema": 1, "error": error.to_json()}), flush=True)
        return error.exit_code


def _supervisor(options: dict[str, str]) -> int:
    """In one of three ways: detached by a launcher, started by the guardian, or as it is."""
    manager = Manager.from_environment(os.environ)
    number = options.get("--plan-fd", "")
    plan_fd = manager.taken.get("plan", int(number) if number.isdigit() else -1)
    stand([plan_fd, *manager.taken.values()])
    settings, names = _settings(options, plan_fd)
    require_rights()
    confine(settings.plan.process.seccomp)
    if "--daemon" in options:
        check_paths(names.sockets)
        try:
            log_fd = _log_file(options, names).open()
        except RibcageError:
            names.remove_run_dir()
            raise
        detach(
            log_fd,
            lambda status: _become_guardian(options, names, plan_fd, status, settings),
            "--json" in options,
        )
    log_file = _log_file(options, names) if "--guarded" in options else None
    if log_file is not None and manager.restarts:
        with contextlib.suppress(OSError, RibcageError):
            log_file.reopen()  # it may have been opened anew since the guardian was started
    status = Status(manager.taken.pop("status", -1))

    def ready() -> None:
        status.ready()
        manager.remove("status")
        if "--json" in options:
            answer = {"schema": 1, "instance": names.instance, "pid": os.getpid(), "ready": True}
            print(json.dumps(answer), flush=True)

    try:
        try:
            return run_supervisor(
                settings, names, roles(), on_ready=ready, log_file=log_file, manager=manager,
                stop="--stop" in options,
            )  # fmt: skip
        except OSError as error:
            raise RibcageError("E_START", f"the supervisor cannot begin: {error}") from error
    except RibcageError as error:
        if log_file is not None and error.code != "E_RUNNING":
            log_file.remove()  # the launcher tells it; nothing of this start is left
        status.failed(error)
        raise


def _become_guardian(
    options: dict[str, str], names: Names, plan_fd: int, status: int, settings: Settings
) -> None:
    """Exec; the supervisor is its child, and so is each of its successors."""
    names.make_run_dir()
    path, sock = bind(names, str(os.getpid()))
    successor = python("ribcage.roles", "supervisor", "--guarded")
    successor += ["--instance", names.instance]
    if "--log-file" in options:
        successor += ["--log-file", options["--log-file"]]
    flags = ["--json-log"] if settings.plan.log.format == "json" else []
    argv = command(sock.fileno(), path, {"plan": plan_fd, "status": status}, successor, *flags)
    for fd in (sock.fileno(), plan_fd, status):
        os.set_inheritable(fd, True)
    os.execv(argv[0], argv)


def _options(arguments: list[str]) -> dict[str, str]:
    """--name VALUE pairs; argparse would cost a megabyte in every process."""
    values = {"--plan-fd", "--instance", "--log-file"}
    options: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        if word in values:
            options[word] = next(words, "")
        elif word in ("--daemon", "--foreground", "--guarded", "--stop", "--json"):
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
    from ribcage.dataplane.sockets import is_ring, open_port
    from ribcage.dataplane.worker import run_worker
    from ribcage.shared.memory.stats import create_stats

    return Roles(
        run_worker=run_worker,
        run_control=_run_control,
        open_port=open_port,
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
    _import_control()


def _import_control() -> None:
    """All that control will ever import, while it may still read where it lies."""
    for name in (
        "asyncio.subprocess",
        "encodings.idna",
        "pyroute2",
        "ribcage.controlplane.kernel.changes.undo",
        "ribcage.controlplane.process.control",
    ):
        importlib.import_module(name)


def _every_role() -> None:
    """Imports what this build would fork."""
    roles()
    _import_control()


def _run_control(channel_fd: int, standby: bool) -> None:
    from ribcage.controlplane.process.control import run_control

    run_control(channel_fd, standby)


if __name__ == "__main__":
    sys.exit(main())
