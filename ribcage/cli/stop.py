"""`ribcage stop`: ends a router, and returns when nothing of it is left.

A guardian is asked first: it hands SIGTERM on, also to the supervisor it may be about to start.
Else control, over the management socket; when that does not answer, the supervisor itself by
SIGTERM: its pid is in the lock file, and the lock says whether that pid is still its own. A router
without a supervisor is ended from here, by its state file (dead/ending.py).
"""

import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ribcage.cli.dead.ending import end
from ribcage.cli.dead.remains import Remains, files, is_there, look
from ribcage.cli.session import Session, session_of
from ribcage.controlplane.supervisor.start.lock import lock_owner
from ribcage.shared.errors import Exit, RibcageError

HELP = """\b
Examples:
  ribcage stop
  ribcage -i r2 stop --no-wait

\b
Works without a supervisor, too: recorded processes are ended, kernel settings
put back, objects removed.
Exit 4 when no such router is running, 6 when it has not ended in time,
1 when something could not be put back or removed."""
STOP_TIMEOUT = 20.0
ORPHANS_TIMEOUT = 3.0  # for those without a supervisor to obey SIGTERM
# The process behind the last name leaves milliseconds later; pidfd tells that, this is for hosts
# where it may not be opened.
POLL = 0.02


def register(root: typer.Typer) -> None:
    root.command("stop", help=HELP, short_help="stop a router")(stop)


def stop(
    context: typer.Context,
    wait: Annotated[bool, typer.Option(help="return when it has ended")] = True,
) -> None:
    session = session_of(context)
    remains = look(session.names)
    by_name = session.options.socket is None
    if by_name and remains.supervisor is None and remains.guardian is None:
        dead = not remains.held and any(files(session.names)) and not _answers(session.socket)
        if remains.children or dead:
            _without_supervisor(session, remains)
            return
    owner = remains.supervisor[0] if remains.supervisor is not None else None
    with _pidfds(remains) as pidfds:
        _ask(session, remains, owner, pidfds)
        session.output.reached = "the router was asked to stop, and goes on with it"
        if wait:
            _wait(session, list(pidfds.values()))
    name = session.names.instance
    document = {"instance": name, "pid": owner, "stopped": wait}
    session.output.answer(document, f'router "{name}" has stopped' if wait else "stopping")


def _ask(session: Session, remains: Remains, owner: int | None, pidfds: dict[str, int]) -> None:
    if "guardian" in pidfds:
        try:
            signal.pidfd_send_signal(pidfds["guardian"], signal.SIGTERM)
            return
        except OSError:
            pass  # not ours to signal: control decides who may stop it
    try:
        session.call("system.stop")
    except RibcageError as error:
        if error.exit_code == Exit.PRIVILEGE or owner is None or "supervisor" not in pidfds:
            raise
        session.output.say(f"control does not answer ({error.message}); asking the supervisor")
        signal.pidfd_send_signal(pidfds["supervisor"], signal.SIGTERM)


def _without_supervisor(session: Session, remains: Remains) -> None:
    """Nobody is there to be asked."""
    session.output.say("no supervisor lives: ending what is left of it")
    ended, removed, problems = end(remains, session.options.timeout or ORPHANS_TIMEOUT)
    name = session.names.instance
    document = {"instance": name, "pid": None, "stopped": True, "ended": ended, "removed": removed,
                "problems": problems}  # fmt: skip
    lines = [f"ended pid {' '.join(map(str, ended))}"] if ended else []
    lines += [f"removed {what}" for what in removed]
    lines += [f"FAILED {what}" for what in problems]
    session.output.answer(document, [*lines, f'router "{name}" has stopped'])
    if problems:
        raise typer.Exit(Exit.NO)


def _answers(path: Path) -> bool:
    """Whether anybody listens there."""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return False
    return True


@contextmanager
def _pidfds(remains: Remains) -> Iterator[dict[str, int]]:
    """Handles that cannot come to mean another process, by role."""
    found: dict[str, int] = {}
    for role, process in (("supervisor", remains.supervisor), ("guardian", remains.guardian)):
        if process is not None:
            try:
                found[role] = os.pidfd_open(process[0])
            except OSError:
                continue
    try:
        yield found
    finally:
        for fd in found.values():
            os.close(fd)


def _wait(session: Session, pidfds: list[int]) -> None:
    timeout = session.patience(STOP_TIMEOUT)
    deadline = time.monotonic() + timeout
    if pidfds:
        poller = select.poll()
        left = set(pidfds)
        for fd in pidfds:
            poller.register(fd, select.POLLIN)
        while left and time.monotonic() < deadline:
            for fd, _ in poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                poller.unregister(fd)
                left.discard(fd)
        ended = not left and lock_owner(session.names.supervisor_lock) is None
    else:
        last = session.names.run_dir if session.options.socket is None else session.socket
        while (ended := not is_there(last)) is False and time.monotonic() < deadline:
            time.sleep(POLL)
    if not ended:
        raise RibcageError(
            "E_TIMEOUT",
            f'router "{session.names.instance}" has not ended within {timeout:g} s',
            "ribcage ps shows who is left; --timeout S waits longer",
            Exit.TIMEOUT,
        )
