"""`--daemon`: a session of its own, no terminal, cwd /, and a launcher that waits for "ready".

Use: `status = daemonize(log_file.open())`, early, while nothing but the plan is open. In the
daemon it returns a Status whose `ready()` or `failed(error)` ends the launcher; that never returns:
it exits 0 when the router is ready, else prints what went wrong and exits with its status.
"""

import contextlib
import json
import os
import sys
from typing import NoReturn

from ribcage.shared.errors import Exit, RibcageError


class Status:
    """The daemon's end of the status pipe. Without a launcher (fd -1) it does nothing."""

    def __init__(self, fd: int = -1) -> None:
        self._fd = fd

    def ready(self) -> None:
        self._say({"ready": True})

    def failed(self, error: RibcageError) -> None:
        self._say({**error.to_json(), "exit": error.exit_code})

    def _say(self, body: dict[str, object]) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # the launcher was interrupted: go on without it
                os.write(self._fd, json.dumps(body).encode())
            os.close(self._fd)
            self._fd = -1


def daemonize(log_fd: int) -> Status:
    """Double fork: the second child leads no session, so it can never get a terminal.

    stdin and stdout become /dev/null, stderr the log file `log_fd`, which is closed.
    """
    read_end, write_end = os.pipe()
    if os.fork() != 0:
        os.close(write_end)
        os.wait()  # the first child, which ends at once
        _report(read_end)
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    os.close(read_end)
    os.chdir("/")
    os.umask(0o077)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd, source in ((0, null), (1, null), (2, log_fd)):
        os.dup2(source, fd, inheritable=True)
    for fd in (null, log_fd):
        if fd > 2:
            os.close(fd)
    return Status(write_end)


def _report(fd: int) -> NoReturn:
    """The launcher: one message, or the end of a daemon that died without a word."""
    raw = b""
    while data := os.read(fd, 65536):
        raw += data
    try:
        body = json.loads(raw)
    except ValueError:
        body = {"message": "the router ended before it was ready", "exit": int(Exit.INTERNAL)}
    if body.get("ready"):
        os._exit(0)
    sys.stderr.write(f"error: {body.get('message')}\n")
    if body.get("hint"):
        sys.stderr.write(f"  {body['hint']}\n")
    sys.stderr.flush()
    os._exit(int(body.get("exit", Exit.INTERNAL)))
