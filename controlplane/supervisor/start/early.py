"""A process that loads what control needs while the configuration is still being checked.

    early = Early.spawn()                 # `ribcage run`, first thing
    os.execv(..., [..., *early.words()])  # this process becomes the supervisor, and keeps the child
    early = Early.of("1234:5")            # there: becoming.py makes it control
    early.end()                           # nobody needs it; again is harmless
    daemon = Early.spawn(*DAEMON)         # the supervisor itself, detached, with such a child

It knows no configuration, opens and makes nothing, and waits to be told what it is. When the other
end of its channel is closed it ends, whatever became of who started it, so a command that is
killed leaves nothing. Its signals are blocked until it is told, as those of the supervisor are
while it loads. Imports next to nothing: the command has not begun yet.
"""

import contextlib
import os
import signal
import socket
from typing import Self

from ribcage.shared.process.python import python

CONTROL = ("ribcage.control",)
DAEMON = ("ribcage.daemon",)
CHANNEL = 3
HELD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Early:
    """Its pid and our end of its channel; 0 and -1: there is none, or it was taken or ended."""

    def __init__(self, pid: int = 0, fd: int = -1) -> None:
        self.pid = pid
        self.fd = fd

    @classmethod
    def spawn(cls, *program: str) -> Self:
        """There is none when it cannot be had: all goes without it, and takes longer.

        `program`: CONTROL, or DAEMON, whose pid is that of a child which ends at once."""
        kind = socket.SOCK_SEQPACKET
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        except OSError:
            return cls()
        with ours, theirs:
            argv = python(*(program or CONTROL), str(CHANNEL))
            try:
                pid = os.posix_spawn(
                    argv[0],
                    argv,
                    os.environ,
                    file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), CHANNEL)],
                    setsigmask=HELD,
                )
            except OSError:
                return cls()
            return cls(pid, ours.detach())

    @classmethod
    def of(cls, text: str) -> Self:
        """What `words` said, in the program that was executed."""
        pid, _, fd = text.partition(":")
        found = cls(int(pid), int(fd))
        os.set_inheritable(found.fd, False)
        return found

    def words(self) -> list[str]:
        """For the supervisor's command line; empty for one that is gone."""
        if self.fd < 0:
            return []
        os.set_inheritable(self.fd, True)
        return ["--early", f"{self.pid}:{self.fd}"]

    def take(self) -> int:
        """Its pid: it is the caller's from now on, who has a copy of the descriptor."""
        pid, self.pid = self.pid, 0
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        return pid

    def leave(self) -> None:
        """A daemon was told what it is: it goes its way, and the child it left is reaped."""
        pid = self.take()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)

    def end(self) -> None:
        pid = self.take()
        if pid > 0:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)  # our child, not reaped yet: the number is its own
                os.waitpid(pid, 0)
