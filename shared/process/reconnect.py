"""What a child does when its supervisor is gone: looks for the next one, in time gives up."""

import errno
import socket
import time
from collections.abc import Callable
from pathlib import Path

from ribcage.shared.process.channel import Channel

RETRY = 0.05  # seconds between attempts to find a successor
LONGEST = 2.0  # the same of one that refuses us
NOBODY = (errno.ENOENT, errno.ECONNREFUSED)


class Reconnector:
    """Use: on ChannelClosed make one; whenever `deadline()` has come call `attempt()`. It returns a
    Channel once a successor listens (say `hello` with again=True on it), None before. `expired`
    is True when `orphan_timeout` seconds went by: stop in order. Never blocks, never sleeps.

    A channel that ends without a word is `refused()`: one who listens still does not know us (its
    state file was lost, or is an older one), so the time goes on, and the pauses grow. It begins
    anew once nobody listens there: that one died.
    """

    def __init__(
        self,
        path: Path,
        orphan_timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._clock = clock
        self._timeout = orphan_timeout
        self._end = clock() + orphan_timeout
        self._next = clock()
        self._pause = 0.0  # of those who were refused

    @property
    def expired(self) -> bool:
        return self._clock() >= self._end

    def deadline(self) -> float:
        """Monotonic time of the next thing to do."""
        return min(self._next, self._end)

    def attempt(self) -> Channel | None:
        """Tries once if RETRY seconds went by since the last try."""
        now = self._clock()
        if now < self._next:
            return None
        self._next = now + RETRY
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.setblocking(False)
        try:
            sock.connect(str(self.path))
        except OSError as error:  # nobody listens, or its backlog is full: again later
            sock.close()
            if self._pause and error.errno in NOBODY:
                self._pause, self._end = 0.0, now + self._timeout
            return None
        return Channel(sock)

    def refused(self) -> None:
        """The channel that `attempt` gave has ended before anything came."""
        self._pause = min(LONGEST, max(RETRY, 2 * self._pause))
        self._next = self._clock() + self._pause
