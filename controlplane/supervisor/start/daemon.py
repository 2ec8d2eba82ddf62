"""`--daemon`: a session of its own, no terminal, cwd /, and a launcher that waits for "ready".

    detach(log_file.open(), begin)      # never returns: the launcher exits with the verdict
    status = Status(fd)                 # in the supervisor: `ready()` or `failed(error)`

`begin(fd)` runs in the daemon and turns it into the guardian (exec), who hands the status pipe `fd`
to its supervisor. The launcher exits 0 when the router is ready, else prints what went wrong and
exits with its status: text on standard error, or with `as_json` an object on standard output.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from ribcage.shared.errors import Exit, RibcageError

FAILED = 127


class Status:
    """The supervisor's end of the status pipe. Without a launcher (fd -1) it does nothing."""

    def __init__(self, fd: int = -1) -> None:
        self._fd = fd

    def ready(self) -> None:
        self._say({"ready": True, "pid": os.getpid()})

    def failed(self, error: RibcageError) -> None:
        self._say({**error.to_json(), "exit": error.exit_code})

    def _say(self, body: dict[str, object]) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # the launcher was interrupted: go on without it
                os.write(self._fd, json.dumps(body).encode())
            os.close(self._fd)
            self._fd = -1


def detach(log_fd: int, begin: Callable[[int], None], as_json: bool = False) -> NoReturn:
    """Double fork: the second child leads no session, so it can never get a terminal.

    stdin and stdout become /dev/null, stderr the log file `log_fd`, which is closed.
    """
    read_end, write_end = os.pipe()
    if os.fork() != 0:
        os.close(write_end)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # Ctrl-C ends the wait, not the router
        os.wait()  # the first child, which ends at once
        _report(read_end, as_json)
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    try:
        os.close(read_end)
        os.chdir("/")
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for fd, source in ((0, null), (1, null), (2, log_fd)):
            os.dup2(source, fd, inheritable=True)
        for fd in (null, log_fd):
            if fd > 2:
                os.close(fd)
        begin(write_end)
    except RibcageError as error:
        Status(write_end).failed(error)
    except OSError as error:
        Status(write_end).failed(RibcageError("E_START", f"no guardian: {error}"))
    finally:
        os._exit(FAILED)


def _report(fd: int, as_json: bool) -> NoReturn:
    """The launcher: one message, or the end of a daemon that died without a word."""
    raw = b""
    while data := os.read(fd, 65536):
        raw += data
    try:
        body = json.loads(raw)
    except ValueError:
        body = {"code": "E_START", "message": "the router ended before it was ready",
                "exit": int(Exit.INTERNAL)}  # fmt: skip
    if as_json:
        print(json.dumps(body), flush=True)
    elif not body.get("ready"):
        print(f"error[{body.get('code')}]: {body.get('message')}", file=sys.stderr)
        if body.get("hint"):
            print(f"  {body['hint']}", file=sys.stderr)
        sys.stderr.flush()
    os._exit(0 if body.get("ready") else int(body.get("exit", Exit.INTERNAL)))
