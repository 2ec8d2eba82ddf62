"""A worker's end of the channel: messages in, answers out, and the search for a new supervisor.

    link = Link(channel, names.supervisor_socket, take=..., moved=..., hello=..., timeout=...)
    link.serve()        # when the channel is readable: every message that is there
    link.look()         # after its end: False once `timeout` seconds went by without a successor

Whatever the channel does, forwarding goes on. Never blocks.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path

from ribcage.shared.process.channel import Channel
from ribcage.shared.process.log import log
from ribcage.shared.process.message import ChannelClosed, ChannelError, Message
from ribcage.shared.process.reconnect import Reconnector

Say = tuple[dict[str, object], dict[str, int]]  # a message and its descriptors


class Link:
    """See the module's text. `take(message)` owns the message; `moved(fd)`: the channel has this
    descriptor now, -1 while there is none; `hello()` is said to a successor, and `timeout()` is
    how long one is looked for."""

    def __init__(
        self,
        channel: Channel,
        path: Path,
        *,
        take: Callable[[Message], None],
        moved: Callable[[int], None],
        hello: Callable[[], Say],
        timeout: Callable[[], float],
    ) -> None:
        self._channel: Channel | None = channel
        self._path = path
        self._take = take
        self._moved = moved
        self._hello = hello
        self._timeout = timeout
        self._search: Reconnector | None = None
        self._found: Reconnector | None = None  # of a channel on which nothing came yet

    def serve(self) -> None:
        """Every message that is there; what breaks the channel's rules is skipped."""
        while self._channel is not None:
            try:
                message = self._channel.recv()
            except ChannelClosed:
                self._lost()
                return
            except ChannelError as error:
                log("warning", "message.refused", why=str(error)[:200])
                continue
            if message is None:
                return
            self._found = None
            self._take(message)

    def send(self, body: dict[str, object], fds: dict[str, int] | None = None) -> None:
        """Now or never: nobody waits for a worker's words."""
        if self._channel is not None:
            with contextlib.suppress(ChannelError):  # its end shows on the reading side
                self._channel.send(body, fds)

    def speak(self, version: int) -> None:
        """Messages have this version from now on."""
        if self._channel is not None:
            self._channel.version = version

    def deadline(self) -> float | None:
        """When `look` has something to do."""
        return None if self._search is None else self._search.deadline()

    def look(self) -> bool:
        """Looks for a successor if there is need; False when it is time to give up."""
        if self._search is None:
            return True
        channel = self._search.attempt()
        if channel is None:
            return not self._search.expired
        self._channel, self._found, self._search = channel, self._search, None
        self._moved(channel.fileno())
        self.send(*self._hello())
        log("info", "supervisor.found")
        return True

    def _lost(self) -> None:
        """Who adopts us binds the same name."""
        self._moved(-1)
        if self._channel is not None:
            self._channel.close()
        self._channel = None
        self._search, self._found = self._found, None
        if self._search is not None:
            self._search.refused()
            return
        timeout = self._timeout()
        log("warning", "supervisor.gone", orphan_timeout=timeout)
        self._search = Reconnector(self._path, timeout)
