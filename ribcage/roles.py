"""The composition root: the only place that imports both planes and ties them together.

    python -m ribcage.roles supervisor --plan-fd N [--instance NAME] [--daemon] [--log-file FILE]
    python -m ribcage.roles undo RUN_DIR

`ribcage run` executes the first form: the plan waits as JSON in descriptor N, and nothing heavy
(typer, pydantic, asyncio) is imported here, because this process forks all others. A worker's
code is imported before the fork, so that a successor starts at once; control's after it.
"""

import os
import sys
from pathlib import Path

from ribcage.controlplane.supervisor.context import Roles, Settings
from ribcage.controlplane.supervisor.daemon import Status, daemonize
from ribcage.controlplane.supervisor.resources.logfile import LogFile
from ribcage.controlplane.supervisor.rights import require_rights
from ribcage.controlplane.supervisor.run import run_supervisor
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.plan import PlanError
from ribcage.shared.process.names import Names

USAGE = (
    "usage: python -m ribcage.roles supervisor --plan-fd N [--instance NAME] [--daemon] "
    "[--log-file FILE] | undo RUN_DIR"
)
PLAN_BYTES = 17 << 20


def main(argv: list[str] | None = None) -> int:
    """The exit status; errors are printed in two lines, message and hint."""
    arguments = sys.argv[1:] if argv is None else argv
    status = Status()
    try:
        match arguments:
            case ["supervisor", *rest]:
                options = _options(rest)
                settings, names = _settings(options)
                require_rights()
                log_file = None
                if "--daemon" in options:
                    log_file = _log_file(options, names)
                    status = daemonize(log_file.open())
                try:
                    return run_supervisor(
                        settings, names, roles(), on_ready=status.ready, log_file=log_file
                    )
                except RibcageError as error:
                    status.failed(error)
                    raise
            case ["undo", run_dir]:
                from ribcage.controlplane.kernel.changes.undo import undo

                problems = undo(Path(run_dir) / "undo.json")
                for problem in problems:
                    print(f"error: {problem}", file=sys.stderr)
                return Exit.NO if problems else Exit.OK
            case _:
                raise RibcageError("E_USAGE", USAGE, exit_code=Exit.USAGE)
    except RibcageError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        return error.exit_code


def _options(arguments: list[str]) -> dict[str, str]:
    """--name VALUE pairs; argparse would cost a megabyte in every process."""
    values = {"--plan-fd", "--instance", "--log-file"}
    options: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        if word in values:
            options[word] = next(words, "")
        elif word in ("--daemon", "--foreground"):
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


def _settings(options: dict[str, str]) -> tuple[Settings, Names]:
    number = options.get("--plan-fd", "")
    if not number.isdigit():
        raise RibcageError("E_USAGE", f"--plan-fd needs a descriptor; {USAGE}", exit_code=2)
    try:
        size = min(os.fstat(int(number)).st_size, PLAN_BYTES)
        raw = os.pread(int(number), size, 0)
        os.close(int(number))
        settings = Settings.parse(raw.decode())
    except (OSError, PlanError, UnicodeDecodeError) as error:
        raise RibcageError("E_PLAN", f"plan: {error}", exit_code=Exit.CONFIG) from error
    instance = options.get("--instance") or os.environ.get("RIBCAGE_INSTANCE") or settings.plan.name
    return settings, Names.resolve(instance)


def roles() -> Roles:
    """What the supervisor is lent of the other planes."""
    from ribcage.dataplane.sockets import open_port
    from ribcage.dataplane.worker import run_worker
    from ribcage.shared.memory.stats import create_stats

    return Roles(
        run_worker=run_worker,
        run_control=_run_control,
        open_port=open_port,
        create_stats=create_stats,
        undo=lambda run_dir: [sys.executable, "-m", "ribcage.roles", "undo", str(run_dir)],
        compile=lambda path: [
            sys.executable, "-m", "ribcage", "config", "compile", "--plan", path,
        ],
    )  # fmt: skip


def _run_control(channel_fd: int, standby: bool) -> None:
    from ribcage.controlplane.process.control import run_control

    run_control(channel_fd, standby)


if __name__ == "__main__":
    sys.exit(main())
