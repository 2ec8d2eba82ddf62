"""`--daemon`: no terminal, cwd /, and a command that waits for "ready".

    request = told(channel)             # the process was begun before there was a plan: early.py
    detach_streams(log_file.open())
    status = Status(fd)                 # `ready()` or `failed(error)`

The command waits at the other end of `fd`. The guardian has it, too: should the supervisor die, the
next one says it.
"""

import contextlib
import json
import os
import select

from ribcage.shared.errors import RibcageError
from ribcage.shared.process.channel import Channel
from ribcage.shared.process.message import ChannelError, Message

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


def detach_streams(log_fd: int) -> None:
    """cwd /, stdin and stdout /dev/null, stderr the log file `log_fd`, which is closed."""
    os.chdir("/")
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd, source in ((0, null), (1, null), (2, log_fd)):
        os.dup2(source, fd, inheritable=True)
    for fd in (null, log_fd):
        if fd > 2:
            os.close(fd)


def told(channel_fd: int) -> Message | None:
    """What the command wants begun, with the descriptors `plan` and `status`; None: nothing, it
    found an error, or was ended. Waits for as long as that takes."""
    channel = Channel.from_fd(channel_fd)
    select.select([channel], [], [])
    try:
        message = channel.recv()
    except ChannelError:
        return None
    finally:
        channel.close()
    whole = (
        message is not None and message.type == "begin" and {"plan", "status"} <= set(message.fds)
    )
    return message if whole else None
