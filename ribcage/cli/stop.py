"""`ribcage stop`: asks a router to end, and returns when nothing of it is left.

Asks control over the management socket; when that does not answer, the supervisor itself by
SIGTERM: its pid is in the lock file, and the lock says whether that pid is still its own.
"""

import fcntl
import os
import select
import signal
import struct
import time
from pathlib import Path
from typing import Annotated

import typer

from ribcage.cli.session import Session, session_of
from ribcage.shared.errors import Exit, RibcageError

HELP = """\b
Examples:
  ribcage stop
  ribcage -i r2 stop --no-wait

\b
Exit 4 when no such router is running, 6 when it has not ended in time."""
STOP_TIMEOUT = 20.0
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
    owner = lock_owner(session.names.supervisor_lock)
    pidfd = _pidfd(owner)
    try:
        session.call("system.stop")
    except RibcageError as error:
        if error.exit_code == Exit.PRIVILEGE or owner is None or pidfd is None:
            raise
        session.output.say(f"control does not answer ({error.message}); asking the supervisor")
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    session.output.reached = "the router was asked to stop, and goes on with it"
    if wait:
        _wait(session, pidfd)
    name = session.names.instance
    document = {"instance": name, "pid": owner, "stopped": wait}
    session.output.answer(document, f'router "{name}" has stopped' if wait else "stopping")


def lock_owner(path: Path) -> int | None:
    """The pid of the supervisor that holds the lock now, or None."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        # struct flock, asked for a read lock: only a held write lock conflicts.
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        (kind,) = struct.unpack_from("h", fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))
        text = os.pread(fd, 32, 0).strip()
    except OSError:
        return None
    finally:
        os.close(fd)
    return int(text) if kind != fcntl.F_UNLCK and text.isdigit() and len(text) < 10 else None


def _pidfd(pid: int | None) -> int | None:
    """A handle that cannot come to mean another process."""
    try:
        return None if pid is None else os.pidfd_open(pid)
    except OSError:
        return None


def _wait(session: Session, pidfd: int | None) -> None:
    timeout = session.patience(STOP_TIMEOUT)
    deadline = time.monotonic() + timeout
    if pidfd is not None:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        ended = bool(poller.poll(timeout * 1000))
    else:
        while (ended := not session.socket.exists()) is False and time.monotonic() < deadline:
            time.sleep(POLL)
    if not ended:
        raise RibcageError(
            "E_TIMEOUT",
            f'router "{session.names.instance}" has not ended within {timeout:g} s',
            "ribcage ps shows who is left; --timeout S waits longer",
            Exit.TIMEOUT,
        )
