"""`ribcage run`: a checked file becomes a plan in a memfd, and this process the supervisor.

The file is checked here, where heavy imports do no harm; then execv() replaces the process by
`python -m ribcage.roles supervisor --plan-fd N`, which imports neither pydantic nor typer.
With --daemon that program is a child, which detaches and ends when the router is ready; this
process waits for it and answers.
"""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from ribcage.cli.session import Session, session_of, usage
from ribcage.cli.stop import lock_owner
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.plan import Plan
from ribcage.shared.process.names import Names

HELP = """\b
Examples:
  ribcage run -c ribcage.toml
  ribcage run -c ribcage.toml --daemon

\b
A daemon's log is --log-file, opened anew on SIGHUP (logrotate); without it,
ribcage.log in the run directory, which stop removes.
Exit 3 when the file has an error, 8 when a router of this name is running."""
READY_TIMEOUT = 40.0


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
    command = [sys.executable, "-m", "ribcage.roles", "supervisor"]
    command += ["--instance", names.instance, "--plan-fd", str(fd)]
    if not daemon:
        if session.output.json:  # the one document; what comes later are log lines on stderr
            document = {"instance": names.instance, "pid": os.getpid(), "ready": False}
            session.output.answer(document, "")
        os.execv(command[0], command)
    log_file = log_file.absolute() if log_file is not None else None
    command += ["--daemon", *(["--log-file", str(log_file)] if log_file is not None else [])]
    _launch(session, command, fd, names, log_file or names.log_file)


def _plan_fd(plan: Plan) -> int:
    """The plan in memory, at offset 0 of a descriptor that survives exec."""
    fd = os.memfd_create("ribcage-plan", os.MFD_CLOEXEC)
    data = plan.dumps().encode()
    while data:
        data = data[os.write(fd, data) :]
    os.lseek(fd, 0, os.SEEK_SET)
    os.set_inheritable(fd, True)
    return fd


def _launch(session: Session, command: list[str], fd: int, names: Names, log_file: Path) -> None:
    """Starts the launcher and waits for its verdict; its words go to stderr."""
    session.output.reached = f"the router may go on starting; its log is {log_file}"
    timeout = session.patience(READY_TIMEOUT)
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=2, pass_fds=[fd], timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise RibcageError(
            "E_TIMEOUT",
            f'router "{names.instance}" was not ready within {timeout:g} s',
            f"ribcage ps and {log_file} say how far it is; ribcage stop gives it up",
            Exit.TIMEOUT,
        ) from None
    code = done.returncode
    if code != Exit.OK:
        raise RibcageError(
            "E_START",
            f'router "{names.instance}" did not start (status {code})',
            f"its own words are above, or in {log_file}",
            code if code in set(Exit) else Exit.INTERNAL,
        )
    pid = lock_owner(names.supervisor_lock)
    document = {"instance": names.instance, "pid": pid, "ready": True, "log": str(log_file)}
    text = f'router "{names.instance}" is ready, pid {pid}\nits log is {log_file}'
    session.output.answer(document, text)
