"""`ribcage run`: a checked file becomes a plan in a memfd, and this process the supervisor.

The file is checked here, where heavy imports do no harm; then execv() replaces the process by
`python -IP -m ribcage.roles supervisor --plan-fd N`, which imports neither pydantic nor typer.
With --daemon that program was started before the file was read (start/early.py) and is given the
plan; this process waits until the router is ready and answers.
"""

import dataclasses
import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from ribcage.cli.beginning.daemon import launch
from ribcage.cli.session import Session, session_of, usage
from ribcage.controlplane.supervisor.start.lock import lock_owner
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.plan import Plan
from ribcage.shared.process.names import Names
from ribcage.shared.process.python import python

HELP = """\b
Examples:
  ribcage run -c ribcage.toml
  ribcage run -c ribcage.toml --daemon

\b
A daemon's log is --log-file, opened anew on SIGHUP (logrotate); without it,
ribcage.log in the run directory, which stop removes.
Under --daemon a guardian restarts the supervisor when it dies or hangs; in
the foreground nobody does, but a service manager may (docs/running.md).

\b
Exit 3 when the file has an error, 5 when the machine lacks something,
8 when a router of this name is running."""
COMMAND = python("ribcage.roles", "supervisor")
HELD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def register(root: typer.Typer) -> None:
    root.command("run", help=HELP, short_help="start a router from a file")(run)


def run(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("-c", "--config", help="the configuration file")
    ] = None,
    daemon: Annotated[
        bool, typer.Option("--daemon/--foreground", help="return when the router is ready")
    ] = False,
    teach: Annotated[
        bool, typer.Option("--teach", help="allow faults to be injected, for lessons")
    ] = False,
    log_file: Annotated[
        Path | None, typer.Option("--log-file", help="of a daemon; default: in its run directory")
    ] = None,
) -> None:
    from ribcage.cli.config import read
    from ribcage.shared.memory.fib_sync import refuse_untaught

    session = session_of(context)
    if log_file is not None and not daemon:
        raise usage("--log-file is for --daemon", "in the foreground: 2> FILE")
    if not daemon and _plan_is_stored():
        _become(session, [])
    plan, _report = read(session, config)
    names = Names.resolve(
        session.options.instance or os.environ.get("RIBCAGE_INSTANCE") or plan.name
    )
    plan = dataclasses.replace(plan, name=names.instance, teach=plan.teach or teach)
    refuse_untaught(plan.fib.sync, plan.teach)
    if (pid := lock_owner(names.supervisor_lock)) is not None:
        raise RibcageError(
            "E_RUNNING",
            f'router "{names.instance}" is already running, pid {pid}',
            f"stop it (ribcage -i {names.instance} stop) or choose another --instance",
            Exit.RUNNING,
        )
    fd = _plan_fd(plan)
    words = ["--instance", names.instance]
    if not daemon:
        _become(session, [*words, "--plan-fd", str(fd)])
    log_file = log_file.absolute() if log_file is not None else None
    words += ["--guarded"]
    words += ["--log-file", str(log_file)] if log_file is not None else []
    launch(session, words, fd, names, log_file or names.log_file)


def _plan_is_stored() -> bool:
    """A service manager restarts a router that died: it goes on with the plan it had, whatever the
    file says now, and however broken it is."""
    stored = "plan" in os.environ.get("LISTEN_FDNAMES", "").split(":")
    return stored and os.environ.get("LISTEN_PID") == str(os.getpid())


def _become(session: Session, words: list[str]) -> None:
    """This process is the supervisor from now on; with -j it prints the one document. Signals wait
    until it can answer them: Python loads once more."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    if session.output.json:
        words = [*words, "--json"]
    words = [*words, *session.early.words()]
    os.execv(COMMAND[0], [*COMMAND, *words])


def _plan_fd(plan: Plan) -> int:
    """The plan in memory, at offset 0 of a descriptor that survives exec."""
    fd = os.memfd_create("ribcage-plan", os.MFD_CLOEXEC)
    data = plan.dumps().encode()
    while data:
        data = data[os.write(fd, data) :]
    os.lseek(fd, 0, os.SEEK_SET)
    os.set_inheritable(fd, True)
    return fd
